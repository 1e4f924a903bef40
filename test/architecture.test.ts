import { readdirSync, readFileSync, statSync } from "node:fs";
import { join, relative } from "node:path";
import { parseAst } from "vite";
import { describe, expect, it } from "vitest";

const SRC = join(import.meta.dirname, "../src");

/** design.md section 3: a folder imports only folders on earlier lines, and only through their door. */
const levels: string[][] = [
  ["base"],
  ["db", "http"],
  ["keys", "jwt"],
  ["identity"],
  ["audit", "sso", "scim"],
  ["upstreams"],
  ["access", "vault"],
  ["connect", "relay", "issuer"],
  ["mcp"],
  ["front", "connections"],
];
/** The process itself; these may import every door. */
const outside = [
  "main.ts",
  "app.ts",
  "app-parts.ts",
  "app-links.ts",
  "app-routes.ts",
  "config.ts",
  "config-schema.ts",
  "config-problem.ts",
  "encryption-key.ts",
  "jobs.ts",
  "cli.ts",
  "listen.ts",
  "version.ts",
  "sealed-database.ts",
];
/** Stands outside as those files do: one file for each command of the command line. */
const COMMANDS = "commands";

const MAX_LINES = 400;
const bannedNames = ["utils", "helpers", "manager", "service", "common", "types"];
/** What reads the outside world, and the only file that may. */
const bans: [pattern: RegExp, allowed: string, what: string][] = [
  [/\bprocess\.env\b/, "config.ts", "process.env"],
  [/\bDate\.now\b/, "base/world.ts", "Date.now"],
  [/\bnew Date\(\)/, "base/world.ts", "new Date()"],
  [/\bMath\.random\b/, "base/world.ts", "Math.random"],
];

interface Source {
  path: string;
  text: string;
  imports: string[];
}

function sources(): Source[] {
  return readdirSync(SRC, { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".ts") && !path.endsWith(".test.ts") && !path.includes(".suite."))
    .filter((path) => statSync(join(SRC, path)).isFile())
    .map((path) => {
      const text = readFileSync(join(SRC, path), "utf8");
      return { path, text, imports: importsOf(text) };
    });
}

function importsOf(text: string): string[] {
  const ast = parseAst(text, { lang: "ts" });
  return ast.body.flatMap((node) =>
    "source" in node && node.source && typeof node.source === "object"
      ? [String((node.source as { value: string }).value)]
      : [],
  );
}

const levelOf = (folder: string) => levels.findIndex((line) => line.includes(folder));
const folderOf = (path: string) => (path.includes("/") ? path.slice(0, path.indexOf("/")) : "");

function wrongImport(source: Source, specifier: string): string | undefined {
  if (!specifier.startsWith(".")) return undefined;
  const target = relative(SRC, join(SRC, source.path, "..", specifier));
  const [from, to] = [folderOf(source.path), folderOf(target)].map((name) => (name === COMMANDS ? "" : name));
  if (from === undefined || to === undefined || from === to) return undefined;
  if (target.startsWith("..")) return `${source.path} leaves src: ${specifier}`;
  if (to === "") return from === "" ? undefined : `${source.path} imports ${target}, which stands outside`;
  if (target !== `${to}/index.ts`) return `${source.path} goes past the door of ${to}: ${specifier}`;
  if (from !== "" && levelOf(to) >= levelOf(from)) return `${source.path} (${from}) may not import ${to}`;
  return undefined;
}

/** Calls of the global `fetch`: an identifier that the file did not import. */
function callsGlobalFetch(text: string): boolean {
  if (/import \{[^}]*\bfetch\b[^}]*\} from/.test(text)) return false;
  let found = false;
  const visit = (node: unknown): void => {
    if (Array.isArray(node)) {
      for (const item of node) visit(item);
      return;
    }
    if (typeof node !== "object" || node === null) return;
    const { type, callee } = node as { type?: string; callee?: { type: string; name?: string } };
    if (type === "CallExpression" && callee?.type === "Identifier" && callee.name === "fetch") found = true;
    for (const value of Object.values(node)) visit(value);
  };
  visit(parseAst(text, { lang: "ts" }).body);
  return found;
}

describe("architecture", () => {
  const all = sources();

  it("knows every folder and every file outside the folders", () => {
    const folders = new Set(all.map(({ path }) => folderOf(path)).filter((folder) => folder !== ""));
    folders.delete(COMMANDS);
    expect([...folders].filter((folder) => levelOf(folder) < 0)).toEqual([]);
    expect(
      all.map(({ path }) => path).filter((path) => folderOf(path) === "" && !outside.includes(path)),
    ).toEqual([]);
  });

  it("imports go one way, and only through doors", () => {
    expect(
      all.flatMap((source) => source.imports.flatMap((specifier) => wrongImport(source, specifier) ?? [])),
    ).toEqual([]);
  });

  it("every folder has a door that opens with a paragraph and only re-exports", () => {
    for (const folder of levels.flat()) {
      const text = readFileSync(join(SRC, folder, "index.ts"), "utf8");
      expect(text.startsWith("/**\n"), `${folder}/index.ts begins with a paragraph`).toBe(true);
      const statements = parseAst(text, { lang: "ts" }).body.map((node) => node.type);
      expect(
        statements.filter((type) => !/^Export(Named|All)Declaration$/.test(type)),
        folder,
      ).toEqual([]);
    }
  });

  it(`no file is longer than ${MAX_LINES} lines`, () => {
    expect(all.filter(({ text }) => text.split("\n").length > MAX_LINES).map(({ path }) => path)).toEqual([]);
  });

  it("files are named after what they hold", () => {
    const named = (path: string) => bannedNames.some((name) => path.split(/[/.-]/).includes(name));
    expect(all.map(({ path }) => path).filter(named)).toEqual([]);
  });

  it("the outside world is read in one place", () => {
    const found = all.flatMap(({ path, text }) => {
      const code = text.replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, "");
      return bans
        .filter(([pattern, allowed]) => path !== allowed && pattern.test(code))
        .map(([, , what]) => `${path}: ${what}`);
    });
    expect(found).toEqual([]);
    expect(all.filter(({ text }) => callsGlobalFetch(text)).map(({ path }) => path)).toEqual([]);
  });
});
