import { expect, it } from "vitest";
import { freshPostgresDatabase } from "../postgres/database.ts";
import { race } from "./race.ts";
import { openHere } from "./replica.ts";

/** The whole proof has 1,000 (`node bench/proofs/race.ts`); src/vault/race.test.ts has 100 of the vault alone. */
const ROUNDS = 6;

it("UP-22 UP-23 AV-12 four replicas and 400 calls at expiry: each time one redemption, and no failed call", async () => {
  const { url, drop } = await freshPostgresDatabase();
  try {
    const result = await race({
      databaseUrl: url,
      openReplica: openHere,
      replicas: 4,
      rounds: ROUNDS,
      callsPerReplica: 100,
    });
    expect(result.failures).toEqual([]);
    expect(result).toMatchObject({ redemptions: ROUNDS, oddRounds: 0, isReused: false, refusedCalls: 0 });
  } finally {
    await drop();
  }
}, 120_000);
