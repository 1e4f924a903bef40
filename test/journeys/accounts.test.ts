import { StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { expect, test } from "vitest";
import { openDatabase } from "../../src/db/index.ts";
import { watchedLog } from "../support/leavings.ts";
import { eventually } from "./steps/eventually.ts";
import { Management } from "./steps/management.ts";
import { linkOf, newClient, openWithBearer, textOf } from "./steps/mcp-client.ts";
import { assertPage } from "./steps/person.ts";
import { journeys, type Stage, type TestGateway } from "./steps/stage.ts";

const whoami = { name: "protected-whoami" };
const whoamiAtWork = { name: "protected-whoami__work" };

/** The official client, with a key and the header that chooses accounts. */
async function choosing(stage: Stage, gateway: TestGateway, key: string, accounts: string) {
  const client = stage.keep(newClient());
  const headers = { authorization: `Bearer ${key}`, "x-bf-mcp-accounts": accounts };
  await client.connect(
    new StreamableHTTPClientTransport(new URL("/mcp", gateway.baseUrl), { requestInit: { headers } }),
  );
  return client;
}

journeys("several accounts of one upstream", (stage) => {
  test("two accounts of one person are kept apart, chosen by name, header or default, and told by the audit trail", async () => {
    const { gateway, guarded, key, person, upstreamId } = await stage.household();
    const own = new Management(gateway.baseUrl, key.value);
    const client = stage.keep(await openWithBearer(gateway.baseUrl, key.value));
    assertPage(await person.connect(linkOf(await client.callTool(whoami), "protected")));
    expect(textOf(await client.callTool(whoami))).toBe("alice");

    guarded.provider.accountForNextLogin = "alice-at-work";
    const started = await own.expect(200, "POST", "/api/mcp/sessions", {
      mcp_client_id: upstreamId,
      account: "work",
    });
    assertPage(await person.connect(started.authorize_url));
    const names = (await client.listTools()).tools.map((tool) => tool.name);
    expect(names).toContain(whoami.name);
    expect(names).toContain(whoamiAtWork.name);
    expect(textOf(await client.callTool(whoami))).toBe("alice");
    expect(textOf(await client.callTool(whoamiAtWork))).toBe("alice-at-work");

    const atWork = await choosing(stage, gateway, key.value, "protected=work");
    expect(textOf(await atWork.callTool(whoami))).toBe("alice-at-work");
    const nowhere = await choosing(stage, gateway, key.value, "protected=third");
    guarded.provider.accountForNextLogin = "alice-the-third";
    assertPage(await person.connect(linkOf(await nowhere.callTool(whoami), "protected")));
    expect(textOf(await nowhere.callTool(whoami))).toBe("alice-the-third");

    const rows: { id: string; account: string; is_default: boolean }[] = (
      await own.expect(200, "GET", "/api/mcp/sessions?kind=token")
    ).sessions;
    const byLabel = new Map(rows.map((row) => [row.account, row]));
    expect([...byLabel.keys()].toSorted()).toEqual(["", "third", "work"]);
    expect(byLabel.get("")?.is_default).toBe(true);
    await own.expect(200, "PUT", `/api/mcp/sessions/${byLabel.get("work")!.id}`, { is_default: true });
    expect(textOf(await client.callTool(whoami))).toBe("alice-at-work");
    await own.expect(204, "DELETE", `/api/mcp/sessions/${byLabel.get("work")!.id}`);
    // The oldest that remains.
    expect(textOf(await client.callTool(whoami))).toBe("alice");

    const database = stage.keep(await openDatabase(gateway.options.databaseUrl!, watchedLog()));
    await eventually("the audit trail names the accounts of the calls", async () => {
      const lines = await database.db
        .selectFrom("audit")
        .select("detail_json")
        .where("event", "=", "call.made")
        .execute();
      const accounts = lines.map(({ detail_json }) => JSON.parse(detail_json).account as string | undefined);
      return ["work", "third"].every((account) => accounts.includes(account));
    });
  });

  test("UP-31 signing in with another account by mistake changes nothing until it is confirmed", async () => {
    const { gateway, guarded, key, person, admin, upstreamId } = await stage.household({
      scopes: ["openid", "mcp"],
    });
    // With `openid`, for which the gateway has to be registered, the provider says whose account it is.
    await admin.expect(200, "PUT", `/api/mcp/client/${upstreamId}`, {
      oauth_config: { scopes: ["openid", "mcp"] },
    });
    await admin.expect(200, "POST", `/api/mcp/client/${upstreamId}/reregister`);
    const client = stage.keep(await openWithBearer(gateway.baseUrl, key.value));
    assertPage(await person.connect(linkOf(await client.callTool(whoami), "protected")));
    const row = await admin.onlySession({ kind: "token" });
    const own = new Management(gateway.baseUrl, key.value);
    const again = async () => {
      const { authorize_url } = await own.expect(200, "POST", `/api/mcp/sessions/${row.id}/reauth`);
      return person.connect(authorize_url);
    };
    guarded.provider.accountForNextLogin = "mallory";
    const asked = await again();
    expect(asked.url.pathname).toBe("/workspace/mcp-sessions/account");
    expect(asked.html).toContain("mallory");
    expect(textOf(await client.callTool(whoami))).toBe("alice");
    await person.browser.submitForm(/mcp-sessions\/account/, {}, { button: /Keep/ });
    expect(textOf(await client.callTool(whoami))).toBe("alice");
    await again();
    const done = await person.browser.submitForm(/mcp-sessions\/account/, {}, { button: "Replace" });
    expect(assertPage(done).html).toContain("Connected");
    expect(textOf(await client.callTool(whoami))).toBe("mallory");
    expect(await admin.onlySession({ kind: "token" })).toMatchObject({
      id: row.id,
      created_at: row.created_at,
    });
  });
});
