import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseAst } from "vite";
import { expect, it } from "vitest";
import { problemStatus } from "../src/base/index.ts";
import { consentErrors } from "../src/issuer/consent-errors.ts";
import { code as rpcCodes } from "../src/mcp/refusal.ts";

const SRC = join(import.meta.dirname, "../src");
const PAGE = readFileSync(join(import.meta.dirname, "../docs/guide/errors.md"), "utf8");

/** Loosely typed: the parser's own node types are a union of everything. */
interface Node {
  type: string;
  [member: string]: unknown;
}

/** Where a `Problem` is made: its arguments, and the nodes around it, outermost first. */
interface Site {
  path: string;
  args: Node[];
  around: Node[];
}

interface Call {
  path: string;
  name: string;
  args: Node[];
}

const isNode = (value: unknown): value is Node =>
  typeof value === "object" && value !== null && "type" in value;

function visit(node: unknown, around: Node[], seen: (node: Node, around: Node[]) => void): void {
  if (Array.isArray(node)) {
    for (const item of node) visit(item, around, seen);
    return;
  }
  if (!isNode(node)) return;
  seen(node, around);
  const inside = [...around, node];
  for (const value of Object.values(node)) if (typeof value === "object") visit(value, inside, seen);
}

const files = readdirSync(SRC, { recursive: true, encoding: "utf8" }).filter(
  (path) => path.endsWith(".ts") && !path.endsWith(".test.ts") && !path.includes(".suite."),
);
const sites: Site[] = [];
const calls: Call[] = [];
for (const path of files) {
  visit(parseAst(readFileSync(join(SRC, path), "utf8"), { lang: "ts" }).body, [], (node, around) => {
    const name = (node.callee as Node | undefined)?.name as string | undefined;
    if (name === undefined) return;
    const args = node.arguments as Node[];
    if (node.type === "NewExpression" && name === "Problem") sites.push({ path, args, around });
    else if (node.type === "CallExpression") calls.push({ path, name, args });
  });
}

const literal = (node: Node | undefined): string[] =>
  node?.type === "Literal" && typeof node.value === "string" ? [node.value] : [];

/** The words an argument can be: a literal, either side of a choice, what callers hand in, or the `case` it stands in. */
function words(node: Node | undefined, { path, around }: Site): string[] {
  if (node?.type === "ConditionalExpression")
    return [...literal(node.consequent as Node), ...literal(node.alternate as Node)];
  if (node?.type !== "Identifier") return literal(node);
  const enclosing = around.findLast((outer) => outer.type === "FunctionDeclaration");
  const position = ((enclosing?.params as Node[] | undefined) ?? []).findIndex(
    (param) => param.name === node.name,
  );
  if (position < 0)
    return around.flatMap((outer) => (outer.type === "SwitchCase" ? literal(outer.test as Node) : []));
  const { name } = enclosing!.id as Node;
  return calls
    .filter((call) => call.name === name && dirname(call.path) === dirname(path))
    .flatMap((call) => literal(call.args[position]));
}

/** Codes that are handed on from something else that has one: the test cannot see them, so they are named here. */
const handedOn: Record<string, string[]> = {
  // The refusals of consent-flow.ts, as 401.
  "issuer/consent-gate.ts": ["unknown_flow", "flow_expired", "flow_finished"],
  // What was recorded as the upstream's `last_failure`.
  "upstreams/pending.ts": ["tool_list_failed", "shared_credential_lost"],
  // RelayFailure, as far as a call that is waited for can meet it.
  "mcp/tool-execute.ts": [
    "upstream_address_refused",
    "upstream_timeout",
    "upstream_unreachable",
    "upstream_protocol",
    "upstream_too_large",
    "upstream_refused",
    "credential_unavailable",
    "client_refused",
  ],
  // The same, as far as listing tools can meet it.
  "relay/list-tools.ts": [
    "upstream_timeout",
    "upstream_unreachable",
    "upstream_protocol",
    "upstream_too_large",
    "upstream_refused",
    "credential_unavailable",
    "client_refused",
  ],
};

/** Every `error.code` of the source with the statuses it comes with. */
function codesOfSource(): Map<string, Set<number>> {
  const codes = new Map<string, Set<number>>(
    Object.values(handedOn)
      .flat()
      .map((code) => [code, new Set()]),
  );
  for (const site of sites) {
    const [kind] = literal(site.args[0]) as (keyof typeof problemStatus)[];
    for (const code of words(site.args[1], site)) {
      if (!codes.has(code)) codes.set(code, new Set());
      if (kind !== undefined) codes.get(code)!.add(problemStatus[kind]);
    }
  }
  return codes;
}

/** The rows of the table under a heading: the word in the first cell, and the other cells. */
function table(heading: string): Map<string, string[]> {
  const section = PAGE.split(/^## /m).find((part) => part.startsWith(`${heading}\n`)) ?? "";
  const rows = [...section.matchAll(/^\| `([^`]+)` \|(.*)\|$/gm)];
  return new Map(rows.map(([, word, rest]) => [word!, rest!.split("|").map((cell) => cell.trim())]));
}

it("docs/guide/errors.md has every error.code of the source, and no other", () => {
  expect([...table("Error codes").keys()].toSorted()).toEqual([...codesOfSource().keys()].toSorted());
});

it("each code stands there with its statuses", () => {
  const documented = table("Error codes");
  for (const [code, statuses] of codesOfSource()) {
    const named = (documented.get(code)?.[0] ?? "").split(", ").map(Number);
    expect(named, code).toEqual(expect.arrayContaining([...statuses]));
  }
});

it("codes handed on from elsewhere are named in this test", () => {
  const unseen = sites.filter((site) => words(site.args[1], site).length === 0).map(({ path }) => path);
  expect([...new Set(unseen)].toSorted()).toEqual(Object.keys(handedOn).toSorted());
});

it("codes are snake_case words", () => {
  expect([...codesOfSource().keys()].filter((code) => !/^[a-z]+(_[a-z0-9]+)*$/.test(code))).toEqual([]);
});

it("the words of the consent page's address are there", () => {
  expect([...table("On the consent page").keys()]).toEqual(
    expect.arrayContaining(Object.keys(consentErrors)),
  );
});

it("the JSON-RPC codes are there, and no other", () => {
  const documented = [...table("JSON-RPC errors on /mcp").keys()].map(Number);
  expect(documented.toSorted()).toEqual(Object.values(rpcCodes).toSorted());
});
