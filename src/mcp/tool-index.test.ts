import { expect, test } from "vitest";
import type { ToolDefinition, Upstream } from "../upstreams/index.ts";
import type { Entry } from "./catalog.ts";
import { ToolIndex } from "./tool-index.ts";

const upstream = { name: "acme" } as Upstream;

function entry(tool: ToolDefinition): Entry {
  return { name: tool.name, upstream, tool: tool.name, paramHeaders: [], modern: tool, legacy: tool };
}

const tools: ToolDefinition[] = [
  {
    name: "git-create_issue",
    description: "Opens an issue in a repository",
    inputSchema: { type: "object" },
  },
  { name: "git-list_issues", description: "Lists the issues of a repository" },
  {
    name: "git-list_branches",
    description: "Lists branches. Says nothing of an issue, an issue or an issue.",
  },
  { name: "mail-send", title: "Send mail", description: "Sends a message to somebody" },
  {
    name: "map-find",
    description: "Finds places",
    inputSchema: {
      type: "object",
      properties: {
        latitude: { type: "number" },
        near: { type: "object", properties: { landmark: {} } },
        stops: { type: "array", items: { properties: { waypoint: {} } } },
      },
    },
  },
].toSorted((a, b) => (a.name < b.name ? -1 : 1));

const index = new ToolIndex(tools.map(entry));
const everything = () => true;
const find = (query: string, usable: (entry: Entry) => boolean = everything) =>
  index.search(query, usable).map(({ name }) => name);

test("names count more than descriptions, however often those repeat a word", () => {
  expect(find("issue")).toEqual(["git-create_issue", "git-list_issues", "git-list_branches"]);
  expect(find("create an issue")[0]).toBe("git-create_issue");
  expect(find("list issues")[0]).toBe("git-list_issues");
});

test("titles, descriptions and names of parameters are found, at any depth", () => {
  expect(find("mail")).toEqual(["mail-send"]);
  expect(find("somebody")).toEqual(["mail-send"]);
  for (const word of ["latitude", "landmark", "waypoint"]) expect(find(word), word).toEqual(["map-find"]);
});

test("the beginning of a word is enough, from three letters on, and counts less than the word", () => {
  expect(find("repo").toSorted()).toEqual(["git-create_issue", "git-list_issues"]);
  expect(find("re")).toEqual([]);
  const both = new ToolIndex([
    entry({ name: "one", description: "authenticate" }),
    entry({ name: "two", description: "auth" }),
  ]);
  expect(both.search("auth", everything).map(({ name }) => name)).toEqual(["two", "one"]);
});

test("without words everything that is usable comes in the order of names", () => {
  expect(find("")).toEqual(tools.map(({ name }) => name));
  expect(find("the!", ({ name }) => name.startsWith("git-"))).toHaveLength(3);
  expect(find("zzz")).toEqual([]);
});

test("ID-30 what is not usable is not found, and changes neither order nor place of what is", () => {
  const own = ({ name }: Entry) => !name.startsWith("git-");
  const few = new ToolIndex(tools.filter(({ name }) => !name.startsWith("git-")).map(entry));
  for (const query of ["send message issue", "places find", "list", "mail latitude"])
    expect(find(query, own), query).toEqual(few.search(query, everything).map(({ name }) => name));
});

test("equals come in the order of names, whatever the order of calls", () => {
  const same = ["c", "a", "b"].toSorted().map((name) => entry({ name, description: "one thing" }));
  const found = new ToolIndex(same).search("thing", everything);
  expect(found.map(({ name }) => name)).toEqual(["a", "b", "c"]);
});

test("a huge definition, a deep schema and a long question end", () => {
  let schema: object = { type: "object" };
  for (let depth = 0; depth < 2_000; depth++)
    schema = { type: "object", properties: { [`p${depth}`]: schema } };
  const huge = entry({ name: "huge", description: "word ".repeat(1_000_000), inputSchema: schema });
  const odd = entry({ name: "odd", description: 7, title: {}, inputSchema: [], annotations: "x" });
  const hard = new ToolIndex([huge, odd]);
  expect(hard.search("word ".repeat(100_000), everything)).toEqual([huge]);
  expect(hard.search("odd", everything)).toEqual([odd]);
});
