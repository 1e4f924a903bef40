import { expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { Hidden } from "../base/index.ts";
import { alice, type Bench, bearer, bench, bob, give, hour } from "./vault.suite.ts";

onBothDatabases("telling the provider", (open) => {
  it("UP-26 revocation is local at once; the provider is told later, and an account held elsewhere is spared", async () => {
    const b = await bench(open);
    const mine = await give(b, alice, hour, { subject: "s" });
    await give(b, bob, hour, { subject: "s", accessToken: new Hidden("b1") });
    b.provider.revocationStatus = 503;
    expect(await b.database.transaction((tx) => b.vault.revoke(tx, mine!.id, "test"))).toBe(true);
    expect(await b.database.transaction((tx) => b.vault.revoke(tx, mine!.id, "test"))).toBe(false);
    expect(await bearer(b.vault, alice)).toBe("missing");
    await b.outbox.run(b.database);
    expect(b.provider.revocations.length).toBe(0);
    await b.database.transaction((tx) => b.vault.dropOwner(tx, bob));
    await b.outbox.run(b.database);
    expect(b.provider.revocations.length).toBe(1);
    b.provider.revocationStatus = 400;
    b.world.advance(hour);
    await b.outbox.run(b.database);
    expect(b.provider.revocations.map((form) => form.get("token_type_hint"))).toEqual([
      "refresh_token",
      "refresh_token",
      "access_token",
    ]);
    expect(await b.database.db.selectFrom("outbox").selectAll().execute()).toEqual([]);
  });

  it("UP-26 the provider of a deleted upstream is told, authenticated as registered, and the trail shows it", async () => {
    const b = await bench(open);
    b.provider.clientSecret = "s3cret MARK";
    const stored = await give(b, alice, hour);
    await b.database.transaction((tx) => b.vault.dropUpstream(tx, "up1"));
    b.provider.registered = false;
    const sealed = await b.database.db.selectFrom("outbox").select("sealed").execute();
    expect(Buffer.from(sealed[0]!.sealed).includes("MARK")).toBe(false);
    await b.outbox.run(b.database);
    expect(b.provider.revocations.map((form) => form.get("token"))).toEqual(["refresh-0", "access-0"]);
    expect(b.provider.revokedBy).toBe(`Basic ${btoa("gateway:s3cret+MARK")}`);
    expect(await trail(b)).toEqual([
      {
        event: "credential.provider_told",
        actor: "system",
        owner_id: alice.id,
        upstream_id: "up1",
        detail: { credential_id: stored!.id, attempts: 1, outcome: "revoked" },
      },
    ]);
  });

  it("UP-26 a provider that does not help is given up after a day, and the trail says so without a secret", async () => {
    const b = await bench(open);
    b.provider.revocationStatus = 503;
    await give(b, alice, hour);
    await b.database.transaction((tx) => b.vault.dropOwner(tx, alice));
    for (let n = 0; n < 60; n++) {
      await b.outbox.run(b.database);
      b.world.advance(30 * 60_000);
    }
    expect(await b.database.db.selectFrom("outbox").selectAll().execute()).toEqual([]);
    const [line] = await trail(b);
    expect(line).toMatchObject({ event: "credential.provider_not_told", owner_id: alice.id });
    expect(line!.detail).toMatchObject({ outcome: "gave_up", last: "status_503" });
    expect(line!.detail.attempts).toBe(b.provider.revocations.length);
    expect(JSON.stringify(await trail(b))).not.toMatch(/access-0|refresh-0/);
  });

  it("UP-26 what cannot be told is said at once, and no token waits for it", async () => {
    for (const [outcome, prepare] of [
      ["no_revocation_endpoint", (b: Bench) => Object.assign(b.provider, { revocable: false })],
      ["not_registered", (b: Bench) => Object.assign(b.provider, { registered: false })],
      ["authorization_changed", () => undefined],
      ["account_still_used", (b: Bench) => give(b, bob, hour, { subject: "s" })],
      ["refused", (b: Bench) => Object.assign(b.provider, { revocationStatus: 400 })],
    ] as const) {
      const b = await bench(open);
      await give(b, alice, hour, {
        subject: "s",
        ...(outcome === "authorization_changed" ? { issuer: "https://before.example" } : {}),
      });
      await prepare(b);
      await b.database.transaction((tx) => b.vault.dropOwner(tx, alice));
      await b.outbox.run(b.database);
      expect(b.provider.revocations.length, outcome).toBe(outcome === "refused" ? 2 : 0);
      expect(await b.database.db.selectFrom("outbox").selectAll().execute()).toEqual([]);
      const lines = await trail(b);
      expect(lines.map((line) => [line.event, line.detail.outcome])).toEqual([
        ["credential.provider_not_told", outcome],
      ]);
    }
  });

  it("ST-15 the outbox and its row are gone once the provider was told; a rolled back deletion tells nobody", async () => {
    const b = await bench(open);
    await give(b, alice, hour);
    const failing = b.database.transaction(async (tx) => {
      await b.vault.dropOwner(tx, alice);
      throw new Error("disk full");
    });
    await expect(failing).rejects.toThrow("disk full");
    await b.outbox.run(b.database);
    expect(b.provider.revocations).toEqual([]);
    expect(await bearer(b.vault, alice)).toBe("Bearer access-0");
    await b.database.transaction((tx) => b.vault.dropOwner(tx, alice));
    expect(await bearer(b.vault, alice)).toBe("missing");
    await Promise.all([b.outbox.run(b.database), b.outbox.run(b.database)]);
    expect(b.provider.revocations.length).toBe(2);
    expect(await b.database.db.selectFrom("outbox").selectAll().execute()).toEqual([]);
    expect(await b.database.db.selectFrom("credentials").selectAll().execute()).toEqual([]);
  });
});

async function trail(b: Bench) {
  const rows = await b.database.db
    .selectFrom("audit")
    .select(["event", "actor", "owner_id", "upstream_id", "detail_json"])
    .orderBy("at")
    .execute();
  return rows.map(({ detail_json, ...row }) => ({ ...row, detail: JSON.parse(detail_json) }));
}
