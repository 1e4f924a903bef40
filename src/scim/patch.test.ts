import { describe, expect, it } from "vitest";
import { Problem } from "../base/index.ts";
import type { Operation } from "./operations.ts";
import { patched } from "./patch.ts";
import { type Resource, readResource } from "./resource.ts";
import { userSchema } from "./schemas.ts";
import { ENTERPRISE } from "./scim.suite.ts";

const work = { value: "ada@example.com", type: "work", primary: true };
const home = { value: "ada@home.example", type: "home" };
const ada: Resource = {
  userName: "ada@example.com",
  name: { givenName: "Ada", familyName: "Jensen" },
  emails: [work, home],
  active: true,
  [ENTERPRISE]: { department: "R&D", manager: { value: "user_1" } },
};

const outcome = (...operations: Operation[]) => patched(userSchema, ada, operations);
const faultOf = (...operations: Operation[]) => {
  try {
    return outcome(...operations);
  } catch (error) {
    if (error instanceof Problem) return error.code;
    throw error;
  }
};

describe("RFC 7644 §3.5.2", () => {
  it("adds: attributes, values, parts; what is there is not there twice", () => {
    expect(outcome({ op: "add", path: "title", value: "Engineer" }).title).toBe("Engineer");
    expect(outcome({ op: "add", value: { title: "Engineer", nickName: "A" } })).toMatchObject({
      nickName: "A",
    });
    expect(
      outcome({ op: "add", path: "emails", value: [home, { value: "x@y", type: "other" }] }).emails,
    ).toEqual([work, home, { value: "x@y", type: "other" }]);
    expect(outcome({ op: "add", path: "name", value: { middleName: "M" } }).name).toEqual({
      givenName: "Ada",
      familyName: "Jensen",
      middleName: "M",
    });
    expect(outcome({ op: "add", path: "name.middleName", value: "M" }).name).toMatchObject({
      middleName: "M",
    });
    expect(outcome({ op: "add", path: "emails", value: [home] })).toEqual(ada);
  });

  it("many operations together add no more values than one may", () => {
    const more = (from: number) => Array.from({ length: 600 }, (_, at) => ({ value: `${from + at}@y` }));
    expect(
      faultOf({ op: "add", path: "emails", value: more(0) }, { op: "add", path: "emails", value: more(600) }),
    ).toBe("invalid_value");
  });

  it("a new primary value takes it from the old one", () => {
    const primary = { value: "x@y", type: "other", primary: true };
    expect(outcome({ op: "add", path: "emails", value: primary }).emails).toEqual([
      { ...work, primary: false },
      home,
      primary,
    ]);
    expect(outcome({ op: "replace", path: 'emails[type eq "home"].primary', value: true }).emails).toEqual([
      { ...work, primary: false },
      { ...home, primary: true },
    ]);
  });

  it("replaces: whole values, parts, and of several values those that the filter means", () => {
    expect(outcome({ op: "replace", path: "emails", value: [home] }).emails).toEqual([home]);
    expect(outcome({ op: "replace", path: 'emails[type eq "WORK"].value', value: "n@x" }).emails).toEqual([
      { ...work, value: "n@x" },
      home,
    ]);
    const other = { value: "n@x", type: "work" };
    expect(outcome({ op: "replace", path: 'emails[type eq "work"]', value: other }).emails).toEqual([
      other,
      home,
    ]);
    expect(outcome({ op: "replace", path: "name", value: { familyName: "King" } }).name).toEqual({
      givenName: "Ada",
      familyName: "King",
    });
  });

  it("removes: attributes, parts, values that a filter means or that are named", () => {
    expect(outcome({ op: "remove", path: "name" })).not.toHaveProperty("name");
    expect(outcome({ op: "remove", path: "name.givenName" }).name).toEqual({ familyName: "Jensen" });
    expect(outcome({ op: "remove", path: 'emails[type eq "work"]' }).emails).toEqual([home]);
    expect(outcome({ op: "remove", path: 'emails[type eq "work"].primary' }).emails).toEqual([
      { value: "ada@example.com", type: "work" },
      home,
    ]);
    expect(outcome({ op: "remove", path: "emails" })).not.toHaveProperty("emails");
    expect(outcome({ op: "remove", path: "emails", value: [{ value: home.value }] }).emails).toEqual([work]);
    expect(outcome({ op: "remove", path: 'emails[type eq "fax"]' })).toEqual(ada);
  });

  it("all or nothing, in their order", () => {
    expect(
      faultOf({ op: "replace", path: "title", value: "x" }, { op: "replace", path: "nothing", value: "y" }),
    ).toBe("invalid_path");
    expect(ada).not.toHaveProperty("title");
    expect(
      outcome({ op: "add", path: "title", value: "x" }, { op: "replace", path: "title", value: "y" }).title,
    ).toBe("y");
  });

  it("refuses in the words of the RFC", () => {
    for (const [operation, code] of [
      [{ op: "remove" }, "no_target"],
      [{ op: "replace", path: 'emails[value co "nobody"].value', value: "x" }, "no_target"],
      [{ op: "replace", path: "id", value: "x" }, "immutable_attribute"],
      [{ op: "replace", path: "groups", value: [] }, "immutable_attribute"],
      [{ op: "replace", path: "meta.created", value: "x" }, "immutable_attribute"],
      [{ op: "remove", path: "userName" }, "immutable_attribute"],
      [{ op: "replace", path: "name.nothing", value: "x" }, "invalid_path"],
      [{ op: "replace", path: 'name[type eq "x"]', value: "x" }, "invalid_path"],
      [{ op: "replace", value: "x" }, "invalid_path"],
      [{ op: "replace", path: 'emails[kind eq "x"]', value: {} }, "invalid_filter"],
      [{ op: "replace", path: "active", value: "perhaps" }, "invalid_value"],
      [{ op: "replace", path: "title", value: { a: 1 } }, "invalid_value"],
      [{ op: "replace", path: "name", value: "x" }, "invalid_value"],
      [{ op: "replace", path: "title", value: "x".repeat(9000) }, "invalid_value"],
    ] as [Operation, string][])
      expect(faultOf(operation), JSON.stringify(operation)).toBe(code);
  });
});

describe("what directories really send", () => {
  it("Entra ID: words for booleans, whole paths as names, values of a kind that is not there yet", () => {
    expect(outcome({ op: "replace", path: "active", value: "False" }).active).toBe(false);
    expect(outcome({ op: "replace", value: { active: "True", "name.givenName": "Grace" } })).toMatchObject({
      active: true,
      name: { givenName: "Grace", familyName: "Jensen" },
    });
    expect(
      outcome({
        op: "add",
        value: { 'emails[type eq "other"].value': "o@x", [`${ENTERPRISE}:department`]: "Ops" },
      }),
    ).toMatchObject({
      emails: [work, home, { type: "other", value: "o@x" }],
      [ENTERPRISE]: { department: "Ops" },
    });
    expect(
      outcome({ op: "replace", path: 'phoneNumbers[type eq "work"].value', value: "1" }).phoneNumbers,
    ).toEqual([{ type: "work", value: "1" }]);
    const role = { op: "add" as const, path: 'roles[primary eq "True"].value', value: "reader" };
    expect(outcome(role).roles).toEqual([{ primary: true, value: "reader" }]);
  });

  it("Entra ID: a manager as a bare id, and taken away with nothing", () => {
    const path = `${ENTERPRISE}:manager`;
    expect(outcome({ op: "add", path, value: "user_2" })[ENTERPRISE]).toEqual({
      department: "R&D",
      manager: { value: "user_2" },
    });
    expect(outcome({ op: "replace", path, value: "" })[ENTERPRISE]).toEqual({ department: "R&D" });
    expect(outcome({ op: "remove", path: ENTERPRISE })).not.toHaveProperty([ENTERPRISE]);
    expect(outcome({ op: "replace", path: ENTERPRISE, value: { department: "Ops" } })[ENTERPRISE]).toEqual({
      department: "Ops",
    });
  });

  it("Okta: a password, `schemas` and `id` in a set of attributes change nothing", () => {
    const value = {
      active: false,
      password: "marked-not-kept-anywhere",
      schemas: ["x"],
      id: "y",
      unknown: 1,
    };
    expect(outcome({ op: "replace", value })).toEqual({ ...ada, active: false });
    expect(outcome({ op: "replace", path: "password", value: "marked-not-kept-anywhere" })).toEqual(ada);
  });
});

it("a body: names in any case, nothing that is unassigned, unknown or only ours to say", () => {
  const read = readResource(userSchema, {
    USERNAME: "x",
    Active: "TRUE",
    id: "mine",
    groups: [{ value: "g" }],
    meta: { version: "1" },
    password: "marked-not-kept-anywhere",
    misspelled: 1,
    title: null,
    nickName: "",
    roles: [],
    Emails: [{ VALUE: "a@b", Primary: true, extra: 1 }, null, { value: "c@d", primary: true }],
    [ENTERPRISE.toUpperCase()]: { EmployeeNumber: 701984, unknown: 1, Manager: { Value: "m" } },
    __proto__: { polluted: true },
  });
  expect(read).toEqual({
    userName: "x",
    active: true,
    emails: [
      { value: "a@b", primary: true },
      { value: "c@d", primary: false },
    ],
    [ENTERPRISE]: { employeeNumber: "701984", manager: { value: "m" } },
  });
  expect(({} as Record<string, unknown>).polluted).toBeUndefined();
});
