import { expect, test } from "vitest";
import { textOf as pageText } from "../peers/browser.ts";
import { linkOf, textOf } from "./steps/mcp-client.ts";
import { type Approver, assertPage, finishConsent, type Person } from "./steps/person.ts";
import { journeys } from "./steps/stage.ts";

const whoami = { name: "protected-whoami" };

journeys("connecting during the consent", (stage) => {
  /** Approves, connects the one service there is, looks, and finishes. */
  function connecting(person: Person, look: () => Promise<void>): Approver {
    return {
      browser: person.browser,
      allow: async (url, redirectUri) => {
        expect(pageText((await person.approve(url)).html)).toContain("Not connected");
        const services = assertPage(await person.browser.click(/Connect/), "/oauth/consent/mcps");
        expect(pageText(services.html)).toContain("Connected");
        await look();
        return finishConsent(person.browser, redirectUri);
      },
    };
  }

  test("belongs to nobody before the last button, and to the person after it", async () => {
    const { gateway, person, admin } = await stage.household();
    const approver = connecting(person, async () => expect(await admin.sessions()).toEqual([]));
    const { client } = await stage.signIn(gateway, approver);
    expect(textOf(await client.callTool(whoami))).toBe("alice");
    expect(await admin.onlySession()).toMatchObject({ kind: "token", auth_mode: "vk", status: "active" });
  });

  test("again, with another client, replaces the account and keeps the row", async () => {
    const { gateway, person, admin, guarded } = await stage.household();
    const first = await stage.signIn(
      gateway,
      connecting(person, async () => {}),
    );
    const row = await admin.onlySession();
    guarded.provider.accountForNextLogin = "alice-at-work";
    const replacing: Approver = {
      browser: person.browser,
      allow: async (url, redirectUri) => {
        await person.approve(url);
        assertPage(await person.browser.click(/Replace/), "/oauth/consent/mcps");
        // Until the last button the old account is the one in use.
        expect(textOf(await first.client.callTool(whoami))).toBe("alice");
        return finishConsent(person.browser, redirectUri);
      },
    };
    const second = await stage.signIn(gateway, replacing);
    for (const { client } of [first, second])
      expect(textOf(await client.callTool(whoami))).toBe("alice-at-work");
    expect(await admin.onlySession()).toMatchObject({ id: row.id, created_at: row.created_at });
  });

  test("and then refusing the client leaves nothing behind", async () => {
    const { gateway, person, admin, guarded } = await stage.household();
    const refusing: Approver = {
      browser: person.browser,
      allow: async (url, redirectUri) => {
        await person.approve(url);
        await person.browser.click(/Connect/);
        const page = await person.browser.submitForm("/consent/deny", {}, { stopAt: redirectUri });
        return page.stoppedAt!;
      },
    };
    await expect(stage.signIn(gateway, refusing)).rejects.toThrow();
    expect(await admin.sessions()).toEqual([]);
    await gateway.runJobs();
    await expect.poll(() => guarded.provider.revocations.length, { timeout: 10_000 }).toBeGreaterThan(0);
  });
});

journeys("a connect link", (stage) => {
  test("that the provider declined works again", async () => {
    const { gateway, person, guarded } = await stage.household();
    const { client } = await stage.signIn(gateway, person);
    const link = linkOf(await client.callTool(whoami), "protected");
    guarded.provider.denyNext("access_denied", "<b>words of the provider</b>");
    await expect(person.connect(link)).rejects.toThrow();
    expect(person.browser.page?.status).toBe(400);
    expect(person.browser.page?.html).not.toContain("words of the provider");
    expect(linkOf(await client.callTool(whoami), "protected")).toBe(link);
    assertPage(await person.connect(link));
    expect(textOf(await client.callTool(whoami))).toBe("alice");
  });

  test("whose way back is opened in another browser is refused there, and goes on in the right one", async () => {
    const { gateway, person, guarded } = await stage.household();
    const { client } = await stage.signIn(gateway, person);
    await person.browser.get(linkOf(await client.callTool(whoami), "protected"));
    const stopAt = `${gateway.baseUrl}/api/oauth/callback`;
    const form = (one: { fields: object }) => "vk" in one.fields;
    const { stoppedAt } = await person.browser.submitForm(form, { vk: person.key }, { stopAt });
    const from = guarded.provider.issuer;
    const exchanged = guarded.provider.tokenCalls("authorization_code");
    const thief = stage.person("sk-bf-none");
    expect(await thief.browser.get(stoppedAt!, { from })).toMatchObject({ status: 403 });
    expect(guarded.provider.tokenCalls("authorization_code")).toBe(exchanged);
    assertPage(await person.browser.get(stoppedAt!, { from }));
    expect(textOf(await client.callTool(whoami))).toBe("alice");
  });

  test("is one for calls in parallel; deleting it or a reauth ends it", async () => {
    const { gateway, person, admin } = await stage.household();
    const { client } = await stage.signIn(gateway, person);
    const links: string[] = [];
    for (const _round of [1, 2, 3]) {
      for (const { id } of await admin.sessions({ kind: "flow" }))
        await admin.expect(204, "DELETE", `/api/mcp/sessions/${id}`);
      const results = await Promise.all(Array.from({ length: 12 }, () => client.callTool(whoami)));
      const given = new Set(results.map((result) => linkOf(result, "protected")));
      expect(given.size).toBe(1);
      links.push(...given);
    }
    expect((await person.browser.get(links[0]!)).status).toBe(410);
    assertPage(await person.connect(links[2]!));
    const { id } = await admin.onlySession();
    const path = `/api/mcp/sessions/${id}/reauth`;
    const first = await admin.expect(200, "POST", path);
    const second = await admin.expect(200, "POST", path);
    expect(second.session_id).not.toBe(first.session_id);
    expect((await person.browser.get(first.authorize_url)).status).toBe(410);
    assertPage(await person.connect(second.authorize_url));
    expect((await admin.onlySession()).id).toBe(id);
  });
});
