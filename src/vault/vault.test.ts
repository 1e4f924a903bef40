import { sql } from "kysely";
import { expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { Hidden } from "../base/index.ts";
import type { Tx } from "../db/index.ts";
import { listSessions } from "./index.ts";
import { type Answer, alice, bearer, bench, bob, give, hour, row, secret, up1 } from "./vault.suite.ts";

onBothDatabases("the vault", (open) => {
  it("opens what was put, from memory when warm, and never shows the secret", async () => {
    const b = await bench(open);
    expect(await bearer(b.vault, alice)).toBe("missing");
    await give(b, alice, hour);
    const opened = await b.vault.open(alice, up1);
    expect(opened.outcome).toBe("ready");
    expect(JSON.stringify(opened)).not.toContain("access-0");
    expect(await bearer(b.vault, alice)).toBe("Bearer access-0");
    expect(await bearer(b.vault, bob)).toBe("missing");
    // Warm: the database may be away.
    await b.database.transaction(async (tx) => {
      void tx;
      expect(await bearer(b.vault, alice)).toBe("Bearer access-0");
    });
  });

  it("UP-22 refreshes once for 100 parallel opens, and once per owner", async () => {
    const b = await bench(open);
    await give(b, alice, hour);
    await give(b, bob, hour, { refreshToken: new Hidden("refresh-bob") });
    b.world.advance(hour - 30_000);
    const values = await Promise.all(
      Array.from({ length: 100 }, (_, n) => bearer(b.vault, n % 2 === 0 ? alice : bob)),
    );
    expect(b.provider.refreshes.length).toBe(2);
    expect(new Set(values).size).toBe(2);
    expect(b.provider.refreshes.map((form) => form.get("refresh_token")).sort()).toEqual([
      "refresh-0",
      "refresh-bob",
    ]);
    // RFC 8707: every refresh names the resource.
    expect(b.provider.refreshes.every((form) => form.get("resource") === "https://up.example/mcp")).toBe(
      true,
    );
    expect(b.provider.refreshes[0]!.get("client_id")).toBe("gateway");
  });

  it("UP-23 refreshes once for two vaults on one database", async () => {
    const b = await bench(open);
    await give(b, alice, hour);
    const second = b.replica(b.database.kind === "postgres" ? (await open(b.url)).database : b.database);
    expect(await bearer(second, alice)).toBe("Bearer access-0");
    b.world.advance(hour);
    const values = await Promise.all(
      Array.from({ length: 40 }, (_, n) => bearer(n % 2 ? b.vault : second, alice)),
    );
    expect(b.provider.refreshes.length).toBe(1);
    expect(new Set(values)).toEqual(new Set(["Bearer access-1"]));
  });

  it("keeps id and created_at on replacement, raises the generation, keeps the old refresh token when none comes", async () => {
    const b = await bench(open);
    const first = await give(b, alice, hour);
    b.world.advance(1000);
    const second = await give(b, alice, hour, { accessToken: new Hidden("again") });
    expect(second).toEqual({ id: first!.id, generation: 2 });
    const stored = await row(b, alice);
    expect(stored.last_refreshed_at).toBe(b.world.now().getTime());
    expect(stored.created_at).toBe(b.world.now().getTime() - 1000);
    expect(await bearer(b.vault, alice)).toBe("Bearer again");
    b.provider.answer = () => ({ body: { access_token: "x1", token_type: "bearer", expires_in: 60 } });
    b.world.advance(hour);
    expect(await bearer(b.vault, alice)).toBe("Bearer x1");
    b.world.advance(59_000);
    await bearer(b.vault, alice);
    expect(b.provider.refreshes.map((form) => form.get("refresh_token"))).toEqual(["refresh-0", "refresh-0"]);
  });

  it("UP-24 a permanent refusal needs the user, after one request", async () => {
    for (const answer of [
      { status: 400, body: { error: "invalid_grant" } },
      { status: 400, body: { error: "unsupported_grant_type" } },
      { status: 200, body: { error: "bad_refresh_token", error_description: "<b>no</b>" } },
    ]) {
      const b = await bench(open);
      await give(b, alice, hour);
      b.world.advance(hour);
      b.provider.answer = () => answer;
      const values = await Promise.all(Array.from({ length: 20 }, () => bearer(b.vault, alice)));
      expect(new Set(values)).toEqual(new Set(["needs_reauth"]));
      expect(await bearer(b.vault, alice)).toBe("needs_reauth");
      expect(b.provider.refreshes.length).toBe(1);
      expect((await row(b, alice)).status_reason).toBe(
        answer.status === 200 ? "refresh_refused" : `refresh_${answer.body.error}`,
      );
    }
  });

  it("UP-25 a transient failure keeps the credential, uses what is still valid, backs off and recovers", async () => {
    const b = await bench(open);
    for (const answer of [
      { status: 500 },
      { status: 503, headers: { "retry-after": "120" } },
      { status: 429 },
      { status: 200, body: "<html>sorry</html>" },
      { status: 400, body: { error: "temporarily_unavailable" } },
    ] as Answer[]) {
      await give(b, alice, hour);
      b.world.advance(hour - 30_000);
      const before = b.provider.refreshes.length;
      b.provider.answer = () => answer;
      for (let n = 0; n < 5; n++) expect(await bearer(b.vault, alice)).toBe("Bearer access-0");
      expect(b.provider.refreshes.length - before).toBe(1);
      expect((await row(b, alice)).status).toBe("active");
    }
    b.world.advance(30_000);
    expect(await bearer(b.vault, alice)).toBe("unavailable");
    b.provider.answer = () => b.provider.rotated();
    b.world.advance(10 * 60_000);
    expect(await bearer(b.vault, alice)).toMatch(/^Bearer access-\d/);
  });

  it("UP-25 honours Retry-After and a dead provider", async () => {
    const b = await bench(open);
    await give(b, alice, hour);
    b.world.advance(hour);
    b.provider.answer = () => ({ status: 503, headers: { "retry-after": "120" } });
    const opened = await b.vault.open(alice, up1);
    expect(opened).toEqual({ outcome: "unavailable", retryAfterMs: 120_000 });
    b.world.advance(119_000);
    await b.vault.open(alice, up1);
    expect(b.provider.refreshes.length).toBe(1);
    await b.provider.server.close();
    b.world.advance(2_000);
    expect((await b.vault.open(alice, up1)).outcome).toBe("unavailable");
    expect((await row(b, alice)).status).toBe("active");
  });

  it("UP-19 a poisoned answer changes nothing; odd lifetimes are made safe", async () => {
    const b = await bench(open);
    await give(b, alice, hour);
    b.world.advance(hour);
    const before = await row(b, alice);
    const good = { access_token: "fine", token_type: "bearer" };
    for (const body of [
      { token_type: "bearer" },
      { ...good, access_token: 7 },
      { ...good, access_token: ["a"] },
      { ...good, access_token: "a".repeat(1024 * 1024) },
      { ...good, access_token: "a\r\nx-evil: 1" },
      { ...good, access_token: "ä" },
      { ...good, token_type: "mac" },
      { ...good, token_type: "DPoP" },
      { access_token: "fine" },
      { ...good, refresh_token: 5 },
      "access_token=fine&token_type=bearer",
      '{"access_token":"a","access_token":"b","token_type":"bearer"}',
    ]) {
      b.provider.answer = () => ({ body });
      expect(await bearer(b.vault, alice), JSON.stringify(body).slice(0, 60)).toBe("unavailable");
      const after = await row(b, alice);
      expect(after.generation).toBe(before.generation);
      expect(after.status).toBe("active");
      b.world.advance(11 * 60_000);
    }
    for (const [given, stored] of [
      [-1, undefined],
      [0, undefined],
      ["3600", 3600],
      [1e308, 365 * 24 * 3600],
      [{}, undefined],
      ["soon", undefined],
    ] as const) {
      await give(b, alice, 1000);
      b.world.advance(11 * 60_000);
      b.provider.answer = () => ({
        body: { ...good, expires_in: given, refresh_token: given === 0 ? "" : null },
      });
      expect(await bearer(b.vault, alice)).toBe("Bearer fine");
      const { expires_at } = await row(b, alice);
      expect(expires_at).toBe(stored === undefined ? null : b.world.now().getTime() + stored * 1000);
    }
  });

  it("AV-11 an expired token without refresh token needs the user, a minute later: the clocks may differ", async () => {
    const b = await bench(open);
    await give(b, alice, hour, { refreshToken: undefined });
    b.world.advance(hour + 59_000);
    expect(await bearer(b.vault, alice)).toBe("Bearer access-0");
    b.world.advance(1000);
    expect(await bearer(b.vault, alice)).toBe("needs_reauth");
    expect((await row(b, alice)).status_reason).toBe("expired");
  });

  it("UP-18 a refused token is renewed once, then needs the user; the token goes to its own issuer only", async () => {
    const b = await bench(open);
    await give(b, alice, hour);
    const first = await b.vault.open(alice, up1);
    if (first.outcome !== "ready") throw new Error("not ready");
    await b.vault.markRejected(first.credential);
    const second = await b.vault.open(alice, up1, "", { notGeneration: first.credential.generation });
    if (second.outcome !== "ready") throw new Error("not ready");
    expect(second.credential.generation).toBe(2);
    await b.vault.markRejected(first.credential);
    expect(await bearer(b.vault, alice)).toBe("Bearer access-1");
    await b.vault.markRejected(second.credential);
    expect(await bearer(b.vault, alice)).toBe("needs_reauth");
    expect(b.provider.refreshes.length).toBe(1);
    // Long after, it is worth another try; and a refusal of the one before, from a call that was slow, costs nothing.
    await give(b, alice, hour);
    b.world.advance(61_000);
    expect(await bearer(b.vault, alice)).toBe("Bearer access-0");
    const again = (await b.vault.statuses(alice, ["up1"])).get("up1")!;
    await Promise.all([b.vault.markRejected(again), b.vault.markRejected(again)]);
    expect(await bearer(b.vault, alice)).toBe("Bearer access-2");
    await b.vault.markRejected(again);
    expect(await bearer(b.vault, alice)).toBe("Bearer access-2");
    expect(b.provider.refreshes.length).toBe(2);
    await give(b, bob, hour, { issuer: "https://other.example" });
    b.world.advance(hour);
    expect(await bearer(b.vault, bob)).toBe("needs_reauth");
    expect(b.provider.refreshes.length).toBe(2);
  });

  it("ID-27 what is revoked, orphaned or deleted during a refresh does not come back", async () => {
    for (const deed of ["revoke", "orphan", "owner", "upstream"] as const) {
      const b = await bench(open);
      const stored = await give(b, alice, hour);
      b.world.advance(hour);
      let release = () => {};
      const held = new Promise<void>((resolve) => {
        release = resolve;
      });
      const arrived = new Promise<void>((resolve) => {
        b.provider.answer = async () => {
          resolve();
          await held;
          return b.provider.rotated();
        };
      });
      const waiting = bearer(b.vault, alice);
      await arrived;
      await b.database.transaction(async (tx) => {
        if (deed === "revoke") await b.vault.revoke(tx, stored!.id, "test");
        if (deed === "orphan") await b.vault.setAccess(tx, alice, new Set());
        if (deed === "owner") await b.vault.dropOwner(tx, alice);
        if (deed === "upstream") await b.vault.dropUpstream(tx, "up1");
      });
      release();
      expect(await waiting).toBe(deed === "orphan" ? "orphaned" : "missing");
      const left = await b.database.db.selectFrom("credentials").selectAll().execute();
      expect(left.map((r) => r.orphaned)).toEqual(deed === "orphan" ? [1] : []);
      if (deed === "orphan") {
        // ID-23: the provider rotated; the answer is kept out of use, so that returning access needs nobody.
        expect(left[0]!.generation).toBe(3);
        await b.database.transaction((tx) => b.vault.setAccess(tx, alice, new Set(["up1"])));
        expect(await bearer(b.vault, alice)).toBe("Bearer access-1");
        expect(b.provider.refreshes.length).toBe(1);
        await b.outbox.run(b.database);
        expect(b.provider.revocations).toEqual([]);
        continue;
      }
      await b.outbox.run(b.database);
      const tokens = b.provider.revocations.map((form) => form.get("token"));
      expect(new Set(tokens)).toEqual(new Set(["refresh-0", "access-0", "refresh-1", "access-1"]));
    }
  });

  it("orphans and brings back, with a new generation each time", async () => {
    const b = await bench(open);
    await give(b, alice, hour);
    await give(b, alice, hour, {}, "up2");
    await b.flows.start(b.database.db, {
      kind: "connect",
      owner: alice,
      upstreamId: "up1",
      data: {},
      ttlMs: hour,
    });
    await b.flows.start(b.database.db, {
      kind: "connect",
      owner: alice,
      upstreamId: "up2",
      data: {},
      ttlMs: hour,
    });
    expect(await bearer(b.vault, alice)).toBe("Bearer access-0");
    await b.database.transaction((tx) => b.vault.setAccess(tx, alice, new Set(["up2"])));
    expect(await bearer(b.vault, alice)).toBe("orphaned");
    expect(await bearer(b.vault, alice, { id: "up2" })).toBe("Bearer access-0");
    const pending = await b.database.db
      .selectFrom("flows")
      .select("upstream_id")
      .where("ended_at", "is", null)
      .execute();
    expect(pending).toEqual([{ upstream_id: "up2" }]);
    expect(await give(b, alice, hour)).toBeUndefined();
    await b.database.transaction((tx) => b.vault.setAccess(tx, alice, new Set(["up1", "up2"])));
    expect(await bearer(b.vault, alice)).toBe("Bearer access-0");
    expect((await row(b, alice)).generation).toBe(3);
    await b.database.transaction((tx) => b.vault.needsReauth(tx, "up1", "upstream_changed"));
    expect(await bearer(b.vault, alice)).toBe("needs_reauth");
    expect((await b.vault.statuses(alice, ["up1", "up2", "up3"])).get("up2")?.status).toBe("active");
  });

  it("ST-03 ST-04 a ciphertext opens in its own row only; a damaged one needs the user and hurts no other", async () => {
    const b = await bench(open);
    await give(b, alice, hour);
    await give(b, bob, hour, { accessToken: new Hidden("of-bob") });
    await give(b, alice, hour, {}, "up2");
    const foreign = await row(b, bob);
    const own = await row(b, alice);
    const flipped = Buffer.from(own.sealed);
    flipped[flipped.length - 1]! ^= 1;
    const other = await row(b, alice, "up2");
    const values = [
      foreign.sealed,
      other.sealed,
      flipped,
      Buffer.from(own.sealed).subarray(0, 20),
      Buffer.alloc(0),
      Buffer.from("plain"),
    ];
    for (const sealed of values) {
      await b.database.db
        .updateTable("credentials")
        .set({ sealed, status: "active" })
        .where("id", "=", own.id)
        .execute();
      const fresh = b.replica(b.database);
      expect(await bearer(fresh, alice)).toBe("needs_reauth");
      expect(await bearer(fresh, bob)).toBe("Bearer of-bob");
      expect((await listSessions(b.database.db, "all", {}, { limit: 50, offset: 0 }, 0)).total).toBe(3);
    }
    expect((await row(b, alice)).status_reason).toBe("undecryptable");
    // Moving the row to another owner instead of the ciphertext does not help either.
    await b.database.db
      .updateTable("credentials")
      .set({ owner_id: "vk_eve" })
      .where("id", "=", foreign.id)
      .execute();
    expect(await bearer(b.replica(b.database), { mode: "vk", id: "vk_eve" })).toBe("needs_reauth");
  });

  it("a replaced credential that is expected at another generation is not stored", async () => {
    const b = await bench(open);
    expect(await b.vault.generationOf(b.database.db, alice, "up1")).toBe(0);
    await give(b, alice, hour);
    const late = await b.database.transaction((tx) =>
      b.vault.put(tx, {
        owner: alice,
        upstreamId: "up1",
        account: "",
        secret: secret(b, hour),
        expectGeneration: 0,
      }),
    );
    expect(late).toBeUndefined();
    const twice = await Promise.all([give(b, bob, hour), give(b, bob, hour)]);
    expect(twice.map((stored) => stored!.generation).sort()).toEqual([1, 2]);
  });

  it("ID-26 whose owner is deleted while a callback stores, has nothing afterwards, and the provider is told", async () => {
    const b = await bench(open);
    const elsewhere = b.database.kind === "postgres" ? (await open(b.url)).database : b.database;
    const other = b.replica(elsewhere);
    const { storing, taken } = await storingSlowly(b);
    await taken;
    expect(await elsewhere.transaction((tx) => other.dropOwner(tx, alice))).toBe(1);
    await storing;
    expect(await b.database.db.selectFrom("credentials").select("id").execute()).toEqual([]);
    await b.outbox.run(b.database);
    expect(b.provider.revocations.map((form) => form.get("token"))).toEqual(["refresh-0", "access-0"]);
  });

  it("ID-26 whose access is lost while a callback stores, has an orphaned credential afterwards", async () => {
    const b = await bench(open);
    const elsewhere = b.database.kind === "postgres" ? (await open(b.url)).database : b.database;
    const other = b.replica(elsewhere);
    const { storing, taken } = await storingSlowly(b);
    await taken;
    await elsewhere.transaction((tx) => other.setAccess(tx, alice, new Set(["up2"])));
    await storing;
    const [held] = await b.database.db.selectFrom("credentials").select(["orphaned"]).execute();
    expect(held).toEqual({ orphaned: 1 });
    expect(await bearer(b.vault, alice)).toBe("orphaned");
  });

  it("ID-27 a late refresh answer leaves alone what was connected anew meanwhile", async () => {
    for (const deed of ["replace", "delete and connect"] as const) {
      const b = await bench(open);
      const stored = await give(b, alice, hour);
      b.world.advance(hour);
      const { promise: held, resolve: release } = Promise.withResolvers<void>();
      const arrived = new Promise<void>((resolve) => {
        b.provider.answer = async () => {
          resolve();
          await held;
          return b.provider.rotated();
        };
      });
      const waiting = bearer(b.vault, alice);
      await arrived;
      if (deed === "delete and connect")
        await b.database.transaction((tx) => b.vault.revoke(tx, stored!.id, "test"));
      await give(b, alice, hour, { accessToken: new Hidden("fresh"), refreshToken: new Hidden("r-fresh") });
      release();
      expect(await waiting).toBe("Bearer fresh");
    }
  });
});

/** A callback that has taken its link, and stores what it brought once another transaction waits for that. */
async function storingSlowly(b: Awaited<ReturnType<typeof bench>>) {
  const link = { kind: "connect", owner: alice, upstreamId: "up1", data: {}, ttlMs: hour } as const;
  const { id } = await b.database.transaction((tx) => b.flows.start(tx, link));
  const taken = Promise.withResolvers<void>();
  const storing = b.database.transaction(async (tx) => {
    expect(await b.flows.take(tx, "connect", { id }, "connected")).toBeDefined();
    taken.resolve();
    // SQLite lets the other begin when this has ended.
    if (b.database.kind === "postgres") await somebodyWaits(tx);
    await b.vault.put(tx, { owner: alice, upstreamId: "up1", account: "", secret: secret(b, hour) });
  });
  return { storing, taken: taken.promise };
}

/** Resolves when another transaction waits for what this one holds. */
async function somebodyWaits(tx: Tx): Promise<void> {
  const waiting = async () => {
    const blocked = sql`select 1 from pg_locks where not granted and pg_backend_pid() = any(pg_blocking_pids(pid))`;
    return (await blocked.execute(tx)).rows.length;
  };
  await expect.poll(waiting, { interval: 5 }).toBeGreaterThan(0);
}
