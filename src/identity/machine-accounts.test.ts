import { expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { testWorld } from "../../test/support/world.ts";
import { ServiceAccounts } from "./machine-accounts.ts";
import { Users } from "./users.ts";

onBothDatabases("service accounts", (open) => {
  it("have names of their own, whichever of two is renamed, and may change the case of their own", async () => {
    const { database } = await open();
    const world = testWorld();
    const accounts = new ServiceAccounts({ database, world, users: new Users({ database, world }) });
    const make = (name: string) => database.transaction((tx) => accounts.insert(tx, { name }));
    const [older, newer] = [await make("nightly"), await make("deploys")];
    for (const [id, name] of [
      [older.id, "Deploys"],
      [newer.id, "Nightly"],
    ] as const)
      await expect(accounts.update(id, { name })).rejects.toMatchObject({
        code: "service_account_name_taken",
      });
    expect((await accounts.update(older.id, { name: "Nightly" })).name).toBe("Nightly");
    expect((await accounts.findByName("nightly"))?.id).toBe(older.id);
    expect((await accounts.findByName("deploys"))?.id).toBe(newer.id);
  });
});
