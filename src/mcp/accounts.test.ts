import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type ScriptedUpstream, startScriptedUpstream } from "../../test/peers/scripted-upstream.ts";
import { Hidden, type Owner } from "../base/index.ts";
import type { Upstream } from "../upstreams/index.ts";
import { readAccounts } from "./accounts.ts";
import { type Bench, echo, type Json, openBench } from "./endpoint.suite.ts";

const long = { name: "a".repeat(55), inputSchema: { type: "object" } };
const tricky = { name: "echo__work", inputSchema: { type: "object" } };

let peer: ScriptedUpstream;
let bench: Bench;

beforeEach(async () => {
  peer = await startScriptedUpstream({ tools: [echo, long] });
  bench = await openBench(peer);
});

afterEach(async () => {
  await bench.close();
  await peer.close();
});

function keep(owner: Owner, upstream: Upstream, account: string) {
  const secret = {
    kind: "oauth",
    accessToken: new Hidden(`token-${account || "plain"}`),
    oauthConfigId: upstream.oauthConfigId!,
  } as const;
  return bench.database.transaction((tx) =>
    bench.vault.put(tx, { owner, upstreamId: upstream.id, account, secret }),
  );
}

/** A key with a plain account, which is the default, and one called "work". */
async function two(tools: Json[] = [echo, long]) {
  const upstream = await bench.upstream(peer, { auth_type: "per_user_oauth" }, tools);
  const key = await bench.key("k", [{ upstreamId: upstream.id, tools: ["*"] }]);
  await keep(key.owner, upstream, "");
  await keep(key.owner, upstream, "work");
  return { upstream, key };
}

const call = (key: string, name: string, headers: Record<string, string> = {}) =>
  bench.modern(key, "tools/call", { name, arguments: {} }, headers);

const names = async (key: string, headers: Record<string, string> = {}) =>
  (await bench.modern(key, "tools/list", {}, headers)).body.result.tools.map((tool: Json) => tool.name);

/** With which tokens the upstream was called. */
const tokens = () => peer.calls("tools/call").map(({ headers }) => headers.authorization);

const choose = (choice: string) => ({ "x-bf-mcp-accounts": choice });

async function trail(): Promise<Json[]> {
  await bench.audit.flush();
  const lines = await bench.database.db
    .selectFrom("audit")
    .select("detail_json")
    .where("event", "=", "call.made")
    .orderBy("at")
    .orderBy("id")
    .execute();
  return lines.map(({ detail_json }) => JSON.parse(detail_json));
}

describe("several accounts", () => {
  test("a tool is listed once more per label, for those who keep several; the name chooses the account", async () => {
    const { key, upstream } = await two();
    const other = await bench.key("other", [{ upstreamId: upstream.id, tools: ["*"] }]);
    await keep(other.owner, upstream, "work");
    const base = [`acme-${long.name}`, "acme-echo"];
    expect(await names(other.value)).toEqual(base);
    // The long one would have more than 64 characters with its label.
    expect(await names(key.value)).toEqual([...base, "acme-echo__work"]);
    const { body } = await bench.modern(key.value, "tools/list");
    const tool = body.result.tools.at(-1);
    expect(tool).toMatchObject({ name: "acme-echo__work", "x-kept": 1 });
    expect(tool.description).toContain("“work”");
    await call(key.value, "acme-echo");
    await call(key.value, "acme-echo__work");
    expect(tokens()).toEqual(["Bearer token-plain", "Bearer token-work"]);
    expect(peer.calls("tools/call").map(({ body }) => (body as Json).params.name)).toEqual(["echo", "echo"]);
    expect((await call(other.value, "acme-echo__work")).body.error).toMatchObject({ code: -32602 });
    expect((await call(key.value, "acme-echo__none")).body.error).toMatchObject({ code: -32602 });
    expect((await trail()).map(({ account }) => account)).toEqual([undefined, "work"]);
  });

  test("the header chooses the account; the tool's name comes before it", async () => {
    const { key, upstream } = await two();
    await keep(key.owner, upstream, "private");
    await call(key.value, "acme-echo", choose("other=x, acme = work"));
    await call(key.value, "acme-echo__private", choose("acme=work"));
    await call(key.value, `acme-${long.name}`, choose("acme=private"));
    await call(key.value, "acme-echo", choose(""));
    expect(tokens()).toEqual(["work", "private", "private", "plain"].map((one) => `Bearer token-${one}`));
    for (const bad of ["acme", "acme=", "=work", "acme=Work", "acme=a b", "acme=work,acme=private"]) {
      const answer = await call(key.value, "acme-echo", choose(bad));
      expect(answer.status, bad).toBe(400);
      expect(answer.body.error.code, bad).toBe("invalid_account");
    }
  });

  test("a virtual MCP chooses the account for its callers, unless they do", async () => {
    const { key, upstream } = await two();
    await keep(key.owner, upstream, "private");
    await bench.virtualMcps.create({
      slug: "team",
      name: "Team",
      description: "",
      upstreams: [{ upstreamId: upstream.id, tools: ["*"], account: "work" }],
      virtualKeyIds: [key.id],
      userIds: [],
      source: "api",
    });
    const at = (headers: Record<string, string>) =>
      bench.fetch(
        { jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: "acme-echo", arguments: {} } },
        { authorization: `Bearer ${key.value}`, "mcp-protocol-version": "2025-11-25", ...headers },
        { path: "/mcp/team" },
      );
    expect((await at({})).status).toBe(200);
    expect((await at(choose("acme=private"))).status).toBe(200);
    expect(tokens()).toEqual(["Bearer token-work", "Bearer token-private"]);
  });

  test("an account the caller does not have is missing, with the link to connect that one", async () => {
    const { key, upstream } = await two();
    const { body } = await call(key.value, "acme-echo", choose("acme=new"));
    const required = body.result._meta.mcp_auth_required;
    expect(body.result.isError).toBe(true);
    expect(required).toMatchObject({ account: "new", mcp_client_name: "acme" });
    expect(peer.calls("tools/call")).toEqual([]);
    const flow = await bench.database.db
      .selectFrom("flows")
      .selectAll()
      .where("id", "=", required.session_id)
      .executeTakeFirstOrThrow();
    expect(flow).toMatchObject({
      kind: "connect",
      account: "new",
      upstream_id: upstream.id,
      owner_id: key.id,
    });
  });

  test("MC-18 a tool's own name comes first, and no label stands in for it", async () => {
    const { key } = await two([echo, tricky]);
    expect(await names(key.value)).toEqual(["acme-echo", "acme-echo__work", "acme-echo__work__work"]);
    await call(key.value, "acme-echo__work");
    expect(tokens()).toEqual(["Bearer token-plain"]);
    expect((peer.calls("tools/call")[0]!.body as Json).params.name).toBe("echo__work");
  });

  test("MC-18 of two tools that would have one name neither is offered", async () => {
    const upstream = await bench.upstream(peer, { auth_type: "per_user_oauth" }, [
      echo,
      { ...echo, name: "echo__a" },
    ]);
    const key = await bench.key("k", [{ upstreamId: upstream.id, tools: ["*"] }]);
    await keep(key.owner, upstream, "a__b");
    await keep(key.owner, upstream, "b");
    expect(await names(key.value)).toEqual([
      "acme-echo",
      "acme-echo__a",
      "acme-echo__a__a__b",
      "acme-echo__b",
    ]);
  });

  test("ID-30 filters and rules count for them as for the tool itself", async () => {
    const { key, upstream } = await two();
    const only = (tools: string) => names(key.value, { "x-bf-mcp-include-tools": tools });
    expect(await only("acme-echo")).toEqual(["acme-echo", "acme-echo__work"]);
    expect(await only("acme-echo__work")).toEqual(["acme-echo__work"]);
    expect(await only("acme-other")).toEqual([]);
    expect(await only("")).toEqual([]);
    await bench.keys.update(key.id, { configs: [{ upstreamId: upstream.id, tools: [long.name] }] });
    expect(await names(key.value)).toEqual([`acme-${long.name}`]);
    expect((await call(key.value, "acme-echo__work")).body.error).toMatchObject({ code: -32602 });
  });

  test("warm calls with a name or a header of an account touch no database, and follow changes", async () => {
    const { key, upstream } = await two();
    await call(key.value, "acme-echo__work");
    await call(key.value, "acme-echo", choose("acme=work"));
    const { db } = bench.database;
    const select = db.selectFrom;
    const queries: unknown[] = [];
    (db as Json).selectFrom = (...args: unknown[]) => {
      queries.push(args[0]);
      return (select as (...a: unknown[]) => unknown).apply(db, args);
    };
    // The first calls also learn how the upstream speaks, which makes the rules be read again.
    await vi.waitFor(async () => {
      queries.length = 0;
      await call(key.value, "acme-echo__work");
      await call(key.value, "acme-echo", choose("acme=work"));
      expect(queries).toEqual([]);
    }, 15_000);
    (db as Json).selectFrom = select;
    const work = await bench.vault.find(key.owner, upstream.id, "work");
    await bench.database.transaction((tx) =>
      bench.vault.changeAccount(tx, work!.id, { account: "job", isDefault: true }),
    );
    expect(await names(key.value)).toContain("acme-echo__job");
    expect((await call(key.value, "acme-echo__work")).body.error).toMatchObject({ code: -32602 });
    peer.forgetRequests();
    await call(key.value, "acme-echo");
    expect(tokens()).toEqual(["Bearer token-work"]);
    expect((await trail()).at(-1)).toMatchObject({ account: "job" });
  });

  test("an upstream that takes no accounts of people is called as ever", async () => {
    const upstream = await bench.upstream(peer);
    const key = await bench.key("k", [{ upstreamId: upstream.id, tools: ["*"] }]);
    expect((await call(key.value, "acme-echo", choose("acme=work"))).body.result.isError).not.toBe(true);
  });
});

test("the header is read by name, and spaces do not count", () => {
  expect([...readAccounts(" a=x ,, b = y_1-2 , a=x ")]).toEqual([
    ["a", "x"],
    ["b", "y_1-2"],
  ]);
});
