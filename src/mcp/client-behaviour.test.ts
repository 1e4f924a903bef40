import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { ClientBehaviours, clientBehaviourSchema } from "./client-behaviour.ts";

const file = new URL("./client-behaviour.json", import.meta.url);
const table = clientBehaviourSchema.parse(JSON.parse(readFileSync(file, "utf8")));
const behaviours = ClientBehaviours.shipped();

test("the table that is shipped fits its schema, and every entry can be the answer to something", () => {
  expect(table.length).toBeGreaterThan(10);
  expect(new Set(table.map(({ title }) => title)).size).toBe(table.length);
});

test("docs/guide/clients.md shows each entry with its word and its month, and no other", () => {
  const page = readFileSync(new URL("../../docs/guide/clients.md", import.meta.url), "utf8");
  const rows = [...page.matchAll(/^\| (.+?) \| (works|dropped|absent|unknown)\b.* \| (\d{4}-\d{2}) \|$/gm)];
  expect(rows.map(([, title, word, month]) => [title, word, month])).toEqual(
    table.map(({ title, url_elicitation, date }) => [title, url_elicitation, date.slice(0, 7)]),
  );
});

test.each([
  ["claude-code", "2.1.87", "dropped"],
  ["claude-code", "2.1.107", "dropped"],
  ["claude-code", "2.1.108", "absent"],
  ["claude-code", "2.1.261", "absent"],
  ["claude-code", "10.0", "absent"],
  // A version that says nothing gets the careful answer.
  ["claude-code", undefined, "dropped"],
  ["claude-code", "dev", "dropped"],
  ["Visual Studio Code", "1.110.0", "works"],
  ["Visual Studio Code - Insiders", "1.111.0-insider", "works"],
  ["Visual-Studio-Code", "1.110.0", "works"],
  ["inspector-client", "0.21.2", "absent"],
  ["inspector-client", "2.12.0", undefined],
  ["claude-codex", "1.0.0", undefined],
  ["my claude-code", "2.1.87", undefined],
  ["x".repeat(1_000_000), "1", undefined],
])("%.40s %s is known as %s", (name, version, expected) => {
  expect(behaviours.of({ name, version })?.url_elicitation).toBe(expected);
});

test("what is no name is nobody", () => {
  for (const client of [undefined, {}, { name: 5 }, { name: null }, { name: ["claude-code"] }])
    expect(behaviours.of(client)).toBeUndefined();
});

test.each([
  ["no pattern from the start", { name: "claude" }],
  ["a broken pattern", { name: "^(" }],
  ["another word", { url_elicitation: "maybe" }],
  ["no source", { sources: [] }],
  ["a source that is no address", { sources: ["somebody said so"] }],
  ["no date", { date: "recently" }],
  ["an unknown member", { works: true }],
])("a table with %s is refused", (_name, change) => {
  expect(clientBehaviourSchema.safeParse([{ ...table[0], ...change }]).success).toBe(false);
});
