import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type ScriptedUpstream, startScriptedUpstream } from "../../test/peers/scripted-upstream.ts";
import { type Bench, echo, type Json, openBench } from "./endpoint.suite.ts";

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

describe("which tools", () => {
  test("ID-30 what is not allowed looks like what does not exist, and is never called", async () => {
    const upstream = await bench.upstream(peer);
    await bench.upstream(peer, { name: "other" });
    const { value } = await bench.key("k", [{ upstreamId: upstream.id, tools: ["echo"] }]);
    const listed = await bench.modern(value, "tools/list");
    expect(listed.body.result.tools.map((tool: Json) => tool.name)).toEqual(["acme-echo"]);
    const names = [
      "acme-danger",
      "other-echo",
      "echo",
      "acme-acme-echo",
      "ACME-echo",
      "acme-none",
      "constructor",
    ];
    const answers = await Promise.all(names.map((name) => bench.modern(value, "tools/call", { name })));
    for (const one of answers) {
      expect(one).toEqual({ ...answers[0], headers: expect.anything() });
      expect(one).toMatchObject({ status: 200, body: { error: { code: -32602 } } });
    }
    expect(peer.calls("tools/call")).toHaveLength(0);
    await bench.audit.flush();
    const denied = await bench.database.db
      .selectFrom("audit")
      .selectAll()
      .where("event", "=", "call.denied")
      .execute();
    expect(denied).toHaveLength(names.length);
  });

  test("request filters only narrow; present but empty is none", async () => {
    const upstream = await bench.upstream(peer);
    const other = await bench.upstream(peer, { name: "other" });
    const configs = [upstream, other].map(({ id }) => ({ upstreamId: id, tools: ["echo"] }));
    const { value } = await bench.key("k", configs);
    const names = async (headers: Record<string, string>) =>
      (await bench.modern(value, "tools/list", {}, headers)).body.result.tools.map((tool: Json) => tool.name);
    expect(await names({})).toEqual(["acme-echo", "other-echo"]);
    expect(await names({ "x-bf-mcp-include-clients": "" })).toEqual([]);
    expect(await names({ "x-bf-mcp-include-tools": "" })).toEqual([]);
    expect(await names({ "x-bf-mcp-include-clients": "acme" })).toEqual(["acme-echo"]);
    expect(await names({ "x-bf-mcp-include-tools": "other-*, acme-danger" })).toEqual(["other-echo"]);
    const filter = { "x-bf-mcp-include-clients": "other" };
    expect((await bench.modern(value, "tools/call", { name: "acme-echo" }, filter)).body.error.code).toBe(
      -32602,
    );
  });

  test("MC-18 MC-10 names that collide or deceive are hidden, in any order", async () => {
    const tools = [
      { name: "t" },
      { name: "t" },
      { name: "a\u202eb" },
      { name: "a\u0000" },
      { name: "größe" },
      { name: "ok" },
    ];
    const upstream = await bench.upstream(peer, {}, tools);
    const { value } = await bench.key("k", [{ upstreamId: upstream.id, tools: ["*"] }]);
    const { body } = await bench.modern(value, "tools/list");
    expect(body.result.tools.map((tool: Json) => tool.name)).toEqual(["acme-ok"]);
  });

  test("more than a thousand tools come in pages", async () => {
    const tools = Array.from({ length: 1500 }, (_, at) => ({ name: `t${String(at).padStart(4, "0")}` }));
    const upstream = await bench.upstream(peer, {}, tools);
    const { value } = await bench.key("k", [{ upstreamId: upstream.id, tools: ["*"] }]);
    const first = (await bench.modern(value, "tools/list")).body.result;
    const second = (await bench.modern(value, "tools/list", { cursor: first.nextCursor })).body.result;
    expect([first.tools.length, second.tools.length, second.nextCursor]).toEqual([1000, 500, undefined]);
    expect((await bench.modern(value, "tools/list", { cursor: "x" })).body.error.code).toBe(-32602);
  });
});
