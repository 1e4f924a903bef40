import { expect, it } from "vitest";
import { type OpenDatabase, onBothDatabases } from "../../test/support/databases.ts";
import { Hidden, type Owner } from "../base/index.ts";
import { alice, bench, bob, up1 } from "./vault.suite.ts";

const upstreamId = up1.id;

async function safe(open: OpenDatabase) {
  const { database, vault } = await bench(open);
  const put = (owner: Owner, values: Record<string, string>) =>
    database.transaction((tx) => {
      const headers = Object.fromEntries(
        Object.entries(values).map(([name, value]) => [name, new Hidden(value)]),
      );
      return vault.put(tx, { owner, upstreamId, account: "", secret: { kind: "headers", headers } });
    });
  const require = (...names: string[]) =>
    database.transaction((tx) => vault.requireHeaders(tx, { upstreamId, names }));
  const status = async (owner: Owner) => {
    const credential = (await vault.statuses(owner, [upstreamId])).get(upstreamId);
    return [credential?.status, credential?.statusReason, credential?.generation];
  };
  return { database, vault, put, require, status };
}

onBothDatabases("header rows", (open) => {
  it("that lack a newly required name need an update, the others do not; dropping the name brings them back", async () => {
    const { vault, put, require, status } = await safe(open);
    await put(alice, { "x-api-key": "a", "x-region": "eu" });
    await put(bob, { "X-Api-Key": "b" });
    expect((await vault.open(bob, { id: upstreamId })).outcome).toBe("ready");
    await require("x-api-key", "X-Region");
    expect(await status(alice)).toEqual(["active", undefined, 1]);
    expect(await status(bob)).toEqual(["needs_update", "headers_changed", 2]);
    expect(await vault.open(bob, { id: upstreamId })).toEqual({
      outcome: "needs_user",
      reason: "needs_update",
    });
    expect(await vault.headerNames(alice, upstreamId)).toEqual(["x-api-key", "x-region"]);
    await require("X-API-KEY");
    expect(await status(bob)).toEqual(["active", undefined, 3]);
    expect((await vault.open(bob, { id: upstreamId })).outcome).toBe("ready");
  });

  it("that the upstream refused do not come back by a change of names", async () => {
    const { vault, put, require, status } = await safe(open);
    await put(alice, { "x-api-key": "a" });
    const opened = await vault.open(alice, { id: upstreamId });
    if (opened.outcome === "ready") await vault.markRejected(opened.credential);
    expect(await status(alice)).toEqual(["needs_update", "rejected_by_upstream", 1]);
    await require("x-api-key");
    expect((await status(alice))[0]).toBe("needs_update");
  });

  it("of a consent that lack a name by the time it ends are not moved to anybody", async () => {
    const { database, vault, put, require, status } = await safe(open);
    await put({ mode: "flow", id: "flow_1" }, { "x-api-key": "a" });
    await require("x-api-key", "x-region");
    expect(await database.transaction((tx) => vault.adopt(tx, "flow_1", alice))).toEqual([]);
    expect(await status(alice)).toEqual([undefined, undefined, undefined]);
    expect(await vault.headerNames({ mode: "flow", id: "flow_1" }, upstreamId)).toEqual([]);
  });

  it("change their status with the change that causes it, or not at all", async () => {
    const { database, vault, put, status } = await safe(open);
    await put(alice, { "x-api-key": "a" });
    const failing = database.transaction(async (tx) => {
      await vault.requireHeaders(tx, { upstreamId, names: ["x-region"] });
      throw new Error("the cause failed");
    });
    await expect(failing).rejects.toThrow("the cause failed");
    expect((await status(alice))[0]).toBe("active");
  });
});
