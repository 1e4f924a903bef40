import { expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { Hidden } from "../base/index.ts";
import type { Database } from "../db/index.ts";
import {
  type Answer,
  alice,
  type Bench,
  bearer,
  bench,
  give,
  hour,
  listenToLog,
  row,
  up1,
} from "./vault.suite.ts";

const ended: Answer = { status: 400, body: { error: "invalid_grant" } };

/** A provider that rotates. `isStrict`: a token that was used ends the family (RFC 9700 §4.14.2); else it gives the same again. */
function rotating(b: Bench, isStrict: boolean) {
  const state = { current: "refresh-0", count: 0, loseNext: false, isDead: false };
  b.provider.answer = (form) => {
    const sent = form.get("refresh_token");
    const isReused = sent !== state.current;
    if (state.isDead || (isReused && (isStrict || sent !== `refresh-${state.count - 1}`))) {
      state.isDead = true;
      return ended;
    }
    if (!isReused) {
      state.count += 1;
      state.current = `refresh-${state.count}`;
    }
    if (state.loseNext) {
      state.loseNext = false;
      return undefined;
    }
    const body = {
      access_token: `access-${state.count}`,
      refresh_token: state.current,
      token_type: "Bearer",
    };
    return { body: { ...body, expires_in: 3600 } };
  };
  return state;
}

/** From now on the database refuses writes to credentials, or fails the next transactions. */
function failing(database: Database, kind: "statements" | "transactions") {
  const faults = { left: 0 };
  const { transaction, db } = database;
  if (kind === "transactions") {
    const failed: Database["transaction"] = (work) => {
      if (faults.left-- > 0) return Promise.reject(new Error("the database is away"));
      return transaction(work);
    };
    Object.assign(database, { transaction: failed });
  } else {
    const refusing = new Proxy(db, {
      get: (target, name) => {
        if (name === "updateTable" && faults.left-- > 0)
          return () => {
            throw new Error("attempt to write a readonly database");
          };
        const value: unknown = Reflect.get(target, name);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    Object.assign(database, { db: refusing });
  }
  return faults;
}

onBothDatabases("a refresh whose answer is lost", (open) => {
  it("AV-03 recovers without the person where the provider gives the same again", async () => {
    const b = await bench(open);
    const state = rotating(b, false);
    await give(b, alice, hour);
    b.world.advance(hour);
    state.loseNext = true;
    expect(await bearer(b.vault, alice)).toBe("unavailable");
    const { refresh_started_at, status } = await row(b, alice);
    expect([refresh_started_at, status]).toEqual([b.world.now().getTime(), "active"]);
    b.world.advance(2_000);
    expect(await bearer(b.vault, alice)).toBe("Bearer access-1");
    expect((await row(b, alice)).refresh_started_at).toBeNull();
  });

  it("AV-03 asks the person once where the provider ends the family, and says why", async () => {
    const b = await bench(open);
    const state = rotating(b, true);
    await give(b, alice, hour);
    b.world.advance(hour);
    state.loseNext = true;
    expect(await bearer(b.vault, alice)).toBe("unavailable");
    b.world.advance(2_000);
    for (let n = 0; n < 20; n++) expect(await bearer(b.vault, alice)).toBe("needs_reauth");
    expect(b.provider.refreshes.length).toBe(2);
    expect(await row(b, alice)).toMatchObject({
      status: "needs_reauth",
      status_reason: "refresh_answer_lost",
    });
    await give(b, alice, hour, { refreshToken: new Hidden("refresh-9") });
    expect(await row(b, alice)).toMatchObject({
      status: "active",
      status_reason: null,
      refresh_started_at: null,
    });
  });

  it("AV-03 of a process that was killed: its lease ends within 30 seconds, and the reason is known", async () => {
    const b = await bench(open);
    const state = rotating(b, true);
    await give(b, alice, hour);
    b.world.advance(hour);
    // As the dead process left it: the lease taken, the token sent, nothing stored.
    state.current = "refresh-1";
    const now = b.world.now().getTime();
    const left = { refresh_holder: "lease_dead", refresh_until: now + 25_000, refresh_started_at: now };
    await b.database.db.updateTable("credentials").set(left).execute();
    const other = b.replica(b.database);
    const waiting = bearer(other, alice);
    await new Promise((resolve) => setImmediate(resolve));
    expect(b.provider.refreshes.length).toBe(0);
    b.world.advance(30_000);
    expect(await waiting).toBe("needs_reauth");
    expect(b.provider.refreshes.length).toBe(1);
    expect((await row(b, alice)).status_reason).toBe("refresh_answer_lost");
  });

  it("keeps the refresh token before until the newest pair has worked, and tries it once", async () => {
    const b = await bench(open);
    let knows = "refresh-0";
    b.provider.answer = (form) => (form.get("refresh_token") === knows ? b.provider.rotated() : ended);
    await give(b, alice, hour);
    b.world.advance(hour - 30_000);
    expect(await bearer(b.vault, alice)).toBe("Bearer access-1");
    // The provider goes back to a backup before anybody used the new pair for long.
    b.world.advance(10_000);
    const opened = await b.vault.open(alice, up1);
    if (opened.outcome !== "ready") throw new Error(opened.outcome);
    await b.vault.markRejected(opened.credential);
    expect(await bearer(b.vault, alice)).toBe("Bearer access-2");
    const sent = () => b.provider.refreshes.map((form) => form.get("refresh_token"));
    expect(sent()).toEqual(["refresh-0", "refresh-1", "refresh-0"]);
    // Used for half a minute without a refusal: it has worked, and the one before is not shown to anybody again.
    knows = "nothing any more";
    expect(await bearer(b.vault, alice)).toBe("Bearer access-2");
    b.world.advance(hour);
    expect(await bearer(b.vault, alice)).toBe("needs_reauth");
    expect(sent().slice(3)).toEqual(["refresh-2"]);
    expect((await row(b, alice)).status_reason).toBe("refresh_invalid_grant");
  });

  it("AV-03 an answer that the database does not take at once is stored as soon as it does", async () => {
    const b = await bench(open);
    rotating(b, true);
    await give(b, alice, hour);
    b.world.advance(hour);
    const faults = failing(b.database, "transactions");
    const heard = listenToLog(b);
    faults.left = 3;
    expect(await bearer(b.vault, alice)).toBe("Bearer access-1");
    expect(b.provider.refreshes.length).toBe(1);
    expect(heard.map(({ event }) => event)).toEqual(["credential.answer_waits"]);
    expect(faults.left).toBeLessThan(0);
  });

  it("AV-07 nothing is sent to the provider while the database takes no writes", async () => {
    const b = await bench(open);
    rotating(b, true);
    await give(b, alice, hour);
    b.world.advance(hour);
    const faults = failing(b.database, "statements");
    faults.left = 5;
    for (let n = 0; n < 5; n++) await expect(b.vault.open(alice, up1)).rejects.toThrow("readonly");
    expect(b.provider.refreshes.length).toBe(0);
    expect(await row(b, alice)).toMatchObject({ status: "active", generation: 1 });
    expect(await bearer(b.vault, alice)).toBe("Bearer access-1");
    expect(b.provider.refreshes.length).toBe(1);
  });

  it("overtaken by another replica that was refused, what was granted still counts", async () => {
    const b = await bench(open);
    await give(b, alice, hour);
    b.world.advance(hour);
    const { promise: held, resolve: release } = Promise.withResolvers<void>();
    const { promise: arrived, resolve: arrive } = Promise.withResolvers<void>();
    b.provider.answer = async () => {
      arrive();
      await held;
      return b.provider.rotated();
    };
    const waiting = bearer(b.vault, alice);
    await arrived;
    const lost = { status: "needs_reauth" as const, status_reason: "refresh_invalid_grant" };
    await b.database.db
      .updateTable("credentials")
      .set({ ...lost, refresh_holder: null })
      .execute();
    release();
    expect(await waiting).toBe("Bearer access-1");
    expect(await row(b, alice)).toMatchObject({ status: "active", status_reason: null, generation: 2 });
  });
});
