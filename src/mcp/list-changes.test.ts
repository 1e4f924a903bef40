import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { eventually } from "../../test/journeys/steps/eventually.ts";
import { TellingUpstream } from "../../test/peers/telling-upstream.ts";
import { Events } from "../../test/support/events.ts";
import { checkDefinition, type Upstream } from "../upstreams/index.ts";
import { type Bench, echo, type Json, openBench } from "./endpoint.suite.ts";
import { Listener } from "./listener.ts";
import { changed, listening, standing, store, told, untagged } from "./pushes.suite.ts";

const more = { name: "more", inputSchema: { type: "object" } };
const lists = { toolsListChanged: true, promptsListChanged: true, resourcesListChanged: true };

let peer: TellingUpstream;
let second: TellingUpstream;
let bench: Bench;
let acme: Upstream;
let beta: Upstream;

beforeEach(async () => {
  peer = await TellingUpstream.start("modern", [echo]);
  second = await TellingUpstream.start("legacy", [echo]);
  bench = await openBench(peer.peer, second.peer);
  acme = await told(bench, peer);
  beta = await told(bench, second, { name: "beta" });
});

afterEach(async () => {
  await bench.close();
  await peer.close();
  await second.close();
});

/** Opens a stream of each era; the messages of both come without what tells the streams apart. */
const eras = {
  async legacy(key: string, more?: Json): Promise<() => Promise<Json>> {
    const { events } = await standing(bench, key, more);
    return () => events.next();
  },
  async modern(key: string, more?: Json): Promise<() => Promise<Json>> {
    const { events } = await listening(bench, key, lists, more);
    return async () => untagged(await events.next());
  },
};
const both = ["legacy", "modern"] as const;
const keyFor = (name: string, upstream: Upstream, tools = ["*"]) =>
  bench.key(name, [{ upstreamId: upstream.id, tools }]);

describe.each(both)("list_changed, %s client", (era) => {
  test("MC-39 is told to whom the change concerns and nobody else", async () => {
    const mine = await eras[era]((await keyFor("mine", acme)).value);
    const other = await eras[era]((await keyFor("other", beta)).value);
    const narrow = await eras[era]((await keyFor("narrow", acme, ["echo"])).value);
    peer.peer.tools = [echo, more];
    await store(bench, acme.id, peer);
    expect(await mine()).toEqual(changed("tools"));
    // The next change concerns them; were they told of the first one, that would come first.
    peer.prompts = [];
    await store(bench, acme.id, peer);
    expect(await narrow()).toEqual(changed("prompts"));
    second.resources = [];
    await store(bench, beta.id, second);
    expect(await other()).toEqual(changed("resources"));
  });

  test("a burst is one push, and what came after it another", async () => {
    const next = await eras[era]((await keyFor("mine", acme)).value);
    for (let round = 0; round < 20; round += 1) {
      peer.peer.tools = [echo, { ...more, description: `${round}` }];
      await store(bench, acme.id, peer);
    }
    expect(await next()).toEqual(changed("tools"));
    peer.prompts = [];
    await store(bench, acme.id, peer);
    const rest = [await next()];
    // The end of the burst may have fallen into a second look.
    if (rest[0]!.method === changed("tools").method) rest.push(await next());
    expect(rest.at(-1)).toEqual(changed("prompts"));
  });

  test("a reading that changed nothing, or only how the upstream is doing, is not told", async () => {
    const next = await eras[era]((await keyFor("mine", acme)).value);
    await store(bench, acme.id, peer);
    await bench.upstreams.recordFailure(acme.id, { code: "c", message: "m", at: 1 });
    peer.resources = [];
    await store(bench, acme.id, peer);
    expect(await next()).toEqual(changed("resources"));
  });

  test("ID-14 a key's changed rules are told to who came with it", async () => {
    const key = await keyFor("mine", acme);
    const next = await eras[era](key.value);
    const configs = [acme, beta].map(({ id }) => ({ upstreamId: id, tools: ["*"] }));
    await bench.keys.update(key.id, { configs });
    expect(await next()).toEqual(changed("tools"));
    expect(await next()).toEqual(changed("prompts"));
    expect(await next()).toEqual(changed("resources"));
  });

  test("an upstream that is for everybody from now on", async () => {
    const next = await eras[era]((await keyFor("mine", acme)).value);
    await bench.upstreams.update(beta.id, { allow_on_all_virtual_keys: true });
    expect(await next()).toEqual(changed("tools"));
  });

  test("an upstream switched off, renamed, deleted", async () => {
    const next = await eras[era]((await keyFor("mine", acme)).value);
    for (const change of [
      () => bench.upstreams.update(acme.id, { disabled: true }),
      () => bench.upstreams.update(acme.id, { disabled: false, name: "renamed" }),
      () => bench.upstreams.delete(acme.id),
    ]) {
      await change();
      for (const list of ["tools", "prompts", "resources"]) expect(await next()).toEqual(changed(list));
    }
  });

  test("a virtual MCP's changed bundle", async () => {
    const key = await keyFor("mine", acme);
    const made = await bench.virtualMcps.create({
      slug: "team",
      name: "Team",
      upstreams: [{ upstreamId: acme.id, tools: ["echo"] }],
      virtualKeyIds: [key.id],
      userIds: [],
      source: "api",
    });
    peer.peer.tools = [echo, more];
    await store(bench, acme.id, peer);
    const next = await eras[era](key.value, { path: "/mcp/team" });
    await bench.virtualMcps.update(made.id, () => ({ upstreams: [{ upstreamId: acme.id, tools: ["*"] }] }));
    expect(await next()).toEqual(changed("tools"));
  });
});

describe("an account", () => {
  const person = { name: "mine", auth_type: "per_user_oauth" };

  test.each(both)("that is connected takes the tool connect_{upstream} away, %s client", async (era) => {
    const mine = await told(bench, peer, person);
    const [key, other] = [await keyFor("a", mine), await keyFor("b", mine)];
    const [next, others] = [await eras[era](key.value), await eras[era](other.value)];
    await bench.connected(key.owner, mine);
    expect(await next()).toEqual(changed("tools"));
    // B's list is as it was; the next thing that B hears is B's.
    peer.prompts = [];
    await store(bench, mine.id, peer);
    expect(await others()).toEqual(changed("prompts"));
  });

  test.each(both)(
    "is the first ever of its upstream: the list is read behind, and the client hears of it, %s client",
    async (era) => {
      bench.readLists();
      const upstream = await bench.upstreams.create(
        checkDefinition({
          ...person,
          name: "fresh",
          connection_type: "http",
          connection_string: peer.url,
          tools_to_execute: ["*"],
        } as never),
        "api",
      );
      const key = await keyFor("a", upstream);
      const names = async () =>
        (await bench.legacy(key.value, "tools/list")).body.result.tools.map(({ name }: Json) => name);
      const next = await eras[era](key.value);
      expect(await names()).toEqual(["connect_fresh"]);
      await bench.connected(key.owner, upstream);
      expect(await next()).toEqual(changed("tools"));
      await eventually("the tools are there", async () => (await names()).includes("fresh-echo"));
      for (;;) {
        if ((await names()).length === 1) break;
        await next();
      }
      expect(await names()).toEqual(["fresh-echo"]);
    },
  );
});

describe("what the upstream says itself", () => {
  test.each([
    ["modern", "legacy"],
    ["modern", "modern"],
    ["legacy", "legacy"],
    ["legacy", "modern"],
  ] as const)("%s upstream, %s client: its list is read anew and told", async (upstreamEra, era) => {
    bench.readLists();
    const [telling, upstream] = upstreamEra === "modern" ? [peer, acme] : [second, beta];
    const next = await eras[era]((await keyFor("mine", upstream)).value);
    await eventually("the upstream is listened to", () => telling.streams.size > 0);
    telling.peer.tools = [echo, more];
    telling.changed("tools");
    expect(await next()).toEqual(changed("tools"));
    telling.prompts = [];
    telling.changed("prompts");
    expect(await next()).toEqual(changed("prompts"));
  });

  test("MC-39 is listened to once however many listen here, and to nobody when nobody does", async () => {
    bench.readLists();
    const keys = await Promise.all([1, 2, 3].map((n) => keyFor(`k${n}`, acme)));
    const open: Events[] = [];
    for (const { value } of keys) open.push((await listening(bench, value, lists)).events);
    await eventually("the upstream is listened to", () => peer.streams.size > 0);
    peer.peer.tools = [echo, more];
    peer.changed("tools");
    for (const events of open) expect(untagged(await events.next())).toEqual(changed("tools"));
    expect(peer.streams.size).toBe(1);
    expect(peer.peer.calls("subscriptions/listen")).toHaveLength(1);
    for (const events of open) await events.cancel();
    await eventually("nobody listens", () => peer.streams.size === 0);
  });

  test("is made up for when it changed while nobody listened", async () => {
    bench.readLists();
    peer.peer.tools = [echo, more];
    bench.world.advance(120_000);
    const next = await eras.modern((await keyFor("mine", acme)).value);
    expect(await next()).toEqual(changed("tools"));
  });

  test("MC-39 a flood is read once a second at most, and told once", async () => {
    bench.readLists();
    const next = await eras.modern((await keyFor("mine", acme)).value);
    await eventually("the upstream is listened to", () => peer.streams.size > 0);
    peer.peer.tools = [echo, more];
    for (let said = 0; said < 1_000; said += 1) peer.changed("tools");
    expect(await next()).toEqual(changed("tools"));
    expect(peer.peer.calls("tools/list").length).toBeLessThanOrEqual(2);
  });
});

describe("a stream that broke", () => {
  test("and cannot be resumed begins with what may have been missed", async () => {
    const { value } = await keyFor("mine", acme);
    const first = await standing(bench, value);
    await first.events.cancel();
    const headers = { "last-event-id": "of-another-replica_7" };
    const again = await standing(bench, value, { session: await bench.session(value, {}), headers });
    for (const list of ["tools", "prompts", "resources"])
      expect(await again.events.next()).toEqual(changed(list));
  });

  test("is told the same when it comes back without a word of where it was", async () => {
    const { value } = await keyFor("mine", acme);
    const { events, session } = await standing(bench, value);
    await events.cancel();
    peer.peer.tools = [echo, more];
    await store(bench, acme.id, peer);
    const again = await standing(bench, value, { session });
    expect(await again.events.next()).toEqual(changed("tools"));
  });

  test("AV-18 makes room for the next when its caller has too many", async () => {
    const { value } = await keyFor("mine", acme);
    for (let at = 0; at < 33; at += 1) await (await standing(bench, value)).events.cancel();
    expect(bench.streams.size).toBe(32);
  });

  test("AV-18 because its client did not read is resumed with what is kept", async () => {
    const { value } = await keyFor("mine", acme);
    const session = await bench.session(value, {});
    const headers = { authorization: `Bearer ${value}`, ...session, accept: "text/event-stream" };
    const unread = await bench.fetch(undefined, headers, { method: "GET" });
    const params = { filler: "x".repeat(64 * 1024) };
    for (let sent = 0; sent < 16; sent += 1)
      bench.streams.send(() => true, { method: `notifications/${sent}`, params });
    const sent = await new Response(unread.body).text();
    const last = [...sent.matchAll(/^id: (\S+)$/gm)].at(-1)![1]!;
    const again = await standing(bench, value, { session, headers: { "last-event-id": last } });
    expect((await again.events.next()).method).toMatch(/^notifications\/1[0-5]$/);
    expect(sent.length).toBeLessThan(1024 * 1024);
  });
});

describe("the end of an older client's stream", () => {
  test("ID-14 comes with its key's", async () => {
    const [key, other] = [await keyFor("mine", acme), await keyFor("other", acme)];
    const [{ events }, kept] = [await standing(bench, key.value), await standing(bench, other.value)];
    await bench.keys.update(key.id, { isActive: false });
    expect(await events.rest()).toEqual([]);
    bench.streams.send(() => true, { method: "notifications/barrier" });
    expect((await kept.events.next()).method).toBe("notifications/barrier");
  });

  test("AV-21 says when to come back, not to all the same", async () => {
    const { value } = await keyFor("mine", acme);
    const { events } = await standing(bench, value);
    bench.streams.close();
    await events.rest();
    expect(Number(/\nretry: (\d+)\n\n$/.exec(events.raw)![1])).toBeGreaterThanOrEqual(1_000);
  });

  test("comes to those without a credential when one is demanded", async () => {
    bench.settings.enforceAuthOnInference = false;
    const sent = { "x-bf-mcp-session-id": "an anonymous session of this test", authorization: "" };
    const headers = { ...sent, accept: "text/event-stream" } as Record<string, string>;
    delete headers.authorization;
    const begun = await bench.fetch(
      { jsonrpc: "2.0", id: 1, method: "initialize", params: { protocolVersion: "2025-06-18" } },
      { "x-bf-mcp-session-id": sent["x-bf-mcp-session-id"] },
    );
    headers["mcp-session-id"] = begun.headers.get("mcp-session-id")!;
    const stream = await bench.fetch(undefined, headers, { method: "GET" });
    bench.streams.tick();
    expect(bench.streams.size).toBe(1);
    bench.settings.enforceAuthOnInference = true;
    bench.streams.tick();
    expect(await stream.text()).toContain(": still here");
    expect(bench.streams.size).toBe(0);
  });
});

test("a key that expires takes its tools from its person's other streams", async () => {
  const { world, keys } = bench;
  await bench.database.db
    .insertInto("users")
    .values({
      id: "u1",
      email: "anna@example.com",
      name: "Anna",
      password_hash: null,
      role: "member",
      is_active: 1,
      created_at: 1,
      updated_at: 1,
    })
    .execute();
  const expiresAt = world.now().getTime() + 60_000;
  const configs = [{ upstreamId: acme.id, tools: ["*"] }];
  await keys.create({ name: "short", configs, source: "api", userId: "u1", expiresAt });
  // Opens the routes, and with them what follows changes.
  await bench.fetch({});
  const client = {
    era: "legacy",
    version: "2025-06-18",
    capabilities: {},
    opensUrls: true,
    session: "s",
  } as const;
  const caller = { owner: { mode: "user", id: "u1" } as const, actor: "user:u1", binding: "grant:g1" };
  const listener = new Listener({ caller, client, headers: { get: () => null } });
  const events = new Events(new Response(bench.streams.open(listener, null).body));
  await eventually("its lists are known", () => listener.seen !== undefined);
  world.advance(60_001);
  bench.streams.tick();
  expect(await events.next()).toEqual(changed("tools"));
});
