import { expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { testWorld } from "../../test/support/world.ts";
import { Hidden, type Owner } from "../base/index.ts";
import { type Answer, alice, type Bench, bearer, bench, bob, give, hour, row } from "./vault.suite.ts";
import { warmOf } from "./warm.ts";

const minute = 60_000;
const day = 24 * hour;
const ended: Answer = { status: 400, body: { error: "invalid_grant" } };

/** The job once, with everything that it began. */
async function sweep({ vault }: Pick<Bench, "vault">): Promise<void> {
  await vault.refreshAhead();
  await vault.settled();
}

onBothDatabases("refreshing ahead", (open, kind) => {
  it("what was used lately is refreshed before any call has to wait for it, and goes on being", async () => {
    const b = await bench(open);
    await give(b, alice, hour);
    await give(b, bob, hour, { refreshToken: new Hidden("refresh-bob") });
    expect(await bearer(b.vault, alice)).toBe("Bearer access-0");
    b.world.advance(hour - 12 * minute);
    await sweep(b);
    expect(b.provider.refreshes.length).toBe(0);
    b.world.advance(11 * minute - 1_000);
    await sweep(b);
    // Nobody used bob's.
    expect(b.provider.refreshes.map((form) => form.get("refresh_token"))).toEqual(["refresh-0"]);
    // Warm: the call asks neither provider nor database.
    expect(b.vault.openWarm(alice, { id: "up1" }, undefined)?.outcome).toBe("ready");
    expect(await bearer(b.vault, alice)).toBe("Bearer access-1");
    for (let n = 2; n <= 4; n++) {
      b.world.advance(hour - minute - 1_000);
      await sweep(b);
      expect(b.provider.refreshes.length).toBe(n);
    }
    b.world.advance(2 * day);
    await sweep(b);
    expect(b.provider.refreshes.length).toBe(4);
  });

  it("replicas that serve the same credential refresh it once between them", async () => {
    const b = await bench(open);
    const there = b.replica(kind === "postgres" ? (await open(b.url)).database : b.database);
    await give(b, alice, hour);
    for (const vault of [b.vault, there]) expect(await bearer(vault, alice)).toBe("Bearer access-0");
    b.world.advance(hour - minute - 1_000);
    await Promise.all([sweep(b), sweep({ vault: there })]);
    expect(b.provider.refreshes.length).toBe(1);
    for (const vault of [b.vault, there]) expect(await bearer(vault, alice)).toBe("Bearer access-1");
  });

  it("asks one provider for four at once, and for none more in this round when it does not help", async () => {
    const b = await bench(open);
    const owners = Array.from({ length: 24 }, (_, n): Owner => ({ mode: "user", id: `user_${n}` }));
    for (const owner of owners) await give(b, owner, hour);
    for (const owner of owners) await bearer(b.vault, owner);
    b.world.advance(hour - minute - 1_000);
    b.provider.answer = () => ({ status: 503 });
    await sweep(b);
    expect(b.provider.refreshes.length).toBeLessThanOrEqual(4);
    b.world.advance(10_000);
    const counts = { now: 0, most: 0 };
    b.provider.answer = async () => {
      counts.most = Math.max(counts.most, ++counts.now);
      await new Promise((resolve) => setImmediate(resolve));
      counts.now -= 1;
      return b.provider.rotated();
    };
    await sweep(b);
    expect(counts.most).toBeLessThanOrEqual(4);
    const rows = await b.database.db.selectFrom("credentials").select("generation").execute();
    expect(rows.map(({ generation }) => generation)).toEqual(owners.map(() => 2));
  });

  it("what rests is refreshed every few days, so that its refresh token does not run out, for 90 days", async () => {
    const b = await bench(open);
    await give(b, alice, hour);
    await give(b, bob, undefined, { refreshToken: undefined });
    // It ends with 30 days without use, and a refresh would look like one.
    await give(b, { mode: "session", id: "anonymous_1" }, hour);
    for (let n = 1; n <= 14; n++) {
      b.world.advance(6 * day + hour);
      await b.vault.keepAlive();
      expect(b.provider.refreshes.length, `round ${n}`).toBe(n);
      await b.vault.keepAlive();
      expect(b.provider.refreshes.length, `round ${n}, again`).toBe(n);
    }
    for (let n = 0; n < 3; n++) {
      b.world.advance(6 * day + hour);
      await b.vault.keepAlive();
    }
    expect(b.provider.refreshes.length).toBe(14);
    // Used again, it counts again.
    expect(await bearer(b.vault, alice)).toMatch(/^Bearer access-/);
    await sweep(b);
    expect((await row(b, alice)).used_at).toBe(b.world.now().getTime());
    b.world.advance(6 * day + hour);
    await b.vault.keepAlive();
    expect(b.provider.refreshes.length).toBe(16);
  });

  it("keeping alive: one of several replicas does it, trouble is tried again within hours, an end is an end", async () => {
    const b = await bench(open);
    const there = b.replica(kind === "postgres" ? (await open(b.url)).database : b.database);
    await give(b, alice, hour);
    await b.database.db.updateTable("credentials").set({ keep_alive_at: null }).execute();
    await b.vault.keepAlive();
    expect((await row(b, alice)).keep_alive_at).toBeGreaterThan(b.world.now().getTime() + 4 * day - 1);
    b.world.advance(6 * day + hour);
    b.provider.answer = () => ({ status: 503 });
    await Promise.all([b.vault.keepAlive(), there.keepAlive()]);
    expect(b.provider.refreshes.length).toBe(1);
    b.world.advance(6 * hour);
    b.provider.answer = () => ended;
    await Promise.all([b.vault.keepAlive(), there.keepAlive()]);
    expect(b.provider.refreshes.length).toBe(2);
    expect(await row(b, alice)).toMatchObject({
      status: "needs_reauth",
      status_reason: "refresh_invalid_grant",
    });
    b.world.advance(7 * day);
    await b.vault.keepAlive();
    expect(b.provider.refreshes.length).toBe(2);
  });

  it("ten thousand tokens of one minute are not refreshed in the same second", async () => {
    const b = await bench(open);
    await give(b, alice, hour);
    const stored = await row(b, alice);
    const world = testWorld();
    const of = (lifeMs: number) => {
      const issuedAt = world.now().getTime();
      const expires_at = issuedAt + lifeMs;
      const hidden = new Hidden("x");
      const secret = { kind: "oauth" as const, accessToken: hidden, refreshToken: hidden, issuedAt };
      const warm = warmOf({ ...stored, expires_at }, secret, world);
      expect(warm.aheadAt).toBeLessThanOrEqual(warm.refreshAt);
      expect(warm.aheadAt).toBeGreaterThan(issuedAt + lifeMs / 3);
      return Math.floor(warm.aheadAt / 1000);
    };
    for (const [lifeMs, mostInOneSecond] of [
      [hour, 60],
      [5 * minute, 320],
    ] as const) {
      const seconds = new Map<number, number>();
      for (let n = 0; n < 10_000; n++) {
        const second = of(lifeMs);
        seconds.set(second, (seconds.get(second) ?? 0) + 1);
      }
      expect(Math.max(...seconds.values())).toBeLessThan(mostInOneSecond);
    }
  });
});
