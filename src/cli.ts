import type { Command } from "./commands/command.ts";
import { BadConfiguration, nearest } from "./config-problem.ts";

interface Listed {
  summary: string;
  /** Loaded when it is asked for, so that `postern help` starts no gateway. */
  load(): Promise<{ command: Command }>;
}

const commands: Record<string, Listed> = {
  serve: { summary: "Serve the gateway (the default)", load: () => import("./commands/serve.ts") },
  backup: {
    summary: "Write everything in the database to one file, while the gateway serves",
    load: () => import("./commands/backup.ts"),
  },
  restore: {
    summary: "Make a database from such a file, SQLite or Postgres",
    load: () => import("./commands/restore.ts"),
  },
  keys: {
    summary: "List, rotate or verify the keys that stored secrets are sealed with",
    load: () => import("./commands/keys.ts"),
  },
};

/** What the command line asks for. */
export type Asked =
  | { ask: "run"; name: string; args: string[] }
  | { ask: "help"; of?: string }
  | { ask: "version" };

/** Throws `BadConfiguration` for an unknown command. Options before any command are those of `serve`. */
export function parseCommandLine(args: string[]): Asked {
  const [first, ...rest] = args;
  if (first === "--version" || first === "-v") return { ask: "version" };
  if (first === "--help" || first === "-h") return { ask: "help" };
  if (first === "help") return { ask: "help", of: rest[0] === undefined ? undefined : known(rest[0]) };
  const name = first === undefined || first.startsWith("-") ? "serve" : known(first);
  const own = name === first ? rest : args;
  return own.includes("--help") || own.includes("-h")
    ? { ask: "help", of: name }
    : { ask: "run", name, args: own };
}

/** The text of `postern help`, or of one command. */
export async function helpText(of?: string): Promise<string> {
  return of === undefined ? overview() : (await commands[of]!.load()).command.usage;
}

export async function runCommand(name: string, args: string[]): Promise<void> {
  const { command } = await commands[name]!.load();
  await command.run(args);
}

function known(word: string): string {
  if (Object.hasOwn(commands, word)) return word;
  const near = nearest(word, Object.keys(commands));
  throw new BadConfiguration(
    `Unknown command: ${word}.${near ? ` Did you mean ${near}?` : ""}\n\n${overview()}`,
  );
}

function overview(): string {
  const lines = Object.entries({ ...commands, help: { summary: "This, or the usage of one command" } });
  const width = Math.max(...lines.map(([name]) => name.length), "--version".length) + 4;
  return `Usage: postern <command> [options]

${lines.map(([name, { summary }]) => `  ${name.padEnd(width)}${summary}`).join("\n")}
  ${"--version".padEnd(width)}The version

postern help <command> says more. Settings come from the environment (POSTERN_…) and a file; docs/guide/configuration.md
lists them.`;
}
