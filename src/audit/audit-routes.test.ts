import { expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { readJson } from "../../test/support/read.ts";
import { testSettings } from "../../test/support/settings.ts";
import { testWorld } from "../../test/support/world.ts";
import { mount, RateLimits } from "../http/index.ts";
import type { Principal } from "../identity/index.ts";
import { Audit, auditRoutes, sweepAudit } from "./index.ts";

const HOUR = 60 * 60 * 1000;
const admin: Principal = { kind: "admin_token" };
const person = (userId: string): Principal => ({
  kind: "user",
  userId,
  email: "",
  name: "",
  role: "member",
  sessionId: "",
});

onBothDatabases("reading the audit trail", (open) => {
  async function setUp() {
    const world = testWorld();
    const { database } = await open();
    const audit = new Audit({ database, world });
    let caller = admin;
    const app = mount(auditRoutes({ database }), {
      world,
      settings: testSettings(),
      limits: new RateLimits(world),
      authenticate: async () => caller,
    });
    const call = (query: string, path = "/api/audit") => app.request(`http://localhost:8080${path}?${query}`);
    const list = async (query: string) => readJson(await call(query));
    const events = async (query: string) =>
      (await list(query)).events.map((row: { event: string }) => row.event);
    const as = (principal: Principal) => {
      caller = principal;
    };
    /** One line a millisecond. */
    const fill = async (count: number, event = (n: number) => `call.n${n}`) => {
      for (let n = 0; n < count; n += 1) {
        audit.note({ event: event(n), actor: "vk:k", detail: { n } });
        world.advance(1);
        if (n % 5000 === 4999) await audit.flush();
      }
      await audit.flush();
    };
    return { world, database, audit, call, list, events, as, fill };
  }

  it("pages by cursor through every line once, newest first", async () => {
    const { list, fill } = await setUp();
    await fill(25);
    const seen: string[] = [];
    let cursor: string | undefined;
    do {
      const page = await list(`limit=10${cursor ? `&cursor=${cursor}` : ""}`);
      expect(page.count).toBe(page.events.length);
      seen.push(...page.events.map((row: { event: string }) => row.event));
      cursor = page.next_cursor;
    } while (cursor);
    expect(seen).toEqual(Array.from({ length: 25 }, (_, n) => `call.n${24 - n}`));
  });

  it("filters by event, actor, owner, upstream, time and text, without wildcards", async () => {
    const { world, audit, events } = await setUp();
    const start = world.now();
    const note = (event: string, entry = {}) => {
      audit.note({ event, actor: "system", ...entry });
      world.advance(HOUR);
    };
    note("user.created", {
      actor: "user:a",
      owner: { mode: "user", id: "b" },
      detail: { text: "100% Sure" },
    });
    note("user_x.made", { upstreamId: "up_1", requestId: "req_9" });
    note("session.started", { owner: { mode: "vk", id: "b" } });
    await audit.flush();
    expect(await events("event=user.*")).toEqual(["user.created"]);
    expect(await events("event=user_x.made,session.started")).toEqual(["session.started", "user_x.made"]);
    expect(await events("actor=user:a")).toEqual(["user.created"]);
    expect(await events("owner=b")).toEqual(["session.started", "user.created"]);
    expect(await events("owner=vk:b")).toEqual(["session.started"]);
    expect(await events("mcp_client_id=up_1")).toEqual(["user_x.made"]);
    expect(await events("q=100%25+sure")).toEqual(["user.created"]);
    expect(await events("q=r%25q_9")).toEqual([]);
    expect(await events("q=REQ_9")).toEqual(["user_x.made"]);
    const at = (hours: number) => new Date(start.getTime() + hours * HOUR).toISOString();
    expect(await events(`from=${at(1)}&to=${at(2)}`)).toEqual(["user_x.made"]);
    expect(await events(`from=${at(1)}`)).toEqual(["session.started", "user_x.made"]);
  });

  it("a person reads what they did and what is theirs; a virtual key nothing", async () => {
    const { audit, events, as, call } = await setUp();
    audit.note({ event: "a", actor: "user:u_1" });
    audit.note({ event: "b", actor: "user:u_1/token:t" });
    audit.note({ event: "c", actor: "system", owner: { mode: "user", id: "u_1" } });
    audit.note({ event: "d", actor: "user:u_11" });
    audit.note({ event: "e", actor: "user:uX1", owner: { mode: "vk", id: "u_1" } });
    await audit.flush();
    as(person("u_1"));
    expect((await events("")).toSorted()).toEqual(["a", "b", "c"]);
    expect(await events("event=d")).toEqual([]);
    const file = await (await call("", "/api/audit/export")).text();
    expect(file.trimEnd().split("\n")).toHaveLength(3);
    as({ kind: "virtual_key", virtualKeyId: "k", name: "k" });
    expect((await call("")).status).toBe(403);
    expect((await call("", "/api/audit/export")).status).toBe(403);
  });

  it("refuses what it cannot read, naming the parameter", async () => {
    const { call } = await setUp();
    for (const [query, param] of [
      ["limit=501", "limit"],
      ["from=yesterday", "from"],
      ["cursor=aud_1", "cursor"],
    ] as const) {
      const answer = await call(query);
      expect([answer.status, (await readJson(answer)).error.param]).toEqual([400, param]);
    }
  });

  it("HEAD of an export reads nothing", async () => {
    const { database } = await setUp();
    const world = testWorld();
    const app = mount(auditRoutes({ database }), {
      world,
      settings: testSettings(),
      limits: new RateLimits(world),
      authenticate: async () => admin,
    });
    const answer = await app.request("http://localhost:8080/api/audit/export", { method: "HEAD" });
    expect([answer.status, await answer.text()]).toEqual([200, ""]);
  });

  it("100,000 lines: a search ends, an export streams in order, the sweep takes what is old and no more", async () => {
    const { fill, list, call, database, world } = await setUp();
    const lines = 100_000;
    await fill(lines, (n) => (n === 3 ? "needle.found" : "call.made"));
    const started = performance.now();
    const found: string[] = [];
    let cursor: string | undefined;
    do {
      // A page that held nothing says where to go on.
      const page = await list(`event=needle.found${cursor ? `&cursor=${cursor}` : ""}`);
      found.push(...page.events.map((row: { event: string }) => row.event));
      cursor = page.next_cursor;
    } while (cursor);
    expect(found).toEqual(["needle.found"]);
    expect(performance.now() - started).toBeLessThan(10_000);

    const body = (await call("", "/api/audit/export")).body!;
    let count = 0;
    let largest = 0;
    let rests = "";
    let last = -1;
    const decoder = new TextDecoder();
    for await (const chunk of body) {
      largest = Math.max(largest, chunk.byteLength);
      const parts = (rests + decoder.decode(chunk, { stream: true })).split("\n");
      rests = parts.pop()!;
      for (const part of parts) {
        const { n } = (JSON.parse(part) as { detail: { n: number } }).detail;
        expect(n).toBe(last + 1);
        last = n;
        count += 1;
      }
    }
    expect(count).toBe(lines);
    expect(largest).toBeLessThan(1024 * 1024);

    const left = async () => {
      const { n } = await database.db
        .selectFrom("audit")
        .select((row) => row.fn.countAll<number>().as("n"))
        .executeTakeFirstOrThrow();
      return Number(n);
    };
    expect(await sweepAudit({ database, world }, 0)).toBe(0);
    expect(await sweepAudit({ database, world }, 1)).toBe(0);
    // The clock stands one millisecond after the last line; a day on, the first 30,000 are older than a day.
    world.advance(24 * HOUR - lines + 30_000);
    expect(await sweepAudit({ database, world }, 1)).toBe(30_000);
    expect(await left()).toBe(lines - 30_000);
  }, 60_000);
});
