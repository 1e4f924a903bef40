import { expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { Hidden, type Owner } from "../base/index.ts";
import { alice, bearer, bench, give, hour, row } from "./vault.suite.ts";

onBothDatabases("what a consent connected", (open) => {
  it("adopts what a consent connected: same row where there is one, sealed for its owner", async () => {
    const b = await bench(open);
    const told: string[] = [];
    b.vault.connected.push((owner, upstreamId) => told.push(`${owner.id} ${upstreamId}`));
    const before = await give(b, alice, hour, { subject: "x" });
    const flow: Owner = { mode: "flow", id: "flow_1" };
    await give(b, flow, hour, { accessToken: new Hidden("new"), subject: "y" }, "up1", { replaces: "x" });
    await give(b, flow, hour, { accessToken: new Hidden("new2") }, "up2");
    expect(told).toEqual(["user_alice up1"]);
    expect(await b.database.transaction((tx) => b.vault.adopt(tx, "flow_1", alice))).toEqual(["up1", "up2"]);
    expect((await row(b, alice)).id).toBe(before!.id);
    expect(await bearer(b.vault, alice)).toBe("Bearer new");
    expect(await bearer(b.vault, alice, { id: "up2" })).toBe("Bearer new2");
    expect(await bearer(b.vault, flow)).toBe("missing");
    expect(told).toEqual(["user_alice up1", "user_alice up1", "user_alice up2"]);
    // Another account at the provider: the replaced one is given up.
    await b.outbox.run(b.database);
    expect(b.provider.revocations.map((form) => form.get("token"))).toEqual(["refresh-0", "access-0"]);
  });

  it("CB-13 drops what was connected during a consent that is over, and only that", async () => {
    const b = await bench(open);
    const flow = await b.flows.start(b.database.db, { kind: "consent", data: {}, ttlMs: hour });
    await give(b, { mode: "flow", id: flow.id }, hour);
    await give(b, { mode: "flow", id: "flow_gone" }, hour);
    await give(b, alice, hour);
    await b.vault.dropAbandoned();
    expect(await bearer(b.vault, { mode: "flow", id: "flow_gone" })).toBe("missing");
    expect(await bearer(b.vault, { mode: "flow", id: flow.id })).toBe("Bearer access-0");
    b.world.advance(hour);
    await b.vault.dropAbandoned();
    await b.outbox.run(b.database);
    expect(b.provider.revocations.length).toBe(4);
    const left = await b.database.db.selectFrom("credentials").select("owner_id").execute();
    expect(left).toEqual([{ owner_id: alice.id }]);
  });

  it("a rolled back adoption leaves everything as it was", async () => {
    const b = await bench(open);
    const flow: Owner = { mode: "flow", id: "flow_1" };
    await give(b, flow, hour);
    const failed = b.database.transaction(async (tx) => {
      await b.vault.adopt(tx, "flow_1", alice);
      throw new Error("disk full");
    });
    await expect(failed).rejects.toThrow("disk full");
    expect(await bearer(b.vault, flow)).toBe("Bearer access-0");
    expect(await bearer(b.vault, alice)).toBe("missing");
  });
});
