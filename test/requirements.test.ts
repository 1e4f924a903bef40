import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseAst } from "vite";
import { expect, it } from "vitest";
import { requirements } from "./requirements/index.ts";

const ROOT = join(import.meta.dirname, "..");
/** What an id looks like: an attack case, a rule against attacks, a section of an RFC, a line of the wire contract. */
const ID =
  /\b(?:(?:AZ|PK|CB|TK|ID|RG|UP|MC|ST|AD|AV)-\d{2}|R\d{1,2}|RFC\d{4}-[\d.]*\d|budget-[a-z0-9-]+|contract-\d+-[a-z0-9-]+)\b/g;
/** What runs a test, under the names the suites use; `describe` gives its id to the tests inside. */
const RUNNERS = new Set(["it", "test", "describe", "onBothDatabases"]);

interface Node {
  type: string;
  [member: string]: unknown;
}

const isNode = (value: unknown): value is Node =>
  typeof value === "object" && value !== null && "type" in value;

/** `it` of `it(…)`, `it.each(…)(…)`, `test.each([…])(…)`; undefined for what is skipped or still to be written. */
function runner(callee: Node): string | undefined {
  if (callee.type === "Identifier") return String(callee.name);
  if (callee.type === "CallExpression") return runner(callee.callee as Node);
  if (callee.type !== "MemberExpression") return undefined;
  const property = String((callee.property as Node).name);
  return property === "skip" || property === "todo" ? undefined : runner(callee.object as Node);
}

function text(node: Node | undefined): string | undefined {
  if (node?.type === "Literal" && typeof node.value === "string") return node.value;
  if (node?.type !== "TemplateLiteral") return undefined;
  return (node.quasis as { value: { cooked: string } }[]).map((part) => part.value.cooked).join("…");
}

function titlesOf(node: unknown, titles: string[]): string[] {
  if (Array.isArray(node)) for (const item of node) titlesOf(item, titles);
  else if (isNode(node)) {
    const title = node.type === "CallExpression" ? text((node.arguments as Node[])[0]) : undefined;
    if (title !== undefined && RUNNERS.has(runner(node.callee as Node) ?? "")) titles.push(title);
    for (const value of Object.values(node)) if (typeof value === "object") titlesOf(value, titles);
  }
  return titles;
}

const titles = ["src", "test", "bench"].flatMap((folder) =>
  readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
    .filter((path) => /\.(test|suite)\.ts$/.test(path) && path !== "requirements.test.ts")
    .flatMap((path) =>
      titlesOf(parseAst(readFileSync(join(ROOT, folder, path), "utf8"), { lang: "ts" }).body, []),
    ),
);
/** A title may also cite a section as comments do: `RFC 8252 §7.3`. */
const idsOf = (title: string) => title.replaceAll(/\bRFC (\d{4}) §/g, "RFC$1-").match(ID) ?? [];
const cited = new Set(titles.flatMap(idsOf));

it("every requirement is proved by a test", () => {
  const proved = ({ id, title }: (typeof requirements)[number]) =>
    cited.has(id) || (title !== undefined && titles.includes(title));
  expect(requirements.filter((requirement) => !proved(requirement)).map(({ id }) => id)).toEqual([]);
});

it("every id that a test cites is a requirement", () => {
  const known = new Set(requirements.map(({ id }) => id));
  expect([...cited].filter((id) => !known.has(id)).toSorted()).toEqual([]);
});

it("ids are well formed, and each is there once", () => {
  const ids = requirements.map(({ id }) => id);
  expect(ids.filter((id) => id.match(ID)?.[0] !== id)).toEqual([]);
  expect(ids.filter((id, index) => ids.indexOf(id) !== index)).toEqual([]);
});
