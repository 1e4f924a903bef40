import { parseArgs } from "node:util";
import { BadConfiguration } from "./config-problem.ts";

export type Command = { name: "serve"; config?: string } | { name: "help" } | { name: "version" };

export const usage = `Usage: postern [serve] [--config <file>]

  serve              Serve the gateway (the default)
  --config <file>    The configuration file (default: POSTERN_CONFIG, then ./postern.config.json if it exists)
  --help, --version

Settings come from the environment (POSTERN_…) and the file; docs/guide/configuration.md lists them.`;

/** What the command line asks for. Throws `BadConfiguration` for anything unknown. */
export function parseCommand(args: string[]): Command {
  let parsed: ReturnType<typeof parse>;
  try {
    parsed = parse(args);
  } catch (error) {
    throw new BadConfiguration(`${(error as Error).message}\n\n${usage}`);
  }
  if (parsed.values.help) return { name: "help" };
  if (parsed.values.version) return { name: "version" };
  const [command = "serve", ...rest] = parsed.positionals;
  if (command !== "serve" || rest.length > 0)
    throw new BadConfiguration(`Unknown command: ${parsed.positionals.join(" ")}\n\n${usage}`);
  return { name: "serve", config: parsed.values.config };
}

function parse(args: string[]) {
  return parseArgs({
    args,
    allowPositionals: true,
    options: { config: { type: "string" }, help: { type: "boolean" }, version: { type: "boolean" } },
  });
}
