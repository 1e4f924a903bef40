import { expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { endFlowsAfterRestore } from "../db/index.ts";
import { alice, bearer, bench, bob, give, hour, row } from "./vault.suite.ts";

const DAY = 24 * hour;

onBothDatabases("credentials whose owner lost access", (open) => {
  const lose = (b: Awaited<ReturnType<typeof bench>>, owner = alice) =>
    b.database.transaction((tx) => b.vault.setAccess(tx, owner, new Set()));
  const count = async (b: Awaited<ReturnType<typeof bench>>) =>
    (await b.database.db.selectFrom("credentials").select("id").execute()).length;

  it("go after 30 days, and the provider is told (AV-25)", async () => {
    const b = await bench(open);
    await give(b, alice, hour);
    await give(b, bob, hour);
    await lose(b);
    b.world.advance(30 * DAY - 1);
    await b.vault.dropOrphaned();
    expect(await count(b)).toBe(2);
    b.world.advance(1);
    await b.vault.dropOrphaned();
    expect(await count(b)).toBe(1);
    expect(await row(b, bob)).toMatchObject({ orphaned: 0 });
    await b.outbox.run(b.database);
    expect(b.provider.revocations.map((form) => form.get("token"))).toContain("refresh-0");
  });

  it("stay when access comes back, also while the sweep runs on two replicas (AV-25)", async () => {
    const b = await bench(open);
    const replica = b.replica(b.database);
    const owners = Array.from({ length: 12 }, (_, at) => ({ mode: "user" as const, id: `user_${at}` }));
    for (const owner of owners) {
      await give(b, owner, hour);
      await lose(b, owner);
    }
    b.world.advance(31 * DAY);
    const back = owners.slice(0, 6);
    const access = back.map((owner) =>
      b.database.transaction((tx) => b.vault.setAccess(tx, owner, new Set(["up1"]))),
    );
    await Promise.all([...access, b.vault.dropOrphaned(), replica.dropOrphaned()]);
    // Whoever came first: a row that is there has its access, and one that is gone was given up once.
    const left = await b.database.db.selectFrom("credentials").select(["owner_id", "orphaned"]).execute();
    expect(left.every(({ orphaned }) => orphaned === 0)).toBe(true);
    expect(left.every(({ owner_id }) => back.some(({ id }) => id === owner_id))).toBe(true);
    const queued = await b.database.db.selectFrom("outbox").select("id").execute();
    expect(queued).toHaveLength(12 - left.length);
  });
});

onBothDatabases("a credential that comes from a backup", (open) => {
  const restored = async (b: Awaited<ReturnType<typeof bench>>) => {
    const made_at = b.world.now().toISOString();
    const header = { made_at } as Parameters<typeof endFlowsAfterRestore>[2];
    await b.database.transaction((tx) => endFlowsAfterRestore(tx, b.world, header));
    return made_at.slice(0, 10);
  };

  it("and is refused says so, with the date; one that is newer gives the provider's reason", async () => {
    const b = await bench(open);
    await give(b, alice, hour);
    const date = await restored(b);
    b.world.advance(2 * hour);
    b.provider.answer = () => ({ status: 400, body: { error: "invalid_grant" } });
    expect(await bearer(b.vault, alice)).toBe("needs_reauth");
    expect(await row(b, alice)).toMatchObject({
      status: "needs_reauth",
      status_reason: `restored_from_backup_of_${date}`,
    });
    await give(b, alice, hour);
    b.world.advance(2 * hour);
    expect(await bearer(b.vault, alice)).toBe("needs_reauth");
    expect(await row(b, alice)).toMatchObject({ status_reason: "refresh_invalid_grant" });
  });

  it("and is taken once more goes on as if nothing had been", async () => {
    const b = await bench(open);
    await give(b, alice, hour);
    await restored(b);
    b.world.advance(2 * hour);
    expect(await bearer(b.vault, alice)).toBe("Bearer access-1");
    expect(await row(b, alice)).toMatchObject({ status: "active", status_reason: null });
  });
});
