import { expect, it } from "vitest";
import { freshPostgresDatabase } from "../postgres/database.ts";
import { runReplicaProof } from "./proof.ts";

it("three replicas, of which one is killed again and again: no consent, credential or call is lost", async () => {
  const { url, drop } = await freshPostgresDatabase();
  try {
    const result = await runReplicaProof({
      databaseUrl: url,
      kills: 3,
      killEverySeconds: 3,
      callsPerSecond: 20,
      persons: 3,
      consentsAtOnce: 1,
      consentPauseMs: 300,
      tokenLife: 15,
    });
    const { durations: _, ...told } = result;
    const shown = JSON.stringify(told);
    expect(result.failed, shown).toEqual([]);
    expect(result.prompts, shown).toEqual([]);
    expect(result.failedConsents, shown).toEqual([]);
    expect(result.errors, shown).toEqual([]);
    expect(result.kills, shown).toBe(3);
    expect(result.refreshes, shown).toBeGreaterThan(0);
    expect(result.consents, shown).toBeGreaterThan(2);
  } finally {
    await drop();
  }
}, 300_000);
