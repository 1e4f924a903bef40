import { describe, expect, it } from "vitest";
import {
  type Directory,
  ENTERPRISE,
  ERROR,
  faultOf,
  GROUP,
  LIST,
  onSharedDatabases,
  openDirectory,
  person,
  USER,
} from "./scim.suite.ts";

/* The cases of two public suites, under the names they have there. What they send was read from their published reports. */

const schemas = [GROUP];

onSharedDatabases("Microsoft SCIM Validator", (database) => {
  const start = async () => openDirectory(database());
  const withAda = async () => {
    const directory = await start();
    return { directory, id: (await directory.expect(201, "POST", "/Users", person("ada"))).id as string };
  };
  const withGroup = async () => {
    const { directory, id: ada } = await withAda();
    const group = await directory.expect(201, "POST", "/Groups", {
      schemas,
      displayName: "Crew",
      externalId: "g1",
    });
    return { directory, ada, id: group.id as string };
  };

  describe("Users", () => {
    it("Create a new User; Create a duplicate User", async () => {
      const { send } = await start();
      const made = await send("POST", "/Users", person("ada"));
      expect(made.status).toBe(201);
      const { id, meta, ...rest } = made.body;
      expect(rest).toEqual(person("ada"));
      expect(meta).toMatchObject({
        resourceType: "User",
        location: `http://localhost:8080/scim/v2/Users/${id}`,
      });
      expect(made.headers.get("location")).toBe(meta.location);
      expect(made.headers.get("content-type")).toBe("application/scim+json");
      expect(faultOf(await send("POST", "/Users", person("ada", { userName: "ADA@Example.com" })))).toEqual([
        409,
        "uniqueness",
      ]);
    });

    it("Filter for an existing User, also with a different case; Filter for a non-existing User", async () => {
      const { directory, id } = await withAda();
      for (const name of ["ada@example.com", "ADA@EXAMPLE.COM"]) {
        const list = await directory.find(`userName eq "${name}"`);
        expect(list).toMatchObject({ schemas: [LIST], totalResults: 1, startIndex: 1, itemsPerPage: 1 });
        expect(list.Resources[0].id).toBe(id);
      }
      expect(await directory.find('userName eq "nobody@example.com"')).toMatchObject({
        totalResults: 0,
        Resources: [],
      });
    });

    it("Get User by id; Get a non-existing User", async () => {
      const { directory, id } = await withAda();
      expect(await directory.expect(200, "GET", `/Users/${id}`)).toMatchObject({
        id,
        userName: "ada@example.com",
      });
      expect((await directory.send("GET", "/Users/nobody")).status).toBe(404);
    });

    it("Patch User - Replace Attributes", async () => {
      const { directory, id } = await withAda();
      const { status, body } = await directory.patch(
        `/Users/${id}`,
        { op: "replace", path: 'emails[type eq "work"].value', value: "lilian@example.com" },
        { op: "replace", path: 'phoneNumbers[type eq "work"].value', value: "07-272-0828" },
        { op: "replace", path: 'addresses[type eq "work"].streetAddress', value: "2809 Johns Walk" },
        { op: "replace", path: 'addresses[type eq "work"].locality', value: "KMYVNUJVVZWC" },
      );
      expect(status).toBe(200);
      expect(body).toMatchObject({
        emails: [{ value: "lilian@example.com", type: "work", primary: true }],
        phoneNumbers: [{ type: "work", value: "07-272-0828" }],
        addresses: [{ type: "work", streetAddress: "2809 Johns Walk", locality: "KMYVNUJVVZWC" }],
      });
    });

    it("Update User userName", async () => {
      const { directory, id } = await withAda();
      const { status, body } = await directory.patch(`/Users/${id}`, {
        op: "replace",
        value: { userName: "emilio@hermann.example" },
      });
      expect([status, body.userName]).toEqual([200, "emilio@hermann.example"]);
      expect((await directory.users.find(id))?.email).toBe("emilio@hermann.example");
    });

    it("Patch User - Disable User; the filter finds it disabled", async () => {
      const { directory, id } = await withAda();
      expect(
        (await directory.patch(`/Users/${id}`, { op: "Replace", path: "active", value: "False" })).body
          .active,
      ).toBe(false);
      expect((await directory.find('userName eq "ada@example.com"')).Resources[0].active).toBe(false);
      expect((await directory.users.find(id))?.isActive).toBe(false);
      await directory.patch(`/Users/${id}`, { op: "Add", path: "active", value: true });
      expect((await directory.users.find(id))?.isActive).toBe(true);
    });

    it("Patch User - Add Manager, Replace Manager, Remove Manager", async () => {
      const { directory, id } = await withAda();
      const path = `${ENTERPRISE}:manager`;
      const managerAfter = async (operation: object) =>
        (await directory.patch(`/Users/${id}`, operation)).body[ENTERPRISE]?.manager;
      expect(await managerAfter({ op: "add", path, value: { value: "AXTKDLNRKMKT" } })).toEqual({
        value: "AXTKDLNRKMKT",
      });
      expect(await managerAfter({ op: "replace", path, value: { value: "CBEQXYNPNAZS" } })).toEqual({
        value: "CBEQXYNPNAZS",
      });
      expect((await directory.expect(200, "GET", `/Users/${id}`)).schemas).toContain(ENTERPRISE);
      expect(await managerAfter({ op: "remove", path })).toBeUndefined();
    });

    it("Patch User - Add Attributes; Multiple Ops on different attributes; Multiple Ops on same attribute", async () => {
      const { directory, id } = await withAda();
      const { body } = await directory.patch(
        `/Users/${id}`,
        { op: "add", path: "nickName", value: "A" },
        { op: "add", path: "title", value: "Engineer" },
        { op: "replace", path: "title", value: "Chief" },
        { op: "add", value: { preferredLanguage: "en", [`${ENTERPRISE}:department`]: "R&D" } },
        { op: "add", path: 'roles[primary eq "True"].value', value: "reader" },
      );
      expect(body).toMatchObject({
        nickName: "A",
        title: "Chief",
        preferredLanguage: "en",
        [ENTERPRISE]: { department: "R&D" },
        roles: [{ primary: true, value: "reader" }],
      });
    });

    it("SCIM_Null_Update_Test: empty and null values leave an attribute unassigned", async () => {
      const { directory, id } = await withAda();
      await directory.patch(`/Users/${id}`, { op: "add", value: { title: "x", nickName: "y" } });
      await directory.patch(`/Users/${id}`, { op: "replace", path: "title", value: "" });
      const { body } = await directory.patch(`/Users/${id}`, { op: "replace", value: { nickName: null } });
      expect([body.title, body.nickName]).toEqual([undefined, undefined]);
    });

    it("Delete a User; Delete the same User twice; Delete a non-existent User", async () => {
      const { directory, id } = await withAda();
      expect((await directory.send("DELETE", `/Users/${id}`)).status).toBe(204);
      for (const gone of [id, "nobody"])
        expect((await directory.send("DELETE", `/Users/${gone}`)).status).toBe(404);
      expect((await directory.find('userName eq "ada@example.com"')).totalResults).toBe(0);
    });

    it("SCIM_User_Pagination_Test: five at a time", async () => {
      const directory = await start();
      for (let at = 0; at < 11; at++) await directory.expect(201, "POST", "/Users", person(`p${at}`));
      const seen: string[] = [];
      for (const [startIndex, items] of [
        [1, 5],
        [6, 5],
        [11, 1],
      ]) {
        const page = await directory.expect(200, "GET", `/Users?startIndex=${startIndex}&count=5`);
        expect(page).toMatchObject({ startIndex, itemsPerPage: items, totalResults: 11 });
        seen.push(...page.Resources.map(({ id }: { id: string }) => id));
      }
      expect(new Set(seen).size).toBe(11);
    });
  });

  describe("Groups", () => {
    it("Create a new Group; Create a duplicate Group", async () => {
      const { send } = await start();
      const body = { schemas, displayName: "Crew", externalId: "g1" };
      const made = await send("POST", "/Groups", body);
      expect([made.status, made.body.displayName, made.body.externalId]).toEqual([201, "Crew", "g1"]);
      expect(faultOf(await send("POST", "/Groups", body))).toEqual([409, "uniqueness"]);
    });

    it("Filter for an existing group, also with a different case; excluding members; Filter for a non-existing group", async () => {
      const { directory, id, ada } = await withGroup();
      await directory.patch(`/Groups/${id}`, { op: "add", path: "members", value: [{ value: ada }] });
      const find = (filter: string, more = "") =>
        directory.expect(200, "GET", `/Groups?filter=${encodeURIComponent(filter)}${more}`);
      for (const name of ["Crew", "cREW"])
        expect((await find(`displayName eq "${name}"`)).Resources).toMatchObject([
          { id, members: [{ value: ada }] },
        ]);
      const [bare] = (await find('displayName eq "Crew"', "&excludedAttributes=members")).Resources;
      expect(bare).not.toHaveProperty("members");
      expect((await find('displayName eq "Nobody"')).totalResults).toBe(0);
      expect((await find(`members.value eq "${ada}"`)).totalResults).toBe(1);
      expect((await find(`members[value eq "nobody"]`)).totalResults).toBe(0);
    });

    it("Get group by id; Get group by id excluding members; Get a non-existing Group", async () => {
      const { directory, id, ada } = await withGroup();
      await directory.patch(`/Groups/${id}`, { op: "add", path: "members", value: { value: ada } });
      expect((await directory.expect(200, "GET", `/Groups/${id}`)).members).toEqual([
        {
          value: ada,
          $ref: `http://localhost:8080/scim/v2/Users/${ada}`,
          display: "ada Jensen",
          type: "User",
        },
      ]);
      const bare = await directory.expect(200, "GET", `/Groups/${id}?excludedAttributes=members`);
      expect(bare).not.toHaveProperty("members");
      expect((await directory.send("GET", "/Groups/nobody")).status).toBe(404);
    });

    it("Patch Group - Replace Attributes; Update Group displayName", async () => {
      const { directory, id } = await withGroup();
      const replace = (value: object) => directory.patch(`/Groups/${id}`, { op: "replace", value });
      expect((await replace({ externalId: "c3b97a69" })).status).toBe(204);
      expect((await replace({ id, displayName: "MSADPJJZWBUS" })).status).toBe(204);
      expect(await directory.expect(200, "GET", `/Groups/${id}`)).toMatchObject({
        displayName: "MSADPJJZWBUS",
        externalId: "c3b97a69",
      });
    });

    it("Patch Group - Add Member, Remove Member; Multiple Ops on same attribute", async () => {
      const { directory, id, ada } = await withGroup();
      const bob = (await directory.expect(201, "POST", "/Users", person("bob"))).id;
      const membersAfter = async (...operations: object[]) => {
        expect((await directory.patch(`/Groups/${id}`, ...operations)).status).toBe(204);
        const { members = [] } = await directory.expect(200, "GET", `/Groups/${id}`);
        return members.map(({ value }: { value: string }) => value);
      };
      expect(await membersAfter({ op: "Add", path: "members", value: [{ value: ada }] })).toEqual([ada]);
      expect(await membersAfter({ op: "remove", path: `members[value eq "${ada}"]` })).toEqual([]);
      const both = { op: "add", path: "members", value: [{ value: ada }, { value: bob }] };
      expect((await membersAfter(both)).toSorted()).toEqual([ada, bob].toSorted());
      expect(await membersAfter({ op: "Remove", path: "members", value: [{ value: ada }] })).toEqual([bob]);
      expect(
        await membersAfter(
          { op: "add", path: "members", value: [{ value: ada }] },
          { op: "remove", path: "members", value: [{ value: bob }] },
        ),
      ).toEqual([ada]);
      expect(await membersAfter({ op: "replace", path: "members", value: [{ value: bob }] })).toEqual([bob]);
      expect(await membersAfter({ op: "remove", path: "members" })).toEqual([]);
    });

    it("Delete a Group; Delete the same Group twice; Delete a non-existent Group", async () => {
      const { directory, id, ada } = await withGroup();
      await directory.patch(`/Groups/${id}`, { op: "add", path: "members", value: [{ value: ada }] });
      expect((await directory.send("DELETE", `/Groups/${id}`)).status).toBe(204);
      for (const gone of [id, "nobody"])
        expect((await directory.send("DELETE", `/Groups/${gone}`)).status).toBe(404);
      await directory.expect(200, "GET", `/Users/${ada}`);
    });
  });

  it("Schema_Discoverability_Test; ResourceTypes; ServiceProviderConfig", async () => {
    const { expect: ask, send } = await start();
    const list = await ask(200, "GET", "/Schemas");
    expect(list.Resources.map(({ id }: { id: string }) => id)).toEqual([USER, GROUP, ENTERPRISE]);
    const names = (id: string, at = 0) =>
      list.Resources[at].attributes.map(({ name }: { name: string }) => name).includes(id);
    expect([names("userName"), names("password"), names("members", 1), names("manager", 2)]).toEqual([
      true,
      false,
      true,
      true,
    ]);
    expect((await ask(200, "GET", `/Schemas/${ENTERPRISE}`)).name).toBe("EnterpriseUser");
    const types = await ask(200, "GET", "/ResourceTypes");
    expect(types.Resources.map(({ endpoint }: { endpoint: string }) => endpoint)).toEqual([
      "/Users",
      "/Groups",
    ]);
    expect((await ask(200, "GET", "/ResourceTypes/User")).schemaExtensions[0].schema).toBe(ENTERPRISE);
    expect(await ask(200, "GET", "/ServiceProviderConfig")).toMatchObject({
      patch: { supported: true },
      bulk: { supported: false },
      etag: { supported: true },
      authenticationSchemes: [{ type: "oauthbearertoken" }],
    });
    expect((await send("GET", '/Schemas?filter=id eq "x"')).status).toBe(403);
    expect((await send("GET", "/Schemas/urn:nothing")).status).toBe(404);
  });
});

onSharedDatabases("Okta SCIM 2.0 SPEC Test", (database) => {
  const headers = { "accept-charset": "utf-8", "user-agent": "OKTA SCIM Integration" };
  const okta = (name: string) => {
    const { externalId: _, ...rest } = person(name, { userName: `${name}Login` });
    return rest;
  };
  const start = async () => openDirectory(database());
  const get = async ({ send }: Directory, path: string) => send("GET", path, undefined, headers);

  it("Required Test: Test Users endpoint; Get Users/{{id}}", async () => {
    const directory = await start();
    await directory.expect(201, "POST", "/Users", okta("ada"));
    const { status, body } = await get(directory, "/Users?count=1&startIndex=1");
    expect(status).toBe(200);
    expect(body).toMatchObject({ schemas: [LIST], itemsPerPage: 1, startIndex: 1, totalResults: 1 });
    const [first] = body.Resources;
    expect(first).toMatchObject({
      name: { familyName: "Jensen", givenName: "ada" },
      userName: "adaLogin",
      active: true,
      emails: [{ value: "ada@example.com" }],
    });
    expect((await get(directory, `/Users/${first.id}`)).body).toEqual(first);
  });

  it("Required Test: Test invalid User by username; by ID; Make sure random user doesn't exist; Check status 404", async () => {
    const directory = await start();
    const unknown = await get(directory, '/Users?filter=userName eq "nobody@example.com"');
    expect([unknown.status, unknown.body.schemas, unknown.body.totalResults]).toEqual([200, [LIST], 0]);
    const { status, body } = await get(directory, "/Users/00919288221112222");
    expect([status, body.schemas, body.status]).toEqual([404, [ERROR], "404"]);
    expect(body.detail).toMatch(/no such user/);
  });

  it("Required Test: Create Okta user with realistic values; Verify that user was created; Expect failure when recreating user with same values", async () => {
    const directory = await start();
    const json = { "content-type": "application/json", accept: "application/scim+json; charset=utf-8" };
    const made = await directory.send("POST", "/Users", okta("ada"), json);
    expect(made.status).toBe(201);
    expect(made.body).toMatchObject({ active: true, userName: "adaLogin", schemas: [USER] });
    expect((await get(directory, `/Users/${made.body.id}`)).body).toEqual(made.body);
    expect((await directory.send("POST", "/Users", okta("ada"), json)).status).toBe(409);
    // The address belongs to somebody already; only the name must be nobody else's.
    const again = { ...okta("ada"), userName: "adaOther" };
    expect((await directory.send("POST", "/Users", again, json)).body.emails[0].value).toBe(
      "ada@example.com",
    );
  });

  it("Required Test: Username Case Sensitivity Check", async () => {
    const directory = await start();
    await directory.expect(201, "POST", "/Users", okta("ada"));
    const { status, body } = await get(directory, '/Users?filter=userName eq "ADALOGIN"');
    expect([status, body.totalResults]).toEqual([200, 1]);
  });

  it("Optional Test: Verify Groups endpoint", async () => {
    const directory = await start();
    expect((await get(directory, "/Groups")).body).toMatchObject({ totalResults: 0, Resources: [] });
  });
});
