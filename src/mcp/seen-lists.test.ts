import { afterEach, beforeEach, expect, test } from "vitest";
import { TellingUpstream } from "../../test/peers/telling-upstream.ts";
import type { Owner } from "../base/index.ts";
import { type Bench, echo, openBench } from "./endpoint.suite.ts";
import type { Client } from "./era.ts";
import { Listener } from "./listener.ts";
import { Offers } from "./offers.ts";
import { PlainNames } from "./plain-names.ts";
import { store, told } from "./pushes.suite.ts";
import { SeenLists } from "./seen-lists.ts";

const client: Client = { era: "legacy", version: "2025-11-25", capabilities: {}, opensUrls: false };
const headers = { get: () => null };

let peer: TellingUpstream;
let bench: Bench;
let listed: number;
let seen: SeenLists;

beforeEach(async () => {
  peer = await TellingUpstream.start("modern", [echo]);
  bench = await openBench(peer.peer);
  listed = 0;
  const { upstreams, world } = bench;
  seen = new SeenLists({
    mcp: bench,
    offers: new Offers(upstreams, world.log),
    plain: new PlainNames(upstreams),
    tools: async ({ rules }) => {
      listed += 1;
      return [...rules.upstreams.keys()].flatMap((id) =>
        upstreams.find(id)!.tools.map((tool) => ({ modern: tool, legacy: tool })),
      );
    },
  });
});

afterEach(async () => {
  await bench.close();
  await peer.close();
});

function listener(owner: Owner): Listener {
  return new Listener({ caller: { owner, actor: owner.id, binding: owner.id }, client, headers });
}

test("MC-39 a change costs as many lists as there are views, however many listen, and asks the store nothing", async () => {
  await told(bench, peer, { name: "open", allow_on_all_virtual_keys: true });
  const shared = await told(bench, peer, { name: "shared" });
  const one = await bench.key("one", [{ upstreamId: shared.id, tools: ["*"] }]);
  const other = await bench.key("other", [{ upstreamId: shared.id, tools: [] }]);
  const listeners = Array.from({ length: 500 }, (_, at) => listener((at % 2 === 0 ? one : other).owner));
  const people = Array.from({ length: 500 }, (_, at) => listener({ mode: "session", id: `anon_${at}` }));
  const all = [...listeners, ...people];
  const digests = async () => Promise.all(all.map((each) => seen.of(each)));
  const before = await digests();
  // `other` and those without a key may use the same: nobody is told apart who sees the same.
  expect([listed, new Set(before.map(({ tools }) => tools)).size]).toEqual([2, 2]);
  expect(before[1]).toEqual(before[999]);
  peer.peer.tools = [echo, { name: "more" }];
  await store(bench, shared.id, peer);
  await bench.database.close();
  const after = await digests();
  expect(listed).toBe(4);
  expect(after.map(({ tools }, at) => tools !== before[at]!.tools)).toEqual(
    all.map(({ caller }) => caller.owner.id === one.id),
  );
});
