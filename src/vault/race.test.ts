import { expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import type { Vault } from "./index.ts";
import { alice, bearer, bench, give, hour } from "./vault.suite.ts";

/** The proof in full: `RACE_ROUNDS=1000 npx vitest run src/vault/race.test.ts`. */
const ROUNDS = Number(process.env.RACE_ROUNDS ?? 100);
const CALLS = 100;

onBothDatabases("a race for a refresh", (open, kind) => {
  it("AV-12 UP-22 UP-23 rounds of four replicas with 100 calls each: one redemption each, in order, nobody fails", async () => {
    const b = await bench(open);
    const vaults: Vault[] = [b.vault];
    // SQLite is for one process.
    if (kind === "postgres") {
      for (let n = 0; n < 3; n++) {
        const { database } = await open(b.url);
        database.changes.follow();
        vaults.push(b.replica(database));
      }
    }
    await give(b, alice, hour);
    for (let round = 1; round <= ROUNDS; round++) {
      b.world.advance(hour);
      const calls = vaults.flatMap((vault) => Array.from({ length: CALLS }, () => bearer(vault, alice)));
      expect(new Set(await Promise.all(calls))).toEqual(new Set([`Bearer access-${round}`]));
    }
    // Each token once, and always the newest: a provider with reuse detection has nothing to object to.
    const sent = b.provider.refreshes.map((form) => form.get("refresh_token"));
    expect(sent).toEqual(Array.from({ length: ROUNDS }, (_, n) => `refresh-${n}`));
  }, 600_000);
});
