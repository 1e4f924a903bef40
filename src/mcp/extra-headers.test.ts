import { afterEach, beforeEach, expect, test } from "vitest";
import { type ScriptedUpstream, startScriptedUpstream } from "../../test/peers/scripted-upstream.ts";
import { Hidden } from "../base/index.ts";
import { type Bench, echo, openBench } from "./endpoint.suite.ts";
import { extraHeaders } from "./extra-headers.ts";

let peer: ScriptedUpstream;
let bench: Bench;

beforeEach(async () => {
  peer = await startScriptedUpstream({ tools: [echo] });
  bench = await openBench(peer);
});

afterEach(async () => {
  await bench.close();
  await peer.close();
});

const params = { name: "acme-echo", arguments: {} };

async function reached(body: Record<string, unknown>, sent: Record<string, string>) {
  const upstream = await bench.upstream(peer, body);
  const { value, owner } = await bench.key("k", [{ upstreamId: upstream.id, tools: ["*"] }]);
  if (upstream.perUser) await bench.connected(owner, upstream);
  expect((await bench.modern(value, "tools/call", params, sent)).status).toBe(200);
  return peer.calls("tools/call").at(-1)!.headers;
}

test("R18 named headers of the client's request go on, case aside; no other does", async () => {
  const headers = await reached(
    { allowed_extra_headers: ["X-Tenant", "traceparent"] },
    { "x-tenant": "north", TraceParent: "00-1", "x-other": "y", cookie: "a=b" },
  );
  expect(headers).toMatchObject({ "x-tenant": "north", traceparent: "00-1" });
  for (const name of ["x-other", "cookie", "authorization", "x-api-key", "origin"])
    expect(headers[name]).toBeUndefined();
});

test("R18 they never stand in for a static header", async () => {
  const fixed = await reached(
    { auth_type: "headers", headers: { "X-Tenant": "ours" }, allowed_extra_headers: ["x-tenant"] },
    { "x-tenant": "theirs" },
  );
  expect(fixed["x-tenant"]).toBe("ours");
});

test("R18 nor for a person's own value", async () => {
  const headers = { "X-Tenant": "mine" };
  const body = {
    auth_type: "per_user_headers",
    per_user_header_keys: ["X-Tenant"],
    allowed_extra_headers: ["x-tenant"],
  };
  const upstream = await bench.upstream(peer, body);
  const { value, owner } = await bench.key("k", [{ upstreamId: upstream.id, tools: ["*"] }]);
  const secret = { kind: "headers" as const, headers: { "x-tenant": new Hidden(headers["X-Tenant"]) } };
  await bench.database.transaction((tx) =>
    bench.vault.put(tx, { owner, upstreamId: upstream.id, account: "", secret }),
  );
  const called = await bench.modern(value, "tools/call", params, { "x-tenant": "theirs" });
  expect(called.status).toBe(200);
  expect(peer.calls("tools/call").at(-1)!.headers["x-tenant"]).toBe("mine");
});

test("an older upstream gets them with the call, and the session it is made in without", async () => {
  peer.era = "legacy";
  const headers = await reached({ allowed_extra_headers: ["x-tenant"] }, { "x-tenant": "north" });
  expect(headers["x-tenant"]).toBe("north");
  for (const method of ["initialize", "notifications/initialized"])
    for (const { headers: others } of peer.calls(method)) expect(others["x-tenant"]).toBeUndefined();
});

test("MC-28 UP-28 values that are no plain line, and what ends at this hop, stay here", () => {
  const sent = new Headers({ connection: "close, X-Hop", "x-hop": "1", "x-long": "a".repeat(9000) });
  sent.set("x-latin", "gr\u00f6\u00dfe");
  sent.set("x-tab", "a\tb");
  const allowed = ["x-hop", "x-long", "x-latin", "x-tab", "x-absent"];
  expect(extraHeaders(allowed, sent)).toEqual({ "x-tab": "a\tb" });
});

test("R18 names that must never go on do not, whatever an older definition holds", () => {
  const never = [
    "authorization",
    "cookie",
    "host",
    "mcp-session-id",
    "mcp-param-a",
    "proxy-authorization",
    "sec-fetch-site",
    "te",
    "content-length",
    "x-api-key",
    "x-bf-vk",
    "origin",
  ];
  const sent = { get: (name: string) => (name === "connection" ? null : "v") } as Headers;
  expect(extraHeaders(never, sent)).toEqual({});
  expect(extraHeaders([], sent)).toBeUndefined();
});
