import { expect, test } from "vitest";
import { linkOf, textOf } from "./steps/mcp-client.ts";
import { type Approver, assertPage, finishConsent } from "./steps/person.ts";
import { journeys } from "./steps/stage.ts";

const whoami = { name: "protected-whoami" };
const DAY_MS = 24 * 60 * 60_000;

journeys("a signed-in account", (stage) => {
  test("connects with its login, and nobody else may re-authenticate it, administrators neither", async () => {
    const { gateway, admin, operator, upstreamId, guarded } = await stage.household();
    await admin.expect(200, "PUT", `/api/mcp/client/${upstreamId}`, { allow_on_all_virtual_keys: true });
    guarded.provider.accountForNextLogin = "admin-at-provider";
    const { client } = await stage.signIn(gateway, operator);
    const link = linkOf(await client.callTool(whoami), "protected");

    const stranger = stage.person("sk-bf-none");
    expect((await stranger.browser.get(link)).status).toBe(401);
    assertPage(await operator.connect(link));
    expect(textOf(await client.callTool(whoami))).toBe("admin-at-provider");

    const row = await admin.onlySession();
    expect(row).toMatchObject({ auth_mode: "user", status: "active", can_reauth: false });
    const path = `/api/mcp/sessions/${row.id}/reauth`;
    expect((await admin.send("POST", path)).status).toBe(403);
    expect(await admin.sessions({ kind: "flow" })).toEqual([]);

    const page = await operator.browser.submit(new URL(path, gateway.baseUrl), {});
    expect(page.status).toBe(200);
    assertPage(await operator.connect(JSON.parse(page.html).authorize_url));
    expect(await admin.onlySession()).toMatchObject({ id: row.id, created_at: row.created_at });
  });
});

journeys("a client without an account", (stage) => {
  test("where the gateway allows it: what it connects is its own and ends with it", async () => {
    const { gateway, admin, person, upstreamId, guarded } = await stage.household();
    await admin.expect(200, "PUT", `/api/mcp/client/${upstreamId}`, { allow_on_all_virtual_keys: true });
    await gateway.close();
    const open = await stage.open({
      ...gateway.options,
      configure: ({ settings }) => {
        settings.enforceAuthOnInference = false;
      },
    });
    const skipping: Approver = {
      browser: person.browser,
      allow: async (url, redirectUri) => {
        await person.browser.get(url);
        assertPage(await person.browser.submitForm("/consent/skip"), "/oauth/consent/mcps");
        return finishConsent(person.browser, redirectUri);
      },
    };
    const { client } = await stage.signIn(gateway, skipping);
    const link = linkOf(await client.callTool(whoami), "protected");
    const stranger = stage.person("sk-bf-none");
    expect((await stranger.browser.get(link)).status).toBe(403);

    await person.browser.get(link);
    assertPage(await person.browser.submitForm((form) => "flow" in form.fields));
    expect(textOf(await client.callTool(whoami))).toBe("alice");
    expect(await admin.onlySession()).toMatchObject({ auth_mode: "session", status: "active" });

    const { sessions } = await admin.expect(200, "GET", "/api/oauth2/sessions");
    await admin.expect(204, "DELETE", `/api/oauth2/sessions/${sessions[0].id}`);
    expect(await admin.sessions()).toEqual([]);
    await open.runJobs();
    await expect.poll(() => guarded.provider.revocations.length, { timeout: 10_000 }).toBeGreaterThan(0);
  });
});

journeys("a day later", (stage) => {
  test("the client gets a new token by itself and goes on", async () => {
    const { gateway, person } = await stage.household();
    const { client, oauth } = await stage.signIn(gateway, person);
    const first = oauth.saved;
    stage.advance(DAY_MS + 60_000);
    expect((await client.listTools()).tools.map((tool) => tool.name)).toContain(whoami.name);
    expect(oauth.saved?.access_token).not.toBe(first?.access_token);
    expect(oauth.saved?.refresh_token).not.toBe(first?.refresh_token);
  });
});
