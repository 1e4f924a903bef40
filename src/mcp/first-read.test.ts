import { afterEach, beforeEach, expect, test } from "vitest";
import { answer, type ScriptedUpstream, startScriptedUpstream } from "../../test/peers/scripted-upstream.ts";
import { Hidden, type Owner } from "../base/index.ts";
import type { Upstream } from "../upstreams/index.ts";
import { type Bench, echo, openBench } from "./endpoint.suite.ts";

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

const keyFor = (upstream: Upstream) => bench.key("k", [{ upstreamId: upstream.id, tools: ["*"] }]);
const echoed = { name: "acme-echo", arguments: { a: 1 } };

test("calls that come while the first list is read wait for it, and it is read once", async () => {
  const upstream = await bench.upstream(peer, {}, "unread");
  const key = await keyFor(upstream);
  const { promise: gate, resolve: release } = Promise.withResolvers<void>();
  peer.next(answer.after(gate, peer.usually), "tools/list");
  const asked = peer.arrival("tools/list");
  const reading = bench.tools.refresh(upstream.id);
  await asked;
  const calls = Promise.all([
    bench.modern(key.value, "tools/call", echoed),
    bench.legacy(key.value, "tools/call", echoed),
  ]);
  release();
  const [modern, legacy] = await calls;
  await reading;
  expect([modern.body.result.content[0].text, legacy.body.result.content[0].text]).toEqual([
    '{"a":1}',
    '{"a":1}',
  ]);
  expect(peer.calls("tools/list")).toHaveLength(1);
});

test("what another replica is still reading is read here", async () => {
  const upstream = await bench.upstream(peer, {}, "unread");
  const { body } = await bench.modern((await keyFor(upstream)).value, "tools/call", echoed);
  expect(body.result.content[0].text).toBe('{"a":1}');
});

test("a name that is not in the list either, another upstream's, and one that may not be used are unknown", async () => {
  const upstream = await bench.upstream(peer, {}, "unread");
  const key = await keyFor(upstream);
  const stranger = await bench.key("other", []);
  for (const [value, name] of [
    [stranger.value, "acme-echo"],
    [key.value, "other-echo"],
  ] as const) {
    const { body } = await bench.modern(value, "tools/call", { name });
    expect(body.error.message).toMatch(/Unknown tool/);
  }
  expect(peer.requests).toEqual([]);
  const { body } = await bench.modern(key.value, "tools/call", { name: "acme-nothing" });
  expect(body.error.message).toMatch(/Unknown tool/);
  expect(peer.calls("tools/list")).toHaveLength(1);
});

test("an upstream that cannot be read is not asked again with every call", async () => {
  peer.on("tools/list", answer.http(500));
  const upstream = await bench.upstream(peer, {}, "unread");
  const key = await keyFor(upstream);
  for (let time = 0; time < 3; time += 1) {
    const { body } = await bench.modern(key.value, "tools/call", echoed);
    expect(body.error.message).toMatch(/Unknown tool/);
  }
  expect(peer.calls("tools/list")).toHaveLength(1);
});

test("nobody is waited for who has no account there", async () => {
  const upstream = await bench.upstream(
    peer,
    { auth_type: "per_user_headers", per_user_header_keys: ["X-Key"], user_headers: { "X-Key": "v" } },
    "unread",
  );
  const { body } = await bench.modern((await keyFor(upstream)).value, "tools/call", echoed);
  expect(body.error.message).toMatch(/Unknown tool/);
  expect(peer.requests).toEqual([]);
});

test("a list that fails because its consent ended is read again with the account that its person has now", async () => {
  const upstream = await bench.upstream(
    peer,
    { auth_type: "per_user_headers", per_user_header_keys: ["X-Key"], user_headers: { "X-Key": "v" } },
    "unread",
  );
  const key = await keyFor(upstream);
  const give = (owner: Owner) =>
    bench.database.transaction((tx) => {
      const secret = { kind: "headers", headers: { "X-Key": new Hidden("v") } } as const;
      return bench.vault.put(tx, { owner, upstreamId: upstream.id, account: "", secret });
    });
  const { promise: gate, resolve: release } = Promise.withResolvers<void>();
  peer.next(answer.after(gate, answer.http(401)), "tools/list");
  const asked = peer.arrival("tools/list");
  await give({ mode: "flow", id: "flow_1" });
  void bench.tools.refresh(upstream.id, { mode: "flow", id: "flow_1" });
  await asked;
  await give(key.owner);
  bench.tools.connected(key.owner, upstream.id);
  const calling = bench.modern(key.value, "tools/call", echoed);
  release();
  expect((await calling).body.result.content[0].text).toBe('{"a":1}');
});
