import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { answer, type ScriptedUpstream, startScriptedUpstream } from "../../test/peers/scripted-upstream.ts";
import { testWorld } from "../../test/support/world.ts";
import { openOutbound } from "../base/index.ts";
import { Circuits } from "./circuits.ts";
import { Relay, type RelayUpstream } from "./index.ts";

const acme = { id: "up_1", generation: 1 };

describe("a circuit", () => {
  let now = 0;
  let told: string[];
  let circuits: Circuits;

  beforeEach(() => {
    now = 1_000_000;
    told = [];
    circuits = new Circuits(
      () => now,
      (change) => told.push(change),
    );
  });

  const fail = (times: number) => {
    for (let time = 0; time < times; time++) circuits.ended(acme, "unreached");
  };

  test("opens after five failures in a row, and no earlier", () => {
    fail(4);
    expect(circuits.refuses(acme)).toBe(false);
    circuits.ended(acme, "reached");
    fail(4);
    expect(circuits.refuses(acme)).toBe(false);
    fail(1);
    expect([circuits.refuses(acme), told]).toEqual([true, ["opened"]]);
  });

  test("half open, one call tries and the others are refused; success closes it", () => {
    fail(5);
    now += 1_000;
    expect([circuits.refuses(acme), circuits.refuses(acme)]).toEqual([false, true]);
    circuits.ended(acme, "reached");
    expect([circuits.refuses(acme), circuits.refuses(acme)]).toEqual([false, false]);
    expect(told).toEqual(["opened", "closed"]);
  });

  test("a failed try waits longer each time, at most half a minute", () => {
    fail(5);
    now += 1_000;
    const waits: number[] = [];
    for (let round = 0; round < 7; round++) {
      expect(circuits.refuses(acme)).toBe(false);
      fail(1);
      const before = now;
      while (circuits.refuses(acme)) now += 1_000;
      waits.push(now - before);
      circuits.ended(acme, "unknown");
    }
    expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
    expect(told).toEqual(["opened"]);
  });

  test("a try whose client went away leaves the next call to try", () => {
    fail(5);
    now += 1_000;
    expect(circuits.refuses(acme)).toBe(false);
    circuits.ended(acme, "unknown");
    expect(circuits.refuses(acme)).toBe(false);
  });

  test("another upstream, and another address of this one, are not concerned", () => {
    fail(5);
    expect(circuits.refuses({ id: "up_2", generation: 1 })).toBe(false);
    expect(circuits.refuses({ ...acme, generation: 2 })).toBe(false);
  });
});

describe("calls through the relay", () => {
  let peer: ScriptedUpstream;
  let relay: Relay;
  let world: ReturnType<typeof testWorld>;
  let upstream: RelayUpstream;

  beforeEach(async () => {
    peer = await startScriptedUpstream();
    const { host } = new URL(peer.url);
    world = testWorld(openOutbound({ allow: { admin: [host], stranger: [] } }));
    relay = new Relay({
      world,
      version: "1.2.3",
      upstreams: { recordEra: async () => {} },
      vault: {
        open: async () => ({ outcome: "needs_user", reason: "missing" }),
        openWarm: () => undefined,
        markRejected: async () => {},
      },
    });
    const url = new URL(peer.url);
    upstream = {
      id: "up_1",
      name: "acme",
      url,
      perUser: false,
      headers: {},
      generation: 1,
      era: "modern",
      timeoutMs: 5_000,
    } as RelayUpstream;
  });

  afterEach(async () => {
    await relay.close();
    await world.outbound.close();
    await peer.close();
  });

  const call = () =>
    relay.call({
      upstream,
      method: "tools/call",
      params: { name: "echo", arguments: {} },
      client: { era: "modern", capabilities: {} },
      signal: new AbortController().signal,
    });

  test("a dead upstream answers at once after five failures, and is found again", async () => {
    peer.on("tools/call", answer.reset());
    for (let time = 0; time < 5; time++) await call();
    peer.forgetRequests();
    expect(await call()).toEqual({ outcome: "failed", code: "upstream_unreachable", retryable: true });
    expect(peer.requests).toHaveLength(0);
    peer.on("tools/call", peer.usually);
    world.advance(1_000);
    const both = await Promise.all([call(), call()]);
    expect(both.map(({ outcome }) => outcome).sort()).toEqual(["failed", "result"]);
    expect((await call()).outcome).toBe("result");
  });

  test("whoever answers is there: errors, refusals and nonsense open nothing", async () => {
    for (const bad of [answer.error(-32000, "no"), answer.http(500), answer.http(200, "<html>")]) {
      peer.on("tools/call", bad);
      for (let time = 0; time < 6; time++) await call();
    }
    peer.on("tools/call", peer.usually);
    expect((await call()).outcome).toBe("result");
  });

  test("its list is read all the same, and an answer closes the circuit", async () => {
    peer.on("tools/call", answer.reset());
    for (let time = 0; time < 5; time++) await call();
    peer.on("tools/call", peer.usually);
    expect((await relay.listTools(upstream)).map(({ name }) => name)).toEqual(["echo"]);
    expect((await call()).outcome).toBe("result");
  });
});
