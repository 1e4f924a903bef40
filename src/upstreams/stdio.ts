import { isAbsolute } from "node:path";
import { z } from "zod";
import { Hidden, Problem } from "../base/index.ts";
import { ConfigurationFault } from "./configuration-fault.ts";
import type { DefinitionBody } from "./definition.ts";

const variableName = z
  .string()
  .max(128)
  .regex(/^[A-Za-z_][A-Za-z0-9_]*$/, "is no name of an environment variable");
// No operating system takes a NUL in a command line.
const plain = z.string().refine((text) => !text.includes("\0"), "holds a NUL character");

/** How an upstream is started as a program (contract section 7). From the configuration file only. */
export const stdioConfig = z.strictObject({
  command: plain.min(1).max(1024),
  args: z.array(plain.max(8192)).max(200).optional(),
  /** Names of variables of the gateway's environment that the program is given. */
  envs: z.array(variableName).max(100).optional(),
  /** Variables with their values, as desktop clients write them. */
  env: z.record(variableName, plain.max(32_768)).optional(),
});
export type StdioConfig = z.output<typeof stdioConfig>;

/** What is stored and shown of it. Arguments and values often hold secrets; the file has them. */
export interface StdioSettings {
  command: string;
  /** Names of all variables beside the few that every program gets. */
  envs: readonly string[];
}

/** Everything a program is started with; nothing of the gateway's own environment comes in beside. */
export interface StdioCommand {
  command: string;
  /** Often with a token among them. */
  args: readonly Hidden[];
  env: Readonly<Record<string, Hidden>>;
  /** Names of the variables whose values count as secrets. */
  secrets: readonly string[];
}

/** What every program needs to find itself; their values are no secrets. */
const base = ["PATH", "HOME", "LANG"] as const;

/** Attack case AD-08: variables that load code into whatever is started, and those of the gateway itself. */
const refused =
  /^(?:POSTERN_.*|PATH|LD_.*|DYLD_.*|NODE_OPTIONS|BASH_ENV|ENV|IFS|PYTHONSTARTUP|PYTHONHOME|PERL5OPT|PERL5LIB|RUBYOPT|JAVA_TOOL_OPTIONS|GIT_SSH|GIT_SSH_COMMAND)$/;

/** How to start every entry of the file that is a program, by name. Throws `ConfigurationFault`. */
export function stdioCommands(
  entries: readonly DefinitionBody[],
  variables: Readonly<Record<string, string | undefined>>,
): ReadonlyMap<string, StdioCommand> {
  const commands = new Map<string, StdioCommand>();
  for (const { name, connection_type, stdio_config, disabled } of entries) {
    if (connection_type !== "stdio" || !stdio_config || disabled) continue;
    commands.set(name, stdioCommand(stdio_config, variables, `The MCP server ${name}`));
  }
  return commands;
}

/** What is kept of an upstream that is a program. Throws `Problem` for what has no meaning there. */
export function checkStdio(body: DefinitionBody): StdioSettings {
  const { stdio_config: config } = body;
  if (!config) throw refusal("invalid_request", "stdio_config is missing. Give the command.", "stdio_config");
  if ((body.auth_type ?? "none") !== "none") {
    const message =
      "A program started over stdio is one for everybody and has no headers, so auth_type is none. Give it a secret in stdio_config.envs, or run it over http to use credentials per person.";
    throw refusal("unsupported_auth_type", message, "auth_type");
  }
  for (const field of ["connection_string", "headers", "allowed_extra_headers"] as const) {
    if (Object.keys(body[field] ?? {}).length === 0) continue;
    throw refusal("unsupported_field", `${field} has no meaning for a program. Leave it out.`, field);
  }
  return { command: config.command, envs: [...variablesOf(config)] };
}

function refusal(code: string, message: string, param: string): Problem {
  return new Problem("invalid", code, message, { param });
}

function variablesOf({ envs = [], env = {} }: StdioConfig): Set<string> {
  return new Set([...envs, ...Object.keys(env)]);
}

/**
 * The command of one entry of the file, with the values of its variables. `where`: what the operator is told it is.
 * Throws `ConfigurationFault`.
 */
function stdioCommand(
  config: StdioConfig,
  variables: Readonly<Record<string, string | undefined>>,
  where: string,
): StdioCommand {
  const { command } = config;
  // The program runs in a folder of its own, where a relative path means nothing.
  if (command.includes("/") && !isAbsolute(command))
    throw new ConfigurationFault(`${where}: give command as an absolute path, or as a name found in PATH.`);
  const env: Record<string, Hidden> = {};
  for (const name of base) if (variables[name] !== undefined) env[name] = new Hidden(variables[name]);
  const secrets = [...variablesOf(config)];
  for (const name of secrets) {
    if (refused.test(name))
      throw new ConfigurationFault(`${where}: the variable ${name} is not passed on. Leave it out.`);
    const value = config.env?.[name] ?? variables[name];
    if (value === undefined)
      throw new ConfigurationFault(
        `${where}: the environment variable ${name} is not set. Set it or take it out of envs.`,
      );
    env[name] = new Hidden(value);
  }
  return { command, args: (config.args ?? []).map((arg) => new Hidden(arg)), env, secrets };
}
