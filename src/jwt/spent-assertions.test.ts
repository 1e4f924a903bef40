import { expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { testWorld } from "../../test/support/world.ts";
import { KeyedHash } from "../base/index.ts";
import { SpentAssertions } from "./index.ts";

onBothDatabases("assertions that count once", (open) => {
  it("accepts each once, also of many at a time; another issuer's id is another", async () => {
    const { database } = await open();
    const world = testWorld();
    const spent = new SpentAssertions({ database, world, hash: new KeyedHash(new Uint8Array(32)) });
    const until = world.now().getTime() + 60_000;
    const spend = (issuer: string, id: string) =>
      database.transaction((tx) => spent.spend(tx, issuer, id, until));
    const answers = await Promise.all(Array.from({ length: 8 }, () => spend("https://a.example", "one")));
    expect(answers.filter((first) => first)).toHaveLength(1);
    expect(await spend("https://b.example", "one")).toBe(true);
    expect(await spend("https://a.example", "two")).toBe(true);
  });

  it("takes back what was not committed, and forgets only what counts no longer", async () => {
    const { database } = await open();
    const world = testWorld();
    const spent = new SpentAssertions({ database, world, hash: new KeyedHash(new Uint8Array(32)) });
    const until = world.now().getTime() + 60_000;
    const attempt = database.transaction(async (tx) => {
      await spent.spend(tx, "https://a.example", "one", until);
      throw new Error("no");
    });
    await expect(attempt).rejects.toThrow("no");
    const spend = () => database.transaction((tx) => spent.spend(tx, "https://a.example", "one", until));
    expect(await spend()).toBe(true);
    world.advance(3 * 60_000);
    await spent.sweep();
    expect(await spend()).toBe(false);
    world.advance(5 * 60_000);
    await spent.sweep();
    expect(await spend()).toBe(true);
  });
});
