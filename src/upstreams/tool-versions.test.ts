import { expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { openMail, search, sendMail } from "./tool-pins.suite.ts";
import { readVersions } from "./tool-version-rows.ts";

/** What each of three people is shown. */
const alices = sendMail;
const bobs = { ...sendMail, description: "Sends a mail, or an invoice." };
const carols = { ...sendMail, description: "Sends a mail, as the head of department." };

onBothDatabases("definitions that differ from person to person", (open) => {
  const start = async (policy: "keep" | "withhold") =>
    openMail((await open()).database, {
      auth_type: "per_user_headers",
      per_user_header_keys: ["X-Key"],
      tool_pins: policy,
    });

  it("are held once, however often the readers take turns, and clients see one thing throughout", async () => {
    const { read, tools, heard, upstreams, id } = await start("keep");
    for (let turn = 0; turn < 3; turn++)
      for (const one of [bobs, alices, carols]) {
        await read(one, search);
        expect(tools()).toEqual([search, alices]);
      }
    expect(heard.map(({ held }) => held.length)).toEqual([1, 1]);
    expect(upstreams.get(id).heldTools).toBe(2);
  });

  it("may all be approved: then none is a change, and clients see the one approved last", async () => {
    const { read, tools, decide, versions, heard, upstreams, id } = await start("keep");
    await read(bobs, search);
    await read(alices, search);
    const [held] = await versions("held");
    await decide("approved", { hashes: [held!.hash] });
    expect(tools()).toEqual([search, bobs]);
    for (const one of [alices, bobs, alices]) {
      await read(one, search);
      expect(tools()).toEqual([search, bobs]);
    }
    expect([heard.length, upstreams.get(id).heldTools]).toEqual([1, 0]);
    expect((await versions("approved")).filter(({ name }) => name === "send_mail")).toHaveLength(2);
  });

  it("withhold the tool until somebody decides, whoever reads next", async () => {
    const { read, tools, decide, versions, all } = await start("withhold");
    for (const one of [bobs, alices, bobs, alices]) {
      await read(one, search);
      expect(tools()).toEqual([search]);
    }
    await decide("approved", { all: await all() });
    for (const one of [alices, bobs]) {
      await read(one, search);
      expect(tools()).toEqual([search, bobs]);
    }
    await read(carols, search);
    const [held] = await versions("held");
    await decide("rejected", { hashes: [held!.hash] });
    expect(tools()).toEqual([search]);
    await read(alices, search);
    expect(tools()).toEqual([search, bobs]);
  });
});

onBothDatabases("decisions about held definitions", (open) => {
  const start = async () => openMail((await open()).database);
  const changed = { ...sendMail, title: "Changed" };

  it("an approval makes it what clients see; what was approved before is held when it comes back", async () => {
    const { read, tools, decide, all, upstreams, id } = await start();
    await read(changed, search);
    const [change] = await decide("approved", { all: await all() });
    expect(change).toMatchObject({ tool: "send_mail", from: expect.any(String), to: expect.any(String) });
    expect([tools(), upstreams.get(id).heldTools]).toEqual([[search, changed], 0]);
    await read(sendMail, search);
    expect([tools(), upstreams.get(id).heldTools]).toEqual([[search, changed], 1]);
  });

  it("MC-21 an approval is for what was seen: not for what the server offers by now", async () => {
    const { read, tools, decide, versions, all } = await start();
    await read(changed, search);
    const [seen] = await versions("held");
    const seenAll = await all();
    await read({ ...changed, description: "Worse." }, search);
    for (const of of [{ hashes: [seen!.hash] }, { all: seenAll }, { hashes: ["0".repeat(64)] }])
      await expect(decide("approved", of)).rejects.toMatchObject({
        kind: "conflict",
        code: "tool_changes_outdated",
      });
    expect(tools()).toEqual([search, sendMail]);
  });

  it("all or none: one that is outdated leaves the others as they were", async () => {
    const { read, tools, decide, versions } = await start();
    await read(changed, { ...search, title: "Changed too" });
    const hashes = (await versions("held")).map(({ hash }) => hash);
    await expect(decide("approved", { hashes: [...hashes, "f".repeat(64)] })).rejects.toThrow();
    expect(tools()).toEqual([search, sendMail]);
    expect(await decide("approved", { hashes })).toHaveLength(2);
    expect(tools()).toEqual([{ ...search, title: "Changed too" }, changed]);
  });

  it("a rejection stays: the approved one counts, nobody is asked again, and it can still be approved", async () => {
    const { read, tools, decide, all, versions, upstreams, id, heard } = await start();
    await read(changed, search);
    await decide("rejected", { all: await all() });
    await read(changed, search);
    expect([tools(), upstreams.get(id).heldTools, heard.length]).toEqual([[search, sendMail], 0, 1]);
    const [rejected] = await versions("rejected");
    expect(rejected).toMatchObject({ decidedBy: "admin_token" });
    await decide("approved", { hashes: [rejected!.hash] });
    expect(tools()).toEqual([search, changed]);
  });

  it("what goes wrong beside it undoes it", async () => {
    const { read, tools, upstreams, id, all } = await start();
    await read(changed, search);
    const failing = upstreams.pins.decide(id, {
      status: "approved",
      of: { all: await all() },
      by: "admin_token",
      also: () => Promise.reject(new Error("the audit cannot be written")),
    });
    await expect(failing).rejects.toThrow("audit");
    await upstreams.settled();
    expect([tools(), upstreams.get(id).heldTools]).toEqual([[search, sendMail], 1]);
  });

  it("many at once, readings and decisions: one change, told once, decided once", async () => {
    const { database, upstreams, id, versions, decide, heard } = await start();
    await Promise.all(
      Array.from({ length: 6 }, (_, at) =>
        upstreams.recordTools(id, at % 2 === 0 ? [changed, search] : [search, changed]),
      ),
    );
    expect(heard).toHaveLength(1);
    const [held] = await versions("held");
    const tries = await Promise.allSettled(
      Array.from({ length: 4 }, () => decide("approved", { hashes: [held!.hash] })),
    );
    expect(tries.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    expect((await readVersions(database.db, id)).map(({ status }) => status)).toEqual([
      "approved",
      "approved",
    ]);
  });
});
