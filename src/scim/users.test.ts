import { expect, it } from "vitest";
import {
  type Answer,
  type Directory,
  faultOf,
  LIST,
  onSharedDatabases,
  openDirectory,
  person,
} from "./scim.suite.ts";

const OKTA = "https://idp.example";

onSharedDatabases("people", (database) => {
  const add = async (directory: Directory, name: string, more: object = {}): Promise<string> =>
    (await directory.expect(201, "POST", "/Users", person(name, more))).id;
  const local = (directory: Directory, email: string, role: "admin" | "member" = "member") =>
    database().transaction(async (tx) =>
      directory.users.insert(tx, { email, name: email, role, passwordHash: role === "admin" ? "set" : null }),
    );
  const names = async (directory: Directory, filter: string, more = ""): Promise<string[]> =>
    (await directory.find(filter, more)).Resources.map((row: { userName: string }) => row.userName);

  it("filters, in SQL: every operator, every kind of attribute, and what was made here without SCIM", async () => {
    const directory = openDirectory(database());
    const ada = await add(directory, "ada", {
      title: "Chief 100%",
      emails: [
        { value: "ada@example.com", type: "work", primary: true },
        { value: "ADA@home.example", type: "home" },
      ],
      "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {
        department: "R&D",
        manager: { value: "m1" },
      },
    });
    directory.world.advance(60_000);
    await add(directory, "bob", { userName: "OMalley", active: false, emails: undefined, name: undefined });
    await local(directory, "carl@example.com");
    const [a, b, c] = ["ada@example.com", "OMalley", "carl@example.com"];
    const between = new Date(directory.world.now().getTime() - 30_000).toISOString();
    for (const [filter, expected] of [
      ['userName eq "OMALLEY"', [b]],
      ['userName ne "OMALLEY"', [a, c]],
      ['userName sw "c"', [c]],
      ['userName co "MALL"', [b]],
      ['userName ew "EXAMPLE.com"', [a, c]],
      ['userName gt "b"', [b, c]],
      [`id eq "${ada}"`, [a]],
      ['externalId eq "ext-ada"', [a]],
      ['externalId eq "EXT-ADA"', []],
      ["externalId pr", [a, b]],
      ["not (externalId pr)", [c]],
      ["externalId eq null", [c]],
      ["active eq true", [a, c]],
      ['active eq "False"', [b]],
      ["active ne true", [b]],
      ['displayName eq "ADA jensen"', [a]],
      ['name.familyName eq "jensen"', [a]],
      ["name pr", [a, c]],
      ['title co "%"', [a]],
      ['title co "_"', []],
      ['title ne "x"', [a, b, c]],
      ['emails.value eq "ada@HOME.example"', [a]],
      ['emails eq "carl@example.com"', [c]],
      ['emails[type eq "home"].value sw "ada"', [a]],
      ['emails[type eq "work" and value co "home"]', []],
      ["emails[primary eq true]", [a, c]],
      ['emails[primary eq "True"].value eq "ada@example.com"', [a]],
      ["not (emails pr)", [b]],
      ['emails[not (type eq "work")]', [a]],
      ['urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department eq "r&d"', [a]],
      ['urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value eq "m1"', [a]],
      ['urn:ietf:params:scim:schemas:core:2.0:User:userName eq "omalley"', [b]],
      [`meta.lastModified gt "${between}"`, [b, c]],
      [`meta.created le "${between}"`, [a]],
      ['userName eq "nobody" or (active eq false and displayName pr)', [b]],
      ["groups pr", []],
      ['userName eq "x\' or 1=1 --"', []],
    ] as [string, string[]][])
      expect((await names(directory, filter)).toSorted(), filter).toEqual(expected.toSorted());
    for (const filter of [
      'nothing eq "x"',
      'userName.x eq "y"',
      "active gt true",
      'active co "t"',
      'meta.created gt "soon"',
      'meta.created co "2024"',
      'name eq "x"',
      'userName[type eq "x"]',
      'emails[kind eq "x"]',
      "title gt null",
    ])
      expect(
        faultOf(await directory.send("GET", `/Users?filter=${encodeURIComponent(filter)}`)),
        filter,
      ).toEqual([400, "invalidFilter"]);
  });

  it("pages, sorts, and gives what was asked for of each", async () => {
    const directory = openDirectory(database());
    for (const name of ["c", "a", "B"]) await add(directory, name, { userName: name });
    const list = (query: string) => directory.expect(200, "GET", `/Users?${query}`);
    const order = async (query: string) =>
      (await list(query)).Resources.map((row: { userName: string }) => row.userName);
    expect(await order("sortBy=userName")).toEqual(["a", "B", "c"]);
    expect(await order("sortBy=displayName&sortOrder=descending&count=2")).toEqual(["c", "B"]);
    expect(await order("sortBy=meta.created&startIndex=3")).toHaveLength(1);
    expect(await order("sortBy=name.givenName")).toEqual(["a", "B", "c"]);
    expect(await list("count=0")).toMatchObject({
      schemas: [LIST],
      totalResults: 3,
      itemsPerPage: 0,
      Resources: [],
    });
    expect(await list("startIndex=-4&count=-1")).toMatchObject({ startIndex: 1, itemsPerPage: 0 });
    expect(await list("startIndex=9")).toMatchObject({ totalResults: 3, itemsPerPage: 0, startIndex: 9 });
    expect(faultOf(await directory.send("GET", "/Users?sortBy=emails"))).toEqual([400, "invalidValue"]);
    expect(faultOf(await directory.send("GET", "/Users?count=x"))).toEqual([400, "invalidSyntax"]);
    const [first] = (await list("attributes=userName,name.givenName,emails.value&count=1&sortBy=userName"))
      .Resources;
    expect(first).toEqual({
      schemas: [expect.any(String)],
      id: expect.any(String),
      userName: "a",
      name: { givenName: "a" },
      emails: [{ value: "a@example.com" }],
    });
    const [rest] = (await list("excludedAttributes=meta,name.givenName,emails,id&count=1&sortBy=userName"))
      .Resources;
    const left = ["schemas", "id", "userName", "displayName", "externalId", "active", "name"];
    expect(Object.keys(rest).toSorted()).toEqual(left.toSorted());
    expect(rest.name).toEqual({ familyName: "Jensen" });
  });

  it("versions: what changed meanwhile is not overwritten, and what changes nothing is no change", async () => {
    const directory = openDirectory(database());
    const id = await add(directory, "ada");
    const { headers } = await directory.send("GET", `/Users/${id}`);
    const version = headers.get("etag")!;
    const title = (value: string, extra = {}) =>
      directory.send(
        "PATCH",
        `/Users/${id}`,
        { Operations: [{ op: "replace", path: "title", value }] },
        extra,
      );
    expect(
      (await directory.send("GET", `/Users/${id}`, undefined, { "if-none-match": version })).status,
    ).toBe(304);
    const changed = await title("one", { "if-match": version });
    expect(changed.status).toBe(200);
    expect(changed.headers.get("etag")).not.toBe(version);
    expect(changed.body.meta.version).toBe(changed.headers.get("etag"));
    const [modified] = [changed.body.meta.lastModified];
    for (const [method, body] of [
      ["PUT", person("ada")],
      ["PATCH", { Operations: [{ op: "replace", path: "title", value: "two" }] }],
      ["DELETE", undefined],
    ] as const)
      expect((await directory.send(method, `/Users/${id}`, body, { "if-match": version })).status).toBe(412);
    directory.world.advance(1000);
    expect((await title("one", { "if-match": "*" })).body.meta.lastModified).toBe(modified);
    const same = await directory.expect(200, "PUT", `/Users/${id}`, { ...person("ada"), title: "one" });
    expect(same.meta.lastModified).toBe(modified);
    expect((await title("two", { "if-match": `"other", ${changed.headers.get("etag")}` })).status).toBe(200);
  });

  it("PUT is the whole resource; `active` unsaid stays, and so does what an account can do", async () => {
    const directory = openDirectory(database());
    const id = await add(directory, "ada", { title: "Chief", active: false });
    const { externalId: _, active: __, ...body } = person("ada", { displayName: undefined });
    const after = await directory.expect(200, "PUT", `/Users/${id}`, {
      ...body,
      id: "other",
      meta: {},
      groups: [],
    });
    expect(after).toMatchObject({ id, active: false, displayName: "ada Jensen" });
    expect(after).not.toHaveProperty("title");
    expect(after).not.toHaveProperty("externalId");
    expect(directory.lines.map(({ event }) => event)).toEqual(["user.created", "user.updated"]);
  });

  it("an account of this gateway is 409 for a POST, and the directory's once it changes it by its id", async () => {
    const directory = openDirectory(database());
    const { id } = await local(directory, "ada@example.com");
    expect(
      faultOf(await directory.send("POST", "/Users", person("ada", { userName: "Ada@Example.COM" }))),
    ).toEqual([409, "uniqueness"]);
    const [found] = (await directory.find('userName eq "ada@example.com"')).Resources;
    expect(found).toMatchObject({
      id,
      displayName: "ada@example.com",
      emails: [{ value: "ada@example.com" }],
    });
    await directory.expect(200, "PUT", `/Users/${id}`, person("ada"));
    expect(await directory.users.find(id)).toMatchObject({ source: "scim", name: "ada Jensen" });
    const other = await add(directory, "bob");
    for (const name of ["ada@example.com", "ADA@example.com"])
      expect(
        faultOf(await directory.patch(`/Users/${other}`, { op: "replace", path: "userName", value: name })),
      ).toEqual([409, "uniqueness"]);
  });

  it("of two who want one name at once, one gets it", async () => {
    const directory = openDirectory(database());
    const made = await Promise.all([0, 1].map(() => directory.send("POST", "/Users", person("ada"))));
    expect(made.map(({ status }) => status).toSorted()).toEqual([201, 409]);
    const [one, two] = [await add(directory, "b1"), await add(directory, "b2")];
    const rename = (id: string) =>
      directory.patch(`/Users/${id}`, { op: "replace", path: "userName", value: "Wanted" });
    const renamed = await Promise.all([rename(one), rename(two)]);
    expect(renamed.map(({ status }) => status).toSorted()).toEqual([200, 409]);
  });

  it("of two changes at once both count", async () => {
    const directory = openDirectory(database());
    const id = await add(directory, "ada");
    const set = (path: string) => directory.patch(`/Users/${id}`, { op: "add", path, value: "x" });
    const both = await Promise.all([set("title"), set("nickName")]);
    expect(both.map(({ status }) => status)).toEqual([200, 200]);
    expect(await directory.expect(200, "GET", `/Users/${id}`)).toMatchObject({ title: "x", nickName: "x" });
  });

  it("machines are none of its business, and the last administrator stays", async () => {
    const directory = openDirectory(database());
    const machine = await database().transaction((tx) =>
      directory.users.insertFrom(tx, { name: "CI", source: "api", kind: "service" }),
    );
    expect((await directory.expect(200, "GET", "/Users")).totalResults).toBe(0);
    const refusals: Answer[] = [
      await directory.send("GET", `/Users/${machine!.id}`),
      await directory.send("PUT", `/Users/${machine!.id}`, person("x")),
      await directory.patch(`/Users/${machine!.id}`, { op: "replace", path: "active", value: false }),
      await directory.send("DELETE", `/Users/${machine!.id}`),
    ];
    expect(refusals.map(({ status }) => status)).toEqual([404, 404, 404, 404]);
    const { id } = await local(directory, "root@example.com", "admin");
    for (const answer of [
      await directory.patch(`/Users/${id}`, { op: "replace", path: "active", value: false }),
      await directory.send("DELETE", `/Users/${id}`),
    ]) {
      expect(faultOf(answer)).toEqual([409, undefined]);
      expect(answer.body.detail).toMatch(/last administrator/);
    }
    // Roles of a resource are kept and given back, and make nobody anything.
    const eve = await add(directory, "eve", {
      roles: [{ value: "admin", primary: true }],
      entitlements: [{ value: "admin" }],
    });
    expect(await directory.users.find(eve)).toMatchObject({ role: "member", hasPassword: false });
  });

  it("bodies that are none are refused in SCIM's words, and nothing is changed", async () => {
    const directory = openDirectory(database());
    const id = await add(directory, "ada");
    for (const [body, expected] of [
      ["{", [400, "invalidSyntax"]],
      ["[]", [400, "invalidSyntax"]],
      [{}, [400, "invalidValue"]],
      [{ userName: " " }, [400, "invalidValue"]],
      [{ userName: "x".repeat(300) }, [400, "invalidValue"]],
      [{ userName: "x", active: "perhaps" }, [400, "invalidValue"]],
      [{ userName: "x", name: "y" }, [400, "invalidValue"]],
      [
        { userName: "x", emails: Array.from({ length: 1001 }, () => ({ value: "a" })) },
        [400, "invalidValue"],
      ],
      [
        { userName: "x", addresses: Array.from({ length: 20 }, () => ({ formatted: "y".repeat(8000) })) },
        [400, "invalidValue"],
      ],
      [{ userName: "x\0" }, [400, "invalidSyntax"]],
    ] as [unknown, unknown[]][])
      expect(
        faultOf(await directory.send("POST", "/Users", body)),
        JSON.stringify(body).slice(0, 80),
      ).toEqual(expected);
    expect(faultOf(await directory.send("POST", "/Users", "{}", { "content-type": "text/plain" }))).toEqual([
      415,
      undefined,
    ]);
    for (const operations of [undefined, [], "x", [{ op: "move", path: "title" }], [{ path: "title" }]])
      expect(faultOf(await directory.send("PATCH", `/Users/${id}`, { Operations: operations }))).toEqual([
        400,
        "invalidSyntax",
      ]);
    expect((await directory.expect(200, "GET", "/Users")).totalResults).toBe(1);
    // Half a character would make JSON that Postgres cannot read, for everybody's filters.
    const half = await directory.send("POST", "/Users", '{"userName":"half","title":"x\\ud800"}');
    expect([half.status, half.body.title]).toEqual([201, "x\ufffd"]);
    expect((await directory.find('title eq "x\\ud800"')).totalResults).toBe(1);
  });

  it("ID-18 by the rule of the configuration the account and the sign-in are one person, and by nothing else", async () => {
    const rule = { provider: "sso:okta", issuer: OKTA, attribute: "externalId" } as const;
    const directory = openDirectory(database(), rule);
    const owner = async (subject: string) => (await directory.identities.find(OKTA, subject))?.id;
    const ada = await add(directory, "ada");
    expect(await owner("ext-ada")).toBe(ada);
    await database()
      .db.insertInto("dashboard_sessions")
      .values({
        id: "session_1",
        token_hash: "hash",
        user_id: ada,
        created_at: 1,
        last_seen_at: 1,
        expires_at: 2 ** 45,
        provider: "sso:okta",
        provider_subject: "ext-ada",
      })
      .execute();
    // Renamed there, and linked with the new name already: the old one is nobody's any more, nor is what it opened.
    const linked = { provider: "sso:okta", issuer: OKTA, subject: "ext-new" };
    await database().transaction((tx) => directory.identities.link(tx, ada, linked));
    await directory.patch(`/Users/${ada}`, { op: "replace", path: "externalId", value: "ext-new" });
    expect([await owner("ext-ada"), await owner("ext-new")]).toEqual([undefined, ada]);
    expect(await database().db.selectFrom("dashboard_sessions").select("id").execute()).toEqual([]);
    expect(directory.lines.map(({ event }) => event)).toContain("identity.unlinked");
    expect(faultOf(await directory.send("POST", "/Users", person("bob", { externalId: "ext-new" })))).toEqual(
      [409, "uniqueness"],
    );
    await directory.patch(`/Users/${ada}`, { op: "remove", path: "externalId" });
    expect(await owner("ext-new")).toBeUndefined();
    // Who may write names does not become an administrator by one.
    const root = await local(directory, "root@example.com", "admin");
    await directory.expect(200, "PUT", `/Users/${root.id}`, person("root"));
    expect(await owner("ext-root")).toBeUndefined();

    const byName = openDirectory(database(), { ...rule, attribute: "userName" });
    const carl = await add(byName, "carl", { userName: "Carl@Example.com" });
    expect((await byName.identities.find(OKTA, "Carl@Example.com"))?.id).toBe(carl);
    const without = openDirectory(database());
    await add(without, "dora");
    expect(await owner("ext-dora")).toBeUndefined();
  });
});
