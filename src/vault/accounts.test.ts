import { expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { Hidden, type Owner } from "../base/index.ts";
import { alice, type Bench, bearer, bench, give, hour, up1 } from "./vault.suite.ts";

/** One of alice's accounts; its token is called like it. */
function keep(b: Bench, account: string, owner: Owner = alice, subject?: string) {
  const token = {
    accessToken: new Hidden(`access-${account}`),
    refreshToken: new Hidden(`refresh-${account}`),
  };
  return give(b, owner, hour, { ...token, subject }, "up1", { account });
}

async function accounts(b: Bench, owner: Owner = alice): Promise<string[]> {
  const rows = await b.database.db
    .selectFrom("credentials")
    .select(["account", "is_default"])
    .where("owner_id", "=", owner.id)
    .orderBy("account")
    .execute();
  return rows.map((row) => `${row.account}${row.is_default ? "*" : ""}`);
}

async function used(b: Bench, account?: string): Promise<string> {
  const opened = await b.vault.open(alice, up1, account);
  return opened.outcome === "ready" ? opened.credential.account : opened.outcome;
}

const change = (b: Bench, id: string, what: { account?: string; isDefault?: true }) =>
  b.database.transaction((tx) => b.vault.changeAccount(tx, id, what));

onBothDatabases("several accounts", (open) => {
  it("the first is the default; one that is named is used, and none other in its place", async () => {
    const b = await bench(open);
    expect(await used(b)).toBe("needs_user");
    await keep(b, "work");
    await keep(b, "private");
    expect(await accounts(b)).toEqual(["private", "work*"]);
    expect(await used(b)).toBe("work");
    expect(await used(b, "private")).toBe("private");
    expect(await used(b, "")).toBe("needs_user");
    expect(await used(b, "other")).toBe("needs_user");
    expect([...(await b.vault.severalAccounts(alice))]).toEqual([["up1", ["work", "private"]]]);
    expect((await b.vault.statuses(alice, ["up1"])).get("up1")?.account).toBe("work");
  });

  it("there is exactly one default, however many come and go at once", async () => {
    const b = await bench(open);
    const all = await Promise.all(["a", "b", "c", "d", "e"].map((account) => keep(b, account)));
    expect((await accounts(b)).filter((one) => one.endsWith("*"))).toHaveLength(1);
    const drop = (id: string) => b.database.transaction((tx) => b.vault.revoke(tx, id, "deleted"));
    await Promise.all([
      drop(all[0]!.id),
      drop(all[1]!.id),
      change(b, all[2]!.id, { isDefault: true }),
      change(b, all[3]!.id, { isDefault: true }),
      keep(b, "f"),
    ]);
    expect((await accounts(b)).filter((one) => one.endsWith("*"))).toHaveLength(1);
    for (const one of all.slice(2)) await drop(one!.id);
    expect(await accounts(b)).toEqual(["f*"]);
    expect(await used(b)).toBe("f");
    expect((await b.vault.severalAccounts(alice)).size).toBe(0);
  });

  it("deleting the default promotes the oldest that remains", async () => {
    const b = await bench(open);
    const first = await keep(b, "z");
    b.world.advance(1000);
    await keep(b, "y");
    b.world.advance(1000);
    await keep(b, "x");
    expect(await used(b)).toBe("z");
    await b.database.transaction((tx) => b.vault.revoke(tx, first!.id, "deleted"));
    expect(await accounts(b)).toEqual(["x", "y*"]);
    expect(await used(b)).toBe("y");
  });

  it("a new default, and a new label, hold from the next call on", async () => {
    const b = await bench(open);
    await keep(b, "");
    const work = await keep(b, "work");
    expect(await used(b)).toBe("");
    expect(await change(b, work!.id, { isDefault: true })).toBe("done");
    expect(await used(b)).toBe("work");
    expect(await change(b, work!.id, { account: "job" })).toBe("done");
    expect(await accounts(b)).toEqual(["", "job*"]);
    expect(await used(b, "work")).toBe("needs_user");
    expect(await used(b, "job")).toBe("job");
    expect(await change(b, work!.id, { account: "" })).toBe("label_taken");
    expect(await change(b, "cred_none", { isDefault: true })).toBe("gone");
    expect(await change(b, work!.id, { account: "job", isDefault: true })).toBe("done");
  });

  it("ID-21 accounts of others are not touched, whatever they are called", async () => {
    const b = await bench(open);
    const bob: Owner = { mode: "user", id: "user_bob" };
    await keep(b, "work");
    const other = await keep(b, "work", bob);
    await keep(b, "private", bob);
    await change(b, other!.id, { account: "mine" });
    expect(await accounts(b)).toEqual(["work*"]);
    expect(await accounts(b, bob)).toEqual(["mine*", "private"]);
    expect(await bearer(b.vault, alice)).toBe("Bearer access-work");
    expect((await b.vault.severalAccounts(alice)).size).toBe(0);
  });

  it("ID-23 a label that changes while its token is refreshed loses neither", async () => {
    const b = await bench(open);
    const work = await keep(b, "work");
    b.world.advance(hour);
    let release = () => {};
    const arrived = new Promise<void>((resolve) => {
      b.provider.answer = async () => {
        resolve();
        await new Promise<void>((go) => {
          release = go;
        });
        return b.provider.rotated();
      };
    });
    const opening = b.vault.open(alice, up1, "work");
    await arrived;
    expect(await change(b, work!.id, { account: "job" })).toBe("done");
    release();
    await opening;
    expect(await used(b, "job")).toBe("job");
    expect(await used(b)).toBe("job");
    expect(b.provider.refreshes).toHaveLength(1);
    await b.outbox.run(b.database);
    expect(b.provider.revocations).toEqual([]);
  });

  it("a consent connects the default account of somebody who keeps several", async () => {
    const b = await bench(open);
    const work = await keep(b, "work");
    await keep(b, "private");
    await give(b, { mode: "flow", id: "flow_1" }, hour, { accessToken: new Hidden("new") });
    expect(await b.database.transaction((tx) => b.vault.adopt(tx, "flow_1", alice))).toEqual(["up1"]);
    expect(await accounts(b)).toEqual(["private", "work*"]);
    expect(await bearer(b.vault, alice)).toBe("Bearer new");
    const row = await b.vault.find(alice, "up1", "work");
    expect(row).toMatchObject({ id: work!.id, generation: 2 });
  });

  it("tells who connected, whatever the account is called", async () => {
    const b = await bench(open);
    const told: string[] = [];
    b.vault.connected.push((owner, upstreamId) => told.push(`${owner.id} ${upstreamId}`));
    await keep(b, "work");
    await give(b, { mode: "flow", id: "flow_1" }, hour);
    await b.database.transaction((tx) => b.vault.adopt(tx, "flow_1", alice));
    expect(told).toEqual(["user_alice up1", "user_alice up1"]);
  });
});
