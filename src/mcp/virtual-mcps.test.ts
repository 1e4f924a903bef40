import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type ScriptedUpstream, startScriptedUpstream } from "../../test/peers/scripted-upstream.ts";
import { BASE, type Bench, echo, type Json, json, META, openBench } from "./endpoint.suite.ts";

let peer: ScriptedUpstream;
let bench: Bench;

beforeEach(async () => {
  peer = await startScriptedUpstream({ tools: [echo, { name: "danger", inputSchema: { type: "object" } }] });
  bench = await openBench(peer);
});

afterEach(async () => {
  await bench.close();
  await peer.close();
});

/** A key for all of `acme` and `other`, and a virtual MCP "team" of it with `acme-echo` alone. */
async function team() {
  const [acme, other] = [await bench.upstream(peer), await bench.upstream(peer, { name: "other" })];
  const configs = [acme, other].map(({ id }) => ({ upstreamId: id, tools: ["*"] }));
  const key = await bench.key("k", configs);
  const virtualMcp = await bench.virtualMcps.create({
    slug: "team",
    name: "Team tools",
    description: "What the team shares.",
    upstreams: [{ upstreamId: acme.id, tools: ["echo"] }],
    virtualKeyIds: [key.id],
    userIds: [],
    source: "api",
  });
  return { acme, other, key, virtualMcp };
}

async function modern(path: string, key: string, method: string, params: Json = {}, headers: Json = {}) {
  const _meta = { [`${META}protocolVersion`]: "2026-07-28", [`${META}clientCapabilities`]: {} };
  const response = await bench.fetch(
    { jsonrpc: "2.0", id: 7, method, params: { ...params, _meta } },
    {
      authorization: `Bearer ${key}`,
      "mcp-protocol-version": "2026-07-28",
      "mcp-method": method,
      ...(typeof params.name === "string" && { "mcp-name": params.name }),
      ...headers,
    },
    { path },
  );
  return { status: response.status, body: await json(response) };
}

const names = async (path: string, key: string, headers: Json = {}): Promise<string[]> =>
  (await modern(path, key, "tools/list", {}, headers)).body.result.tools.map((tool: Json) => tool.name);

const call = (path: string, key: string, name: string, headers: Json = {}) =>
  modern(path, key, "tools/call", { name, arguments: {} }, headers);

describe("a virtual MCP", () => {
  test("ID-30 narrows what is listed and what is called, by the same decision", async () => {
    const { key } = await team();
    expect(await names("/mcp", key.value)).toEqual([
      "acme-danger",
      "acme-echo",
      "other-danger",
      "other-echo",
    ]);
    expect(await names("/mcp/team", key.value)).toEqual(["acme-echo"]);
    expect((await call("/mcp/team", key.value, "acme-echo")).body.result.resultType).toBe("complete");
    for (const name of ["acme-danger", "other-echo", "none"])
      expect((await call("/mcp/team", key.value, name)).body.error, name).toMatchObject({ code: -32602 });
    expect((await call("/mcp", key.value, "other-echo")).body.result).toBeDefined();
    expect(peer.calls("tools/call")).toHaveLength(2);
  });

  test("shows plain names where it has one upstream, and only those lead to it", async () => {
    const { virtualMcp, other, key } = await team();
    await bench.virtualMcps.update(virtualMcp.id, () => ({ names: "plain" }));
    expect(await names("/mcp/team", key.value)).toEqual(["echo"]);
    expect(await names("/mcp", key.value)).toContain("acme-echo");
    const only = { "x-bf-mcp-include-tools": "acme-echo" };
    expect(await names("/mcp/team", key.value, only)).toEqual(["echo"]);
    expect((await call("/mcp/team", key.value, "echo")).body.result.resultType).toBe("complete");
    for (const name of ["acme-echo", "danger", "other-echo"])
      expect((await call("/mcp/team", key.value, name)).body.error, name).toMatchObject({ code: -32602 });
    const upstreams = [...virtualMcp.tools, { upstreamId: other.id, tools: ["*"] }];
    await expect(bench.virtualMcps.update(virtualMcp.id, () => ({ upstreams }))).rejects.toMatchObject({
      code: "plain_names_one_upstream",
    });
  });

  test("never widens: neither the key's rule nor the upstream's own list is passed by", async () => {
    const { acme, other, virtualMcp, key } = await team();
    const upstreams = [acme, other].map(({ id }) => ({ upstreamId: id, tools: ["*"] }));
    await bench.virtualMcps.update(virtualMcp.id, () => ({ upstreams }));
    await bench.keys.update(key.id, { configs: [{ upstreamId: acme.id, tools: ["danger"] }] });
    expect(await names("/mcp/team", key.value)).toEqual(["acme-danger"]);
    await bench.upstreams.update(acme.id, { tools_to_execute: ["echo"] });
    expect(await names("/mcp/team", key.value)).toEqual([]);
    expect((await call("/mcp/team", key.value, "acme-danger")).body.error.code).toBe(-32602);
  });

  test("request filters narrow it further and never widen it; present but empty is none", async () => {
    const { acme, other, virtualMcp, key } = await team();
    await bench.virtualMcps.update(virtualMcp.id, () => ({
      upstreams: [
        { upstreamId: acme.id, tools: ["*"] },
        { upstreamId: other.id, tools: ["echo"] },
      ],
    }));
    const at = (headers: Json) => names("/mcp/team", key.value, headers);
    expect(await at({})).toEqual(["acme-danger", "acme-echo", "other-echo"]);
    for (const header of ["x-bf-mcp-include-clients", "x-bf-mcp-include-tools"]) {
      expect(await at({ [header]: "" }), header).toEqual([]);
      expect(await at({ [header]: " , " }), header).toEqual([]);
      expect(await at({ [header]: "*" }), header).toHaveLength(3);
      expect((await call("/mcp/team", key.value, "acme-echo", { [header]: "" })).body.error.code).toBe(
        -32602,
      );
    }
    expect(await at({ "x-bf-mcp-include-clients": "other, unknown" })).toEqual(["other-echo"]);
    expect(await at({ "x-bf-mcp-include-tools": "other-*" })).toEqual(["other-echo"]);
    expect(await at({ "x-bf-mcp-include-tools": "other-danger" })).toEqual([]);
    const both = { "x-bf-mcp-include-clients": "acme", "x-bf-mcp-include-tools": "other-*" };
    expect(await at(both)).toEqual([]);
    const filter = { "x-bf-mcp-include-tools": "other-danger" };
    expect((await call("/mcp/team", key.value, "other-danger", filter)).body.error.code).toBe(-32602);
    expect(peer.calls("tools/call")).toHaveLength(0);
  });

  test("ID-30 one that is not attached, is disabled or deleted looks like one that never was", async () => {
    const { key, virtualMcp } = await team();
    const stranger = await bench.key("stranger", []);
    const none = await modern("/mcp/none", key.value, "tools/list");
    expect(none).toMatchObject({ status: 404, body: { id: 7, error: { code: -32600 } } });
    expect(await modern("/mcp/team", stranger.value, "tools/list")).toEqual(none);
    expect(await modern("/mcp/TEAM", key.value, "tools/list")).toEqual(none);
    await bench.virtualMcps.update(virtualMcp.id, () => ({ disabled: true }));
    expect(await modern("/mcp/team", key.value, "tools/list")).toEqual(none);
    await bench.virtualMcps.update(virtualMcp.id, () => ({ disabled: false }));
    expect(await names("/mcp/team", key.value)).toEqual(["acme-echo"]);
    await bench.virtualMcps.delete(virtualMcp.id);
    expect(await modern("/mcp/team", key.value, "tools/list")).toEqual(none);
  });

  test("without a credential every slug answers the same 401 with its own metadata", async () => {
    await team();
    const message = { jsonrpc: "2.0", id: 1, method: "ping" };
    for (const slug of ["team", "none"]) {
      for (const [headers, error] of [
        [{}, ""],
        [{ authorization: "Bearer pst_x" }, ', error="invalid_token"'],
      ] as const) {
        const response = await bench.fetch(message, headers, { path: `/mcp/${slug}` });
        expect(response.status).toBe(401);
        expect(response.headers.get("www-authenticate")).toBe(
          `Bearer resource_metadata="${BASE}/.well-known/oauth-protected-resource/mcp/${slug}"${error}`,
        );
      }
    }
  });

  test("a store that does not answer is 503, not a wider or another answer", async () => {
    const { key } = await team();
    await modern("/mcp", key.value, "tools/list");
    await bench.database.close();
    const response = await bench.fetch(
      { jsonrpc: "2.0", id: 1, method: "ping" },
      { "x-api-key": key.value },
      { path: "/mcp/team" },
    );
    expect(response.status).toBe(503);
  });

  test("goes by its own name and says what it is for, in both eras", async () => {
    const { key } = await team();
    const info = `${META}serverInfo`;
    const here = await modern("/mcp/team", key.value, "server/discover");
    expect(here.body.result).toMatchObject({
      instructions: "What the team shares.",
      _meta: { [info]: { name: "postern", title: "Team tools", version: "1.2.3" } },
    });
    const whole = await modern("/mcp", key.value, "server/discover");
    expect(whole.body.result.instructions).toBeUndefined();
    expect(whole.body.result._meta[info].title).toBe("Postern");
    const called = await call("/mcp/team", key.value, "acme-echo");
    expect(called.body.result._meta[info].title).toBe("Team tools");
    const params = { protocolVersion: "2025-11-25", capabilities: {} };
    const older = await bench.fetch(
      { jsonrpc: "2.0", id: 1, method: "initialize", params },
      { authorization: `Bearer ${key.value}` },
      { path: "/mcp/team" },
    );
    expect((await json(older)).result).toMatchObject({
      serverInfo: { name: "postern", title: "Team tools" },
      instructions: "What the team shares.",
    });
  });

  test("an older client's session works there, and the audit line names the virtual MCP", async () => {
    const { key } = await team();
    const authorization = `Bearer ${key.value}`;
    const params = { protocolVersion: "2025-11-25", capabilities: {} };
    const begun = await bench.fetch(
      { jsonrpc: "2.0", id: 1, method: "initialize", params },
      { authorization },
      { path: "/mcp/team" },
    );
    const headers = {
      authorization,
      "mcp-session-id": begun.headers.get("mcp-session-id")!,
      "mcp-protocol-version": "2025-11-25",
    };
    const send = async (method: string, more: Json = {}) =>
      json(
        await bench.fetch({ jsonrpc: "2.0", id: 2, method, params: more }, headers, { path: "/mcp/team" }),
      );
    expect((await send("tools/list")).result.tools.map((tool: Json) => tool.name)).toEqual(["acme-echo"]);
    expect((await send("tools/call", { name: "acme-echo" })).result).toBeDefined();
    expect((await send("tools/call", { name: "other-echo" })).error.code).toBe(-32602);
    await bench.audit.flush();
    const made = await bench.database.db
      .selectFrom("audit")
      .select("detail_json")
      .where("event", "=", "call.made")
      .executeTakeFirstOrThrow();
    expect(JSON.parse(made.detail_json)).toMatchObject({ tool: "echo", virtual_mcp: "team" });
  });
});

describe("anonymous sessions", () => {
  const DAY_MS = 24 * 60 * 60 * 1000;

  test("are never attached to a virtual MCP", async () => {
    bench.settings.enforceAuthOnInference = false;
    await team();
    const session = { "x-bf-mcp-session-id": "s".repeat(32) };
    const message = { jsonrpc: "2.0", id: 1, method: "tools/list" };
    expect((await bench.fetch(message, session)).status).toBe(200);
    expect((await bench.fetch(message, session, { path: "/mcp/team" })).status).toBe(404);
  });

  test("a use after thirty days begins anew: what the session had is gone", async () => {
    bench.settings.enforceAuthOnInference = false;
    const open = await bench.upstream(peer, { auth_type: "per_user_oauth", allow_on_all_virtual_keys: true });
    const value = "s".repeat(40);
    const session = { "x-bf-mcp-session-id": value };
    const id = `anon_${bench.hash.of("anonymous_session", value)}`;
    const ping = async () => (await bench.fetch({ jsonrpc: "2.0", id: 1, method: "ping" }, session)).status;
    await bench.connected({ mode: "session", id }, open);
    const has = async () => (await bench.vault.open({ mode: "session", id }, open)).outcome;
    expect([await ping(), await has()]).toEqual([200, "ready"]);
    bench.world.advance(29 * DAY_MS);
    expect([await ping(), await has()]).toEqual([200, "ready"]);
    await bench.anonymousSessions.flush();
    bench.world.advance(29 * DAY_MS);
    expect([await ping(), await has()]).toEqual([200, "ready"]);
    bench.world.advance(30 * DAY_MS);
    await bench.anonymousSessions.flush();
    expect([await ping(), await has()]).toEqual([200, "needs_user"]);
  });
});
