import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type ScriptedUpstream, startScriptedUpstream } from "../../test/peers/scripted-upstream.ts";
import type { Upstream } from "../upstreams/index.ts";
import { BASE, type Bench, echo, type Json, openBench } from "./endpoint.suite.ts";

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

const TEXT = (value: string) => [{ type: "text", text: value }];

describe("auth required (contract section 5)", () => {
  let upstream: Upstream;
  let key: Awaited<ReturnType<Bench["key"]>>;
  const params = { name: "acme-echo", arguments: { a: 1 } };
  const caps = { elicitation: { url: {} } };

  beforeEach(async () => {
    peer.requireBearer = { token: "at-1" };
    upstream = await bench.upstream(peer, { auth_type: "per_user_oauth" });
    const other = await bench.upstream(peer, { name: "other", auth_type: "per_user_oauth" });
    key = await bench.key(
      "k",
      [upstream, other].map(({ id }) => ({ upstreamId: id, tools: ["*"] })),
    );
  });

  test("ID-21 MC-31 without URL elicitation: a text with the link, details in _meta, upstream not called", async () => {
    const { body } = await bench.modern(key.value, "tools/call", params);
    const required = body.result._meta.mcp_auth_required;
    expect(required).toMatchObject({
      kind: "oauth",
      mcp_client_id: upstream.id,
      mcp_client_name: "acme",
      also_required: ["other"],
      session_id: expect.any(String),
    });
    expect(required.authorize_url).toBe(`${BASE}/workspace/mcp-sessions/auth?flow=${required.session_id}`);
    const text = `Authentication required for acme. Open this URL to connect your account: ${required.authorize_url}`;
    expect(body.result).toMatchObject({ resultType: "complete", isError: true, content: TEXT(text) });
    expect(required.message).toBe(text);
    expect(peer.requests).toHaveLength(0);
    const again = await bench.legacy(key.value, "tools/call", params);
    expect(again.body.result._meta.mcp_auth_required.session_id).toBe(required.session_id);
  });

  test("2026-07-28 with URL elicitation: input_required; the repeated call succeeds after connecting", async () => {
    const asked = (await bench.modern(key.value, "tools/call", params, {}, caps)).body.result;
    expect(asked).toMatchObject({
      resultType: "input_required",
      inputRequests: {
        auth: {
          method: "elicitation/create",
          params: { mode: "url", url: expect.stringContaining("?flow=") },
        },
      },
      _meta: { mcp_auth_required: { mcp_client_name: "acme" } },
    });
    const retry = {
      ...params,
      requestState: asked.requestState,
      inputResponses: { auth: { action: "accept" } },
    };
    expect((await bench.modern(key.value, "tools/call", retry, {}, caps)).body.result.resultType).toBe(
      "input_required",
    );
    await bench.connected(key.owner, upstream);
    const done = (await bench.modern(key.value, "tools/call", retry, {}, caps)).body.result;
    expect(done).toMatchObject({ resultType: "complete", content: TEXT('{"a":1}') });
    expect(JSON.stringify(peer.requests.at(-1)?.body)).not.toMatch(/inputResponses|requestState/);
    const plain = (await bench.modern(key.value, "tools/call", params)).body.result;
    expect(plain.content).toEqual(TEXT('{"a":1}'));
  });

  test("who declines is not asked again in the same breath", async () => {
    const asked = (await bench.modern(key.value, "tools/call", params, {}, caps)).body.result;
    const retry = {
      ...params,
      requestState: asked.requestState,
      inputResponses: { auth: { action: "decline" } },
    };
    const told = (await bench.modern(key.value, "tools/call", retry, {}, caps)).body.result;
    expect(told).toMatchObject({ resultType: "complete", isError: true });
  });

  test("MC-32 a requestState serves only its caller, tool and arguments, and not for ever", async () => {
    const { requestState } = (await bench.modern(key.value, "tools/call", params, {}, caps)).body.result;
    const refused = async (value: string, call: Json) =>
      expect((await bench.modern(value, "tools/call", call, {}, caps)).body.error?.code).toBe(-32602);
    const stranger = await bench.key("s", [{ upstreamId: upstream.id, tools: ["*"] }]);
    await refused(stranger.value, { ...params, requestState });
    await refused(key.value, { ...params, arguments: { a: 2 }, requestState });
    await refused(key.value, { name: "acme-danger", arguments: { a: 1 }, requestState });
    const at = 30;
    const flipped = requestState[at] === "A" ? "B" : "A";
    await refused(key.value, {
      ...params,
      requestState: requestState.slice(0, at) + flipped + requestState.slice(at + 1),
    });
    await refused(key.value, { ...params, requestState: 5 });
    bench.world.advance(31 * 60_000);
    await refused(key.value, { ...params, requestState });
  });

  test("2025-11-25 with URL elicitation: -32042; 2025-06-18 and form mode alone: the text", async () => {
    const session = await bench.session(key.value, caps);
    const { error } = (await bench.legacy(key.value, "tools/call", params, session)).body;
    const required = error.data.mcp_auth_required;
    expect(error).toMatchObject({
      code: -32042,
      data: {
        elicitations: [{ mode: "url", elicitationId: required.session_id, url: required.authorize_url }],
      },
    });
    const older = await bench.session(key.value, caps, "2025-06-18");
    expect((await bench.legacy(key.value, "tools/call", params, older)).body.result.isError).toBe(true);
    const form = await bench.session(key.value, { elicitation: {} });
    expect((await bench.legacy(key.value, "tools/call", params, form)).body.result.isError).toBe(true);
  });

  test("an orphaned binding is refused without a link", async () => {
    await bench.connected(key.owner, upstream);
    await bench.database.transaction((tx) => bench.vault.setAccess(tx, key.owner, new Set()));
    const { result } = (await bench.modern(key.value, "tools/call", params, {}, caps)).body;
    expect(result.isError).toBe(true);
    expect(JSON.stringify(result)).not.toMatch(/https?:|mcp_auth_required/);
  });
});
