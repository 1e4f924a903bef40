import { type ParseArgsConfig, type ParseArgsOptionsConfig, parseArgs } from "node:util";
import { BadConfiguration, nearest } from "../config-problem.ts";

type Values<O extends ParseArgsOptionsConfig> = ReturnType<
  typeof parseArgs<{ options: O; allowPositionals: true; args: string[] }>
>["values"];

interface Expected<O extends ParseArgsOptionsConfig> {
  options: O;
  /** The names of the positional arguments, all of them required. */
  positionals?: readonly string[];
  usage: string;
}

/** Reads what stands after a command's name. Throws `BadConfiguration`, which names the fault and prints the usage. */
export function readArguments<O extends ParseArgsOptionsConfig>(
  args: string[],
  { options, positionals = [], usage }: Expected<O>,
): { values: Values<O>; positionals: string[] } {
  const fault = (sentence: string) => new BadConfiguration(`${sentence}\n\n${usage}`);
  let parsed: ReturnType<typeof parseArgs<ParseArgsConfig & { options: O }>>;
  try {
    parsed = parseArgs({ args, options, allowPositionals: true });
  } catch (error) {
    throw fault(describe(error as Error, args, Object.keys(options)));
  }
  const given = parsed.positionals;
  const missing = positionals[given.length];
  if (missing !== undefined) throw fault(`Missing: <${missing}>.`);
  if (given.length > positionals.length) throw fault(`One argument too many: ${given[positionals.length]}.`);
  return { values: parsed.values as Values<O>, positionals: given };
}

function describe(error: Error & { code?: string }, args: string[], known: string[]): string {
  if (error.code !== "ERR_PARSE_ARGS_UNKNOWN_OPTION") return error.message;
  const unknown = args.find((arg) => arg.startsWith("-") && !known.includes(optionName(arg))) ?? "";
  const near = nearest(optionName(unknown), known);
  return `Unknown option: ${unknown}.${near ? ` Did you mean --${near}?` : ""}`;
}

function optionName(arg: string): string {
  return arg.replace(/^-+/, "").replace(/=.*$/s, "");
}
