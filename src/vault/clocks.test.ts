import { expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { takeLease } from "./lease.ts";
import { readCredential } from "./secret.ts";
import { alice, bearer, bench, give, hour, row, up1 } from "./vault.suite.ts";

onBothDatabases("clocks that jump or differ", (open) => {
  it("AV-11 back by an hour: what has ended at the provider is refreshed when the upstream says so", async () => {
    const b = await bench(open);
    await give(b, alice, hour);
    b.world.advance(-hour);
    // By our clock it has two hours to live; the upstream knows better.
    const opened = await b.vault.open(alice, up1);
    if (opened.outcome !== "ready") throw new Error(opened.outcome);
    await b.vault.markRejected(opened.credential);
    expect(await bearer(b.vault, alice)).toBe("Bearer access-1");
    expect(b.provider.refreshes.length).toBe(1);
    await b.vault.markRejected(opened.credential);
    expect(await bearer(b.vault, alice)).toBe("Bearer access-1");
  });

  it("AV-11 forward by an hour and back: refreshed early, and nobody waits for an hour that never was", async () => {
    const b = await bench(open);
    await give(b, alice, hour);
    expect(await bearer(b.vault, alice)).toBe("Bearer access-0");
    b.world.advance(hour);
    b.provider.answer = () => ({ status: 503, headers: { "retry-after": "600" } });
    expect(await bearer(b.vault, alice)).toBe("unavailable");
    b.world.advance(-hour);
    b.provider.answer = () => b.provider.rotated();
    const opened = await b.vault.open(alice, up1);
    if (opened.outcome !== "ready") throw new Error(opened.outcome);
    await b.vault.markRejected(opened.credential);
    expect(await bearer(b.vault, alice)).toBe("Bearer access-1");
    expect((await row(b, alice)).status).toBe("active");
  });

  it("AV-11 a lease and a pause that were written by a clock an hour ahead hold nobody up; one that is a minute off does", async () => {
    const b = await bench(open);
    await give(b, alice, hour);
    b.world.advance(hour);
    const now = b.world.now().getTime();
    const held = { refresh_holder: "lease_other", refresh_until: now + 85_000, refresh_started_at: now };
    await b.database.db.updateTable("credentials").set(held).execute();
    const credential = readCredential(await row(b, alice));
    expect(await takeLease(b, credential, "lease_mine", now)).toBeUndefined();
    const waiting = bearer(b.vault, alice);
    const ahead = { refresh_until: now + hour, refresh_after: now + hour };
    await b.database.db.updateTable("credentials").set(ahead).execute();
    expect(await waiting).toBe("Bearer access-1");
    expect(b.provider.refreshes.length).toBe(1);
  });

  it("AV-11 what was revoked or lost does not come back by a jump", async () => {
    const b = await bench(open);
    await give(b, alice, hour);
    b.world.advance(hour);
    b.provider.answer = () => ({ status: 400, body: { error: "invalid_grant" } });
    expect(await bearer(b.vault, alice)).toBe("needs_reauth");
    b.world.advance(-2 * hour);
    expect(await bearer(b.vault, alice)).toBe("needs_reauth");
    await b.database.transaction((tx) => b.vault.dropOwner(tx, alice));
    b.world.advance(-2 * hour);
    expect(await bearer(b.vault, alice)).toBe("missing");
  });
});
