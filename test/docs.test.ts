import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { expect, it } from "vitest";
import type { ZodType } from "zod";
import { loadConfig } from "../src/config.ts";
import { environmentSchema, fileSchema } from "../src/config-schema.ts";

const ROOT = join(import.meta.dirname, "..");
const read = (path: string) => readFileSync(join(ROOT, path), "utf8");
const page = read("docs/guide/configuration.md");

const pages = [
  ...readdirSync(ROOT).filter((name) => name.endsWith(".md")),
  ...readdirSync(join(ROOT, "docs"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".md"))
    .map((name) => join("docs", name)),
];

interface Definition {
  shape?: Record<string, ZodType>;
  element?: ZodType;
  valueType?: ZodType;
  innerType?: ZodType;
  in?: ZodType;
}

/** What a schema is beneath optional, default and transforms; undefined for a key that has no effect here. */
function bare(schema: ZodType): Definition | undefined {
  if ((schema.meta() as { ignored?: boolean } | undefined)?.ignored) return undefined;
  const { def } = schema as unknown as { def: Definition };
  const inner = def.shape ? undefined : (def.innerType ?? def.in);
  return inner ? bare(inner) : def;
}

/** Every object of the file by its path, with the keys that do something; and the keys that do nothing. */
function keysOf(schema: ZodType, path: string, found: Map<string, string[]>, without: string[]): void {
  const def = bare(schema);
  if (def?.element) keysOf(def.element, `${path}[]`, found, without);
  if (def?.valueType) keysOf(def.valueType, `${path}.<name>`, found, without);
  if (!def?.shape) return;
  found.set(path, []);
  for (const [key, child] of Object.entries(def.shape)) {
    if (bare(child) === undefined) without.push(key);
    else {
      found.get(path)!.push(key);
      keysOf(child, path === "" ? key : `${path}.${key}`, found, without);
    }
  }
}

const section = (start: string) => page.split(/^##+ /m).find((part) => part.startsWith(`${start}\n`)) ?? "";
const rows = (text: string) => [...text.matchAll(/^\| `([^`]+)` \|/gm)].map(([, name]) => name!);

it("configuration.md has every variable of the schema, and no other", () => {
  expect(rows(section("Environment")).toSorted()).toEqual(Object.keys(environmentSchema.shape).toSorted());
});

it("configuration.md has every key of the file, under the object it belongs to, and no other", () => {
  const found = new Map<string, string[]>();
  keysOf(fileSchema, "", found, []);
  for (const [path, keys] of found) {
    if (path.startsWith("limits.")) continue;
    const heading = path === "" ? "The top level" : `\`${path}\``;
    expect(rows(section(heading)).toSorted(), heading).toEqual(keys.toSorted());
  }
  const headings = [...page.matchAll(/^### `(.+)`$/gm)].map(([, path]) => path!);
  expect(headings.filter((path) => !found.has(path))).toEqual([]);
});

it("configuration.md has every key without effect, and no other", () => {
  const without: string[] = [];
  keysOf(fileSchema, "", new Map(), without);
  const named = [...section("Known, without effect").matchAll(/`([a-z_]+)`/g)].map(([, key]) => key!);
  const places = ["mcp", "governance", "client"];
  expect(named.filter((key) => !places.includes(key)).toSorted()).toEqual(without.toSorted());
});

it("every configuration file in the guide is one that starts", () => {
  const folder = mkdtempSync(join(tmpdir(), "postern-docs-"));
  try {
    const examples = pages.flatMap((path) =>
      [...read(path).matchAll(/^```json\n([\s\S]*?)^```/gm)]
        .map(([, text]) => text!)
        .filter((text) => /^\s*"(mcp|governance|client|limits|sso|jwt)": /m.test(text)),
    );
    expect(examples.length).toBeGreaterThan(2);
    for (const [index, text] of examples.entries()) {
      const file = join(folder, `${index}.json`);
      writeFileSync(file, text);
      const names = [...text.matchAll(/"env\.([A-Z_]+)"/g)].map(([, name]) => [
        name,
        "sk-bf-0123456789abcdef",
      ]);
      const key = Buffer.from(Array.from({ length: 32 }, (_, byte) => byte)).toString("base64");
      const environment = { ...Object.fromEntries(names), POSTERN_ENCRYPTION_KEY: key };
      expect(() => loadConfig({ environment, file }), text).not.toThrow();
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});

it("links lead to files that exist", () => {
  const broken = pages.flatMap((path) =>
    [...read(path).matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)]
      .map(([, target]) => target!)
      .filter((target) => !/^[a-z]+:/.test(target) && !existsSync(join(ROOT, dirname(path), target)))
      .map((target) => `${path}: ${target}`),
  );
  expect(broken).toEqual([]);
});

it("source files and folders that are named exist", () => {
  const missing = pages.flatMap((path) =>
    [...read(path).matchAll(/`((?:src|test|bench|demo|docs|scripts)\/[\w./-]*)`/g)]
      .map(([, named]) => named!)
      .filter((named) => !existsSync(join(ROOT, named)))
      .map((named) => `${path}: ${named}`),
  );
  expect(missing).toEqual([]);
});

it("scripts that are named exist", () => {
  const { scripts } = JSON.parse(read("package.json")) as { scripts: Record<string, string> };
  const named = pages.flatMap((path) =>
    [...read(path).matchAll(/npm run ([a-z]+)/g)].map(([, name]) => name!),
  );
  expect(named.filter((name) => !(name in scripts))).toEqual([]);
});

it("pages say nothing of one machine", () => {
  expect(
    pages
      .filter((path) => /(?<!\/scim\/v2)\/(work|home|root|Users)\//.test(read(path)))
      .map((path) => relative(ROOT, path)),
  ).toEqual([]);
});
