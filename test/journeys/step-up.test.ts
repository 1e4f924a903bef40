import { expect, test } from "vitest";
import { Management } from "./steps/management.ts";
import { openWithBearer, textOf } from "./steps/mcp-client.ts";
import { startProtectedUpstream } from "./steps/peers.ts";
import { Administrator, assertPage, Person } from "./steps/person.ts";
import { journeys, type Stage } from "./steps/stage.ts";

const whoami = { name: "files-whoami" };
const echo = { name: "files-echo", arguments: { text: "hello" } };

/** An upstream whose tool `echo` wants more than the other ones. */
async function household(stage: Stage, definition: object) {
  const guarded = stage.keep(
    await startProtectedUpstream(
      { scopes: ["mcp", "mcp:write", "mcp:admin"] },
      { toolScopes: { echo: "mcp:write", fail: "mcp:admin" } },
    ),
  );
  const gateway = await stage.gateway(guarded.allow);
  const admin = new Management(gateway.baseUrl, gateway.adminToken);
  const operator = stage.keep(new Administrator());
  await operator.setUp(gateway.setupLink);
  const { provider, upstream } = guarded;
  const created = await admin.createUpstream({
    name: "files",
    connection_string: upstream.url,
    ...definition,
  });
  assertPage(await operator.connect(created.authorize_url));
  await admin.expect(200, "POST", new URL(created.complete_url).pathname);
  const { value } = await admin.createKey("Alice", [created.mcp_client_id]);
  const client = stage.keep(await openWithBearer(gateway.baseUrl, value));
  const person = stage.keep(new Person(value));
  // It goes with every request there.
  const asked = () => provider.lastAuthorize?.scope?.split(" ") ?? [];
  const scopes = () =>
    asked()
      .filter((scope) => scope !== "offline_access")
      .sort();
  return { gateway, admin, operator, provider, upstream, created, client, person, scopes, key: value };
}

function linkIn({ _meta }: { _meta?: Record<string, unknown> }): string {
  return String((_meta?.mcp_auth_required as { authorize_url?: string } | undefined)?.authorize_url);
}

journeys("an upstream that wants more for one of its tools", (stage) => {
  test("UP-21 asks its person for the union, once; the rest goes on meanwhile", async () => {
    const { client, person, provider, scopes, upstream, admin } = await household(stage, {
      auth_type: "per_user_oauth",
    });
    assertPage(await person.connect(linkIn(await client.callTool(whoami))));
    expect(scopes()).toEqual(["mcp"]);
    expect(textOf(await client.callTool(whoami))).toBe("alice");

    provider.forgetRequests();
    const refused = await client.callTool(echo);
    expect(refused.isError).toBe(true);
    expect(textOf(refused)).toContain("files wants more permissions for this. Open this URL");
    // Nothing was refreshed, nothing lost.
    expect(provider.tokenRequests).toEqual([]);
    expect(textOf(await client.callTool(whoami))).toBe("alice");
    expect((await admin.sessions())[0]).toMatchObject({ status: "active" });

    const link = linkIn(refused);
    expect(linkIn(await client.callTool(echo))).toBe(link);
    expect((await person.browser.get(link)).html).toMatch(/New permissions[\s\S]*mcp:write/);
    assertPage(await person.connect(link));
    expect(scopes()).toEqual(["mcp", "mcp:write"]);
    expect((await client.callTool(echo)).isError).not.toBe(true);

    // The next one is on top of what was asked for before.
    assertPage(await person.connect(linkIn(await client.callTool({ name: "files-fail" }))));
    expect(scopes()).toEqual(["mcp", "mcp:admin", "mcp:write"]);
    expect((await client.callTool(echo)).isError).not.toBe(true);
    expect(upstream.calls("tools/call").length).toBeLessThan(12);
  });

  test("asks a client that opens pages by one call, which waits until its person has agreed", async () => {
    const { gateway, client, person, key } = await household(stage, { auth_type: "per_user_oauth" });
    assertPage(await person.connect(linkIn(await client.callTool(whoami))));
    const opensUrls = { elicitation: { form: {}, url: {} } };
    const modern = stage.keep(await openWithBearer(gateway.baseUrl, key, { capabilities: opensUrls }));
    const asked: string[] = [];
    let agreeing: Promise<unknown> | undefined;
    // Says yes when the browser is open, as clients do, not when the person is through.
    modern.setRequestHandler("elicitation/create", async ({ params }) => {
      const { url, message } = params as { url: string; message: string };
      asked.push(message);
      agreeing = person.connect(url);
      return { action: "accept" as const };
    });
    expect((await modern.callTool(echo)).isError).not.toBe(true);
    await agreeing;
    expect(asked).toEqual(["Allow files more than before, then the call can go on."]);

    const legacy = stage.keep(
      await openWithBearer(gateway.baseUrl, key, { era: "legacy", capabilities: opensUrls }),
    );
    const error = await legacy.callTool({ name: "files-fail" }).catch((cause: unknown) => cause);
    expect(error).toMatchObject({ code: -32042 });
  });

  test("UP-21 asks nobody twice for what was asked for and is refused all the same", async () => {
    const { client, person, provider, upstream } = await household(stage, { auth_type: "per_user_oauth" });
    assertPage(await person.connect(linkIn(await client.callTool(whoami))));
    const link = linkIn(await client.callTool(echo));
    assertPage(await person.connect(link));
    const challenge = 'Bearer error="insufficient_scope", scope="mcp:write"';
    upstream.faults.failNext("mcp", { status: 403, headers: { "www-authenticate": challenge } }, 2);
    provider.forgetRequests();
    for (const _ of [1, 2])
      await expect(client.callTool(echo)).rejects.toThrow(
        "files refused the call. An administrator must look",
      );
    expect(provider.tokenRequests).toEqual([]);
    expect((await client.callTool(echo)).isError).not.toBe(true);
  });

  test("UP-21 asks for nothing that an administrator did not write down", async () => {
    const { client, person } = await household(stage, {
      auth_type: "per_user_oauth",
      oauth_config: { scopes: ["mcp"] },
    });
    assertPage(await person.connect(linkIn(await client.callTool(whoami))));
    await expect(client.callTool(echo)).rejects.toThrow("files refused the call. An administrator must look");
    expect(textOf(await client.callTool(whoami))).toBe("alice");
  });

  test("asks an administrator where one account serves everybody", async () => {
    const { client, admin, operator, created, scopes } = await household(stage, { auth_type: "oauth" });
    const refused = await client.callTool(echo);
    expect(textOf(refused)).toBe(
      "files wants more permissions for this than its shared account has: an administrator must authorize it again.",
    );
    expect(textOf(await client.callTool(whoami))).toBe("alice");
    const again = await admin.expect(200, "POST", `/api/mcp/client/${created.mcp_client_id}/reauthorize`);
    assertPage(await operator.connect(again.authorize_url));
    expect(scopes()).toEqual(["mcp", "mcp:write"]);
    expect((await client.callTool(echo)).isError).not.toBe(true);
  });
});
