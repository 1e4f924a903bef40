import { afterEach, beforeEach, expect, test } from "vitest";
import { answer, type ScriptedUpstream, startScriptedUpstream } from "../../test/peers/scripted-upstream.ts";
import { watchedLog } from "../../test/support/leavings.ts";
import { Hidden, type Outbound, openOutbound, systemWorld } from "../base/index.ts";
import type { Credential, Opened } from "../vault/index.ts";
import { Relay, type RelayUpstream } from "./index.ts";

let upstream: ScriptedUpstream;
let outbound: Outbound;
let relay: Relay;
let held: Record<string, string>;

beforeEach(async () => {
  upstream = await startScriptedUpstream({ requireHeader: { name: "X-Api-Key", value: "good" } });
  outbound = openOutbound({ allow: { admin: [new URL(upstream.url).host], stranger: [] } });
  held = {};
  const opened = (): Opened => ({
    outcome: "ready",
    credential: { id: "cred_1", generation: 1 } as Credential,
    authorize: (headers) => void Object.assign(headers, held),
  });
  relay = new Relay({
    world: systemWorld({ outbound, log: watchedLog() }),
    version: "1.2.3",
    upstreams: { recordEra: async () => {} },
    vault: { open: async () => opened(), openWarm: () => undefined, markRejected: async () => {} },
  });
});

afterEach(async () => {
  relay.close();
  await outbound.close();
  await upstream.close();
});

function target(more: Partial<RelayUpstream> = {}): RelayUpstream {
  return {
    id: "up_1",
    name: "acme",
    url: new URL(upstream.url),
    perUser: true,
    headers: { "x-tenant": new Hidden("t1"), "x-api-key": new Hidden("good") },
    perUserHeaderKeys: ["X-Api-Key"],
    generation: 1,
    timeoutMs: 1_000,
    ...more,
  };
}

const verify = (value: string, more?: Partial<RelayUpstream>) =>
  relay.verifyHeaders(target(more), { "x-api-key": new Hidden(value) });

function call(more?: Partial<RelayUpstream>) {
  return relay.call({
    owner: { mode: "vk", id: "vk_1" },
    upstream: target(more),
    method: "tools/list",
    params: {},
    client: { era: "modern", capabilities: {} },
    signal: new AbortController().signal,
  });
}

test("values are tried by listing the tools; the static value of the same name never stands in", async () => {
  expect(await verify("good")).toMatchObject([{ name: "echo" }]);
  expect(upstream.requests.at(-1)!.headers).toMatchObject({ "x-api-key": "good", "x-tenant": "t1" });
  await expect(verify("bad")).rejects.toMatchObject({ status: 422, code: "headers_refused" });
  expect(upstream.requests.at(-1)!.headers["x-api-key"]).toBe("bad");
});

test("an older upstream's session of one trial is nobody else's", async () => {
  upstream.era = "legacy";
  expect(await verify("good")).toMatchObject([{ name: "echo" }]);
  await expect(verify("bad")).rejects.toMatchObject({ code: "headers_refused" });
  expect(await verify("good")).toMatchObject([{ name: "echo" }]);
  held = { "x-api-key": "good" };
  expect(await call()).toMatchObject({ outcome: "result" });
  expect(upstream.calls("initialize").filter((one) => one.headers["x-api-key"] === "good")).toHaveLength(3);
});

test.each([
  ["no, with a JSON-RPC error", answer.error(-32_000, "MARK"), 422, "headers_refused"],
  ["no, with 403", answer.http(403, { error: "MARK" }), 422, "headers_refused"],
  ["a redirect", answer.http(302, "MARK", { location: "http://127.0.0.1:1/" }), 502, "upstream_protocol"],
  [
    "a page",
    answer.http(200, "<html>MARK</html>", { "content-type": "text/html" }),
    502,
    "upstream_protocol",
  ],
  ["500", answer.http(500, "MARK"), 502, "upstream_unreachable"],
  ["nothing at all", () => {}, 504, "upstream_timeout"],
])(
  "UP-28 an upstream that says %s: an error of ours, and nothing of its words",
  async (_what, handler, status, code) => {
    await verify("good");
    const { requests } = upstream;
    requests.length = 0;
    upstream.next(handler, "tools/list");
    const fault = await verify("good", { era: "modern" }).catch((error: unknown) => error);
    expect(fault).toMatchObject({ status, code });
    expect((fault as Error).message).not.toContain("MARK");
    expect(requests).toHaveLength(1);
  },
);

test("ID-21 a credential without every declared name is sent not at all, and undeclared names never", async () => {
  held = { "x-api-key": "good" };
  const two = { perUserHeaderKeys: ["X-Api-Key", "X-Region"] };
  expect(await call(two)).toEqual({ outcome: "needs_user", reason: "needs_update" });
  expect(upstream.requests).toEqual([]);
  held = { "x-api-key": "good", "x-region": "eu" };
  expect(await call({ era: "modern" })).toMatchObject({ outcome: "result" });
  expect(upstream.requests.at(-1)!.headers).not.toHaveProperty("x-region");
});
