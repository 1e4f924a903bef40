import { beforeEach, describe, expect, test } from "vitest";
import { answer } from "../../test/peers/scripted-upstream.ts";
import { checkDefinition } from "../upstreams/index.ts";
import { type Json, META } from "./endpoint.suite.ts";
import { eras, features, stage } from "./features.suite.ts";

describe("capabilities", () => {
  const offeredTo = async (era: (typeof eras)[number]) =>
    era === "modern"
      ? (await stage.ask(era, "server/discover")).body.result.capabilities
      : (await stage.ask(era, "initialize", { protocolVersion: "2025-11-25", capabilities: {} })).body.result
          .capabilities;

  test.each(eras)("what one of this caller's upstreams declared, %s", async (era) => {
    expect(await offeredTo(era)).toMatchObject({ tools: {}, prompts: {}, resources: {}, completions: {} });
    stage.key = await stage.keyFor([stage.second]);
    expect(await offeredTo(era)).not.toHaveProperty("completions");
    stage.key = await stage.keyFor([]);
    expect(Object.keys(await offeredTo(era))).toEqual(["tools"]);
    const { status, body } = await stage.ask(era, "prompts/list");
    expect([status, body.error.code]).toEqual([era === "modern" ? 404 : 200, -32601]);
  });

  test("an upstream nobody has read yet may offer anything, and its lists are empty", async () => {
    const url = {
      name: "new",
      connection_type: "http",
      connection_string: stage.acme.url,
      tools_to_execute: ["*"],
    };
    stage.key = await stage.keyFor([
      await stage.bench.upstreams.create(checkDefinition(url as never), "api"),
    ]);
    expect(await offeredTo("modern")).toMatchObject({ prompts: {}, resources: {} });
    expect((await stage.ask("modern", "prompts/list")).body.result.prompts).toEqual([]);
  });
});

describe("logging", () => {
  const log = (level: string) => ({ method: "notifications/message", params: { level, data: level } });
  const logging = { ...features, capabilities: { ...features.capabilities, logging: {} } };
  const levelsIn = (text: string) => [...text.matchAll(/"level":"(\w+)"/g)].map(([, level]) => level);

  beforeEach(async () => {
    for (const [peer, { id }] of [
      [stage.acme, stage.first],
      [stage.other, stage.second],
    ] as const) {
      const result = { content: [], ...(peer.era === "modern" && { resultType: "complete" }) };
      peer.on("tools/call", answer.sse(log("debug"), log("error"), { result }));
      peer.on("logging/setLevel", answer.result({}));
      await stage.bench.upstreams.recordTools(id, peer.tools, logging);
    }
    stage.other.next((exchange) => {
      exchange.res.setHeader("mcp-session-id", "s1");
      stage.other.sessions.add("s1");
      const result = {
        protocolVersion: "2025-11-25",
        capabilities: logging.capabilities,
        serverInfo: { name: "o" },
      };
      return answer.result(result)(exchange);
    }, "initialize");
  });

  async function called(name: string, session: Record<string, string>): Promise<string> {
    const response = await stage.bench.fetch(
      { jsonrpc: "2.0", id: 1, method: "tools/call", params: { name, arguments: {} } },
      { authorization: `Bearer ${stage.key}`, ...session },
    );
    return await response.text();
  }

  test("logging/setLevel holds for the session, towards upstreams of both eras", async () => {
    const session = await stage.bench.session(stage.key, {});
    expect(levelsIn(await called("acme-echo", session))).toEqual(["debug", "error"]);
    expect(
      (await stage.bench.legacy(stage.key, "logging/setLevel", { level: "warning" }, session)).body.result,
    ).toEqual({});
    expect(levelsIn(await called("acme-echo", session))).toEqual(["error"]);
    expect(stage.acme.calls("tools/call")[1]?.body?.params?._meta?.[`${META}logLevel`]).toBe("warning");
    expect(levelsIn(await called("beta-echo", session))).toEqual(["error"]);
    await called("beta-echo", session);
    expect(stage.other.calls("logging/setLevel").map(({ body }) => body?.params)).toEqual([
      { level: "warning" },
    ]);
    expect(levelsIn(await called("acme-echo", await stage.bench.session(stage.key, {})))).toEqual([
      "debug",
      "error",
    ]);
    expect(
      (await stage.bench.legacy(stage.key, "logging/setLevel", { level: "loud" }, session)).body.error.code,
    ).toBe(-32602);
  });

  test("2026-07-28: the level of the request, and none without", async () => {
    const _meta = { [`${META}logLevel`]: "error" };
    const sent = { jsonrpc: "2.0", id: 1, method: "tools/call" };
    const version = { [`${META}protocolVersion`]: "2026-07-28", [`${META}clientCapabilities`]: {} };
    const headers = {
      authorization: `Bearer ${stage.key}`,
      "mcp-protocol-version": "2026-07-28",
      "mcp-method": "tools/call",
    };
    const post = async (meta: Json) => {
      const params = { name: "beta-echo", arguments: {}, _meta: { ...version, ...meta } };
      return (await stage.bench.fetch({ ...sent, params }, { ...headers, "mcp-name": "beta-echo" })).text();
    };
    expect(levelsIn(await post(_meta))).toEqual(["error"]);
    expect(levelsIn(await post({}))).toEqual([]);
    expect((await stage.bench.modern(stage.key, "logging/setLevel", { level: "error" })).status).toBe(404);
  });
});
