import { expect, it } from "vitest";
import { type Directory, faultOf, GROUP, onSharedDatabases, openDirectory, person } from "./scim.suite.ts";

onSharedDatabases("groups", (database) => {
  const group = (displayName: string, more: object = {}) => ({ schemas: [GROUP], displayName, ...more });
  const add = async (directory: Directory, name: string): Promise<string> =>
    (await directory.expect(201, "POST", "/Users", person(name))).id;
  const membersOf = async (directory: Directory, id: string): Promise<string[]> =>
    ((await directory.expect(200, "GET", `/Groups/${id}`)).members ?? []).map(
      (one: { value: string }) => one.value,
    );

  it("what people may use by their groups is reconciled with every change, in its transaction", async () => {
    const directory = openDirectory(database());
    const told: string[][] = [];
    directory.groups.listeners.push(async (_tx, ids) => void told.push([...ids].toSorted()));
    const [ada, bob] = [await add(directory, "ada"), await add(directory, "bob")];
    const { id } = await directory.expect(
      201,
      "POST",
      "/Groups",
      group("Crew", { members: [{ value: ada }] }),
    );
    await directory.patch(`/Groups/${id}`, { op: "add", path: "members", value: [{ value: bob }] });
    await directory.expect(200, "PUT", `/Groups/${id}`, group("Crew", { members: [{ value: bob }] }));
    await directory.expect(204, "DELETE", `/Groups/${id}`);
    expect(told.filter((ids) => ids.length > 0)).toEqual([[ada], [bob], [ada], [bob]]);
    expect(directory.lines.map(({ event }) => event)).toEqual([
      "user.created",
      "user.created",
      "group.created",
      "group.updated",
      "group.updated",
      "group.deleted",
    ]);
    const view = await directory.expect(200, "GET", `/Users/${ada}`);
    expect(view).not.toHaveProperty("groups");
  });

  it("a person's resource names their groups, and people are found by them", async () => {
    const directory = openDirectory(database());
    const ada = await add(directory, "ada");
    await add(directory, "bob");
    const { id } = await directory.expect(
      201,
      "POST",
      "/Groups",
      group("Crew", { members: [{ value: ada }] }),
    );
    expect((await directory.expect(200, "GET", `/Users/${ada}`)).groups).toEqual([
      { value: id, $ref: `http://localhost:8080/scim/v2/Groups/${id}`, display: "Crew", type: "direct" },
    ]);
    for (const filter of [`groups.value eq "${id}"`, `groups[display eq "crew"]`, "groups pr"])
      expect((await directory.find(filter)).Resources.map((row: { id: string }) => row.id)).toEqual([ada]);
  });

  it("a filter on what members do not have is refused", async () => {
    const directory = openDirectory(database());
    for (const name of ["constructor", "__proto__", "age"]) {
      const filter = encodeURIComponent(`members[${name} eq "x"]`);
      expect(faultOf(await directory.send("GET", `/Groups?filter=${filter}`))).toEqual([
        400,
        "invalidFilter",
      ]);
    }
  });

  it("the audit trail names who came and went", async () => {
    const directory = openDirectory(database());
    const [ada, bob] = [await add(directory, "ada"), await add(directory, "bob")];
    const { id } = await directory.expect(
      201,
      "POST",
      "/Groups",
      group("Crew", { members: [{ value: ada }] }),
    );
    await directory.expect(200, "PUT", `/Groups/${id}`, group("Crew", { members: [{ value: bob }] }));
    expect(directory.lines.slice(-2).map(({ detail }) => detail)).toEqual([
      expect.objectContaining({ added: [ada], removed: [], added_count: 1, removed_count: 0 }),
      expect.objectContaining({ added: [bob], removed: [ada], added_count: 1, removed_count: 1 }),
    ]);
  });

  it("groups in groups, strangers and machines are refused or left alone", async () => {
    const directory = openDirectory(database());
    const ada = await add(directory, "ada");
    const inner = (await directory.expect(201, "POST", "/Groups", group("Inner"))).id;
    const nested = await directory.send(
      "POST",
      "/Groups",
      group("Outer", { members: [{ value: inner, type: "Group" }] }),
    );
    expect(faultOf(nested)).toEqual([400, "invalidValue"]);
    expect(nested.body.detail).toMatch(/no groups/);
    expect(
      faultOf(await directory.send("POST", "/Groups", group("Outer", { members: [{ value: "nobody" }] }))),
    ).toEqual([400, "invalidValue"]);
    expect((await directory.expect(200, "GET", "/Groups")).totalResults).toBe(1);
    const machine = await database().transaction(async (tx) => {
      const made = (await directory.users.insertFrom(tx, { name: "CI", source: "api", kind: "service" }))!;
      await directory.groups.change(tx, inner, { add: [made.id], via: "api" });
      return made.id;
    });
    await directory.expect(200, "PUT", `/Groups/${inner}`, group("Inner", { members: [{ value: ada }] }));
    await directory.patch(`/Groups/${inner}`, { op: "remove", path: `members[value eq "${machine}"]` });
    await directory.patch(`/Groups/${inner}`, { op: "remove", path: "members" });
    expect(await membersOf(directory, inner)).toEqual([]);
    expect(await directory.groups.memberIds(inner)).toEqual([machine]);
  });

  it("versions move with names and with who is in; paths that a group has not are refused", async () => {
    const directory = openDirectory(database());
    const ada = await add(directory, "ada");
    const made = await directory.send("POST", "/Groups", group("Crew"));
    const { id } = made.body;
    const version = made.headers.get("etag")!;
    const join = { Operations: [{ op: "add", path: "members", value: [{ value: ada }] }] };
    const joined = await directory.send("PATCH", `/Groups/${id}`, join, { "if-match": version });
    expect([joined.status, joined.headers.get("etag") !== version]).toEqual([204, true]);
    expect((await directory.send("PATCH", `/Groups/${id}`, join, { "if-match": version })).status).toBe(412);
    expect((await directory.send("DELETE", `/Groups/${id}`, undefined, { "if-match": version })).status).toBe(
      412,
    );
    const again = await directory.send("PATCH", `/Groups/${id}`, join);
    expect(again.headers.get("etag")).toBe(joined.headers.get("etag"));
    for (const [operation, scimType] of [
      [{ op: "replace", path: "title", value: "x" }, "invalidPath"],
      [{ op: "replace", path: "id", value: "x" }, "mutability"],
      [{ op: "remove", path: "displayName" }, "mutability"],
      [{ op: "replace", path: "displayName", value: "" }, "mutability"],
      [{ op: "remove" }, "noTarget"],
      [{ op: "remove", path: 'members[display eq "x"]' }, "noTarget"],
      [{ op: "add", path: 'members[value eq "x"]', value: {} }, "invalidPath"],
      [{ op: "replace", path: "displayName", value: "x".repeat(300) }, "invalidValue"],
    ] as const)
      expect(faultOf(await directory.patch(`/Groups/${id}`, operation)), JSON.stringify(operation)).toEqual([
        400,
        scimType,
      ]);
  });

  it("a group that makes administrators is not emptied of the last of them", async () => {
    const directory = openDirectory(database());
    const ada = await add(directory, "ada");
    await database().db.updateTable("users").set({ password_hash: "set" }).where("id", "=", ada).execute();
    const { id } = await database().transaction((tx) =>
      directory.groups.insert(tx, { name: "Admins", role: "admin", source: "api" }),
    );
    await directory.patch(`/Groups/${id}`, { op: "add", path: "members", value: [{ value: ada }] });
    expect(await directory.users.find(ada)).toMatchObject({ role: "admin", ownRole: "member" });
    for (const answer of [
      await directory.patch(`/Groups/${id}`, { op: "remove", path: "members" }),
      await directory.send("DELETE", `/Groups/${id}`),
      await directory.patch(`/Users/${ada}`, { op: "replace", path: "active", value: false }),
    ])
      expect([answer.status, /last administrator/.test(answer.body.detail)]).toEqual([409, true]);
    expect(await membersOf(directory, id)).toEqual([ada]);
  });
});
