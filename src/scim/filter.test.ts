import { expect, it } from "vitest";
import { Problem } from "../base/index.ts";
import { parseFilter, parsePath } from "./filter.ts";

const codeOf = (work: () => unknown) => {
  try {
    work();
  } catch (error) {
    if (error instanceof Problem) return error.code;
    throw error;
  }
  return "read";
};

it("RFC 7644 §3.4.2.2: the examples of the RFC are read as they are meant", () => {
  const eq = (path: string, value: unknown) => ({ op: "eq", path, value });
  for (const [text, meant] of [
    ['userName eq "bjensen"', eq("userName", "bjensen")],
    [`name.familyName co "O'Malley"`, { op: "co", path: "name.familyName", value: "O'Malley" }],
    [
      'urn:ietf:params:scim:schemas:core:2.0:User:userName sw "J"',
      { op: "sw", path: "urn:ietf:params:scim:schemas:core:2.0:User:userName", value: "J" },
    ],
    ["title pr", { op: "pr", path: "title" }],
    [
      'title pr and userType eq "Employee"',
      { op: "and", all: [{ op: "pr", path: "title" }, eq("userType", "Employee")] },
    ],
    [
      'userType eq "Employee" and (emails co "example.com" or emails.value co "example.org")',
      {
        op: "and",
        all: [
          eq("userType", "Employee"),
          {
            op: "or",
            all: [
              { op: "co", path: "emails", value: "example.com" },
              { op: "co", path: "emails.value", value: "example.org" },
            ],
          },
        ],
      },
    ],
    [
      'userType ne "Employee" and not (emails co "example.com")',
      {
        op: "and",
        all: [
          { op: "ne", path: "userType", value: "Employee" },
          { op: "not", filter: { op: "co", path: "emails", value: "example.com" } },
        ],
      },
    ],
    [
      'emails[type eq "work" and value co "@example.com"] or ims[type eq "xmpp"]',
      {
        op: "or",
        all: [
          {
            op: "some",
            path: "emails",
            filter: {
              op: "and",
              all: [eq("type", "work"), { op: "co", path: "value", value: "@example.com" }],
            },
          },
          { op: "some", path: "ims", filter: eq("type", "xmpp") },
        ],
      },
    ],
    // `and` binds before `or`.
    [
      "a pr or b pr and c pr",
      {
        op: "or",
        all: [
          { op: "pr", path: "a" },
          {
            op: "and",
            all: [
              { op: "pr", path: "b" },
              { op: "pr", path: "c" },
            ],
          },
        ],
      },
    ],
    ['a EQ "x\\"\\u0041y" AND active eq True', { op: "and", all: [eq("a", 'x"Ay'), eq("active", true)] }],
    ["a eq null", eq("a", null)],
    ["a gt 3.5", { op: "gt", path: "a", value: 3.5 }],
    // Entra ID's form, which the grammar of the RFC has not.
    [
      'emails[type eq "work"].value eq "a@b"',
      { op: "some", path: "emails", filter: { op: "and", all: [eq("type", "work"), eq("value", "a@b")] } },
    ],
  ] as const)
    expect(parseFilter(text), text).toEqual(meant);
});

it("what is no filter, and what is too much of one, is refused and takes no time", () => {
  const many = (count: number, join: string) => Array.from({ length: count }, () => "a pr").join(join);
  for (const text of [
    "",
    "userName",
    "userName eq",
    "userName eq bjensen",
    'userName is "x"',
    'userName eq "x',
    'userName eq "x" and',
    '(userName eq "x"',
    'userName eq "x")',
    'emails[type eq "work"',
    'a eq "x" b eq "y"',
    "not a pr",
    "a eq [1]",
    "a eq {}",
    'a eq "\\u0000"',
    `a eq "${"x".repeat(5000)}"`,
    `${"(".repeat(40)}a pr${")".repeat(40)}`,
    many(101, " or "),
    `${"(a pr or b pr) and ".repeat(60)}c pr`,
  ])
    expect(
      codeOf(() => parseFilter(text)),
      text,
    ).toBe("invalid_filter");
  expect(codeOf(() => parseFilter(many(100, " or ")))).toBe("read");
});

it("the path of an operation is an attribute, with a filter and a part or without", () => {
  expect(parsePath("members")).toEqual({ path: "members" });
  expect(parsePath('members[value eq "2819"]')).toEqual({
    path: "members",
    filter: { op: "eq", path: "value", value: "2819" },
  });
  expect(parsePath('addresses[type eq "work"].streetAddress')).toMatchObject({ part: "streetAddress" });
  for (const text of [
    "",
    "a b",
    "emails[type eq work]",
    'emails[type eq "work"]value',
    'emails[type eq "work"].',
    "a]",
  ])
    expect(
      codeOf(() => parsePath(text)),
      text,
    ).toBe("invalid_path");
});
