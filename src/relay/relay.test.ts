import { describe, expect, test } from "vitest";
import { answer } from "../../test/peers/scripted-upstream.ts";
import { Hidden } from "../base/index.ts";
import type { Credential, Opened } from "../vault/index.ts";
import type { ClientView } from "./index.ts";
import { META, stage } from "./relay.suite.ts";

function ready(generation: number, token = `token-${generation}`): Opened {
  const credential = { id: "cred_1", generation } as Credential;
  return {
    outcome: "ready",
    credential,
    authorize(headers) {
      headers.authorization = `Bearer ${token}`;
    },
  };
}

describe("eras", () => {
  test("a cold call to a modern upstream takes two requests, a warm one takes one, and the era is remembered", async () => {
    const first = await stage.call({ upstream: stage.target() });
    expect(first).toMatchObject({
      outcome: "result",
      result: { content: [{ type: "text", text: '{"a":1}' }] },
    });
    expect(stage.rpcs()).toEqual(["server/discover", "tools/call"]);
    await stage.call({ upstream: stage.target() });
    expect(stage.rpcs()).toHaveLength(3);
    expect(stage.eras).toEqual(["modern"]);
  });

  test("a cold call to an older upstream takes three requests, a warm one takes one", async () => {
    stage.upstream.era = "legacy";
    expect((await stage.call()).outcome).toBe("result");
    expect(stage.rpcs()).toEqual(["initialize", "notifications/initialized", "tools/call"]);
    await stage.call();
    expect(stage.rpcs()).toHaveLength(4);
    const last = stage.upstream.requests[3]!;
    expect(last.headers["mcp-protocol-version"]).toBe("2025-11-25");
    expect(stage.upstream.sessions.has(String(last.headers["mcp-session-id"]))).toBe(true);
  });

  test("an older upstream is found out without the call being made twice (AV-16)", async () => {
    stage.upstream.era = "legacy";
    expect((await stage.call({ upstream: stage.target() })).outcome).toBe("result");
    expect(stage.rpcs()).toEqual([
      "server/discover",
      "initialize",
      "notifications/initialized",
      "tools/call",
    ]);
    expect(stage.eras).toEqual(["legacy"]);
  });

  test("an upstream that was replaced by one of the other era is found again", async () => {
    await stage.call();
    stage.upstream.era = "legacy";
    expect((await stage.call()).outcome).toBe("result");
    stage.upstream.era = "modern";
    expect((await stage.call()).outcome).toBe("result");
    expect(stage.upstream.calls("tools/call").at(-1)?.headers["mcp-method"]).toBe("tools/call");
  });

  test("a forgotten session is opened again, once", async () => {
    stage.upstream.era = "legacy";
    await stage.call();
    stage.upstream.sessions.clear();
    expect((await stage.call()).outcome).toBe("result");
    stage.upstream.on("tools/call", answer.http(404));
    stage.upstream.forgetRequests();
    expect(await stage.call()).toEqual({ outcome: "failed", code: "upstream_protocol", retryable: false });
    expect(stage.upstream.calls("tools/call")).toHaveLength(2);
  });

  test("many first calls open one session", async () => {
    stage.upstream.era = "legacy";
    await Promise.all(Array.from({ length: 20 }, () => stage.call()));
    expect(stage.upstream.calls("initialize")).toHaveLength(1);
  });
});

describe("what goes out", () => {
  test("MC-28 headers are built from an empty set and `_meta` is written anew for this hop", async () => {
    const client: ClientView = {
      era: "modern",
      capabilities: { elicitation: { url: {} }, extensions: { x: {} } },
    };
    const _meta = {
      progressToken: "mine",
      "acme.example/kept": 1,
      [`${META}clientInfo`]: { name: "secret client" },
      [`${META}protocolVersion`]: "2026-07-28",
    };
    const paramHeaders = { "mcp-param-region": "eu" };
    await stage.call({ client, paramHeaders, params: { name: "echo", arguments: {}, _meta } });
    const sent = stage.upstream.requests[0]!;
    expect(Object.keys(sent.headers).sort()).toEqual([
      "accept",
      "connection",
      "content-length",
      "content-type",
      "host",
      "mcp-method",
      "mcp-name",
      "mcp-param-region",
      "mcp-protocol-version",
    ]);
    const meta = sent.body?.params?._meta;
    expect(meta).toMatchObject({
      "acme.example/kept": 1,
      [`${META}protocolVersion`]: "2026-07-28",
      [`${META}clientCapabilities`]: { elicitation: { url: {} } },
      [`${META}clientInfo`]: { name: "postern", version: "1.2.3" },
    });
    expect(meta?.progressToken).toBe(sent.body?.id);
    expect(JSON.stringify(sent.body)).not.toContain("secret client");
  });

  test("a name that is no plain header value travels as base64", async () => {
    stage.upstream.on("tools/call", answer.result({ resultType: "complete", content: [] }));
    expect((await stage.call({}, "größe\r\nx: y")).outcome).toBe("result");
    const name = String(stage.upstream.requests[0]!.headers["mcp-name"]);
    expect(name).toBe(`=?base64?${Buffer.from("größe\r\nx: y").toString("base64")}?=`);
  });

  test("static headers go along and cannot replace those of the protocol", async () => {
    const headers = { "X-Api-Key": new Hidden("k"), "Mcp-Method": new Hidden("evil") };
    await stage.call({ upstream: stage.target({ era: "modern", headers }) });
    expect(stage.upstream.requests[0]!.headers).toMatchObject({
      "x-api-key": "k",
      "mcp-method": "tools/call",
    });
  });

  test("an older upstream gets no members of the modern revision", async () => {
    stage.upstream.era = "legacy";
    const _meta = { [`${META}protocolVersion`]: "2026-07-28", [`${META}logLevel`]: "debug" };
    await stage.call({
      params: { name: "echo", arguments: {}, _meta, inputResponses: {}, requestState: "s" },
    });
    expect(stage.upstream.calls("tools/call")[0]!.body?.params).toEqual({ name: "echo", arguments: {} });
    expect(stage.upstream.calls("initialize")[0]!.body?.params?.capabilities).toEqual({});
  });
});

describe("credentials", () => {
  const owner = { mode: "vk", id: "vk_1" } as const;
  const personal = () => stage.target({ era: stage.upstream.era, perUser: true });

  test("ID-21 without a credential the upstream sees no request", async () => {
    expect(await stage.call({ owner, upstream: personal() })).toEqual({
      outcome: "needs_user",
      reason: "missing",
    });
    expect(await stage.call({ upstream: personal() })).toEqual({ outcome: "needs_user", reason: "missing" });
    stage.credential = () => ({ outcome: "unavailable" });
    expect(await stage.call({ owner, upstream: personal() })).toMatchObject({
      code: "credential_unavailable",
      retryable: true,
    });
    stage.credential = () => ({ outcome: "unavailable", reason: "client_refused" });
    expect(await stage.call({ owner, upstream: personal() })).toMatchObject({
      code: "client_refused",
      retryable: false,
    });
    expect(stage.upstream.requests).toHaveLength(0);
  });

  test.each(["modern", "legacy"] as const)("UP-18 a rejected token is exchanged once (%s)", async (era) => {
    stage.upstream.era = era;
    stage.upstream.requireBearer = { token: "token-2" };
    stage.credential = (not) => ready(not === 1 ? 2 : 1);
    expect((await stage.call({ owner, upstream: personal() })).outcome).toBe("result");
    expect(stage.rejected).toEqual([1]);
  });

  test("UP-18 two rejections end in needs_user, with two requests in all", async () => {
    stage.upstream.requireBearer = { token: "other" };
    stage.credential = (not) => ready(not === 1 ? 2 : 1);
    expect(await stage.call({ owner, upstream: personal() })).toEqual({
      outcome: "needs_user",
      reason: "needs_reauth",
    });
    expect(stage.rejected).toEqual([1, 2]);
    expect(stage.upstream.requests).toHaveLength(2);
  });

  test("403 asks for another token only with a challenge", async () => {
    stage.credential = (not) =>
      not === undefined ? ready(1) : { outcome: "needs_user", reason: "needs_reauth" };
    stage.upstream.next(answer.http(403, ""));
    expect(await stage.call({ owner, upstream: personal() })).toMatchObject({ code: "upstream_refused" });
    expect(stage.rejected).toEqual([]);
    stage.upstream.next(answer.http(403, "", { "www-authenticate": 'Bearer error="invalid_token"' }));
    expect(await stage.call({ owner, upstream: personal() })).toEqual({
      outcome: "needs_user",
      reason: "needs_reauth",
    });
  });

  test("a session of an older upstream is never shared between people or generations", async () => {
    stage.upstream.era = "legacy";
    let generation = 1;
    stage.credential = () => ready(generation);
    for (const id of ["a", "b"]) await stage.call({ owner: { mode: "user", id }, upstream: personal() });
    generation = 2;
    await stage.call({ owner: { mode: "user", id: "a" }, upstream: personal() });
    expect(stage.upstream.calls("initialize")).toHaveLength(3);
  });

  test("a shared upstream's 401 is no challenge for anybody", async () => {
    stage.upstream.next(answer.unauthorized('Bearer resource_metadata="https://evil.example"'));
    expect(await stage.call()).toMatchObject({ outcome: "failed", code: "upstream_refused" });
  });
});

describe("listTools", () => {
  test("reads every page, an empty cursor too, and keeps every field", async () => {
    const pages: Record<string, unknown> = { first: "", "": "c2", c2: undefined };
    stage.upstream.on("tools/list", (exchange) => {
      const cursor = (exchange.request.body?.params?.cursor as string | undefined) ?? "first";
      const tool = { name: `t-${cursor}`, "x-unknown": { deep: true } };
      return answer.result({ resultType: "complete", tools: [tool], nextCursor: pages[cursor] })(exchange);
    });
    const tools = await stage.relay.listTools(stage.target({ era: "modern" }));
    expect(tools.map((tool) => tool.name)).toEqual(["t-first", "t-", "t-c2"]);
    expect(tools[0]).toMatchObject({ "x-unknown": { deep: true } });
  });

  test("an endless list ends", async () => {
    stage.upstream.on(
      "tools/list",
      answer.result({ resultType: "complete", tools: [{ name: "t" }], nextCursor: "more" }),
    );
    expect(await stage.relay.listTools(stage.target({ era: "modern" }))).toHaveLength(64);
  });

  test("says why it could not ask", async () => {
    stage.upstream.next(answer.http(500));
    await expect(stage.relay.listTools(stage.target({ era: "modern" }))).rejects.toMatchObject({
      code: "upstream_unreachable",
    });
    await expect(stage.relay.listTools(stage.target({ era: "modern", perUser: true }))).rejects.toMatchObject(
      {
        code: "credential_missing",
      },
    );
  });
});
