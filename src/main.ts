#!/usr/bin/env node
import { helpText, parseCommandLine, runCommand } from "./cli.ts";
import { CommandFailed, EXIT } from "./commands/command.ts";
import { sentence } from "./commands/sentence.ts";
import { BadConfiguration } from "./config-problem.ts";
import { version } from "./version.ts";

/** Errors by name whose message is for the operator; their classes would load every part just to tell. */
const FOR_OPERATOR = new Set([BadConfiguration.name, "ConfigurationFault", "WrongKey", "NewerSchema"]);

// ST-13: who can signal this process need not see its memory. A listener keeps Node from opening its debugger, and what an
// operator has Node report about a crash tells no environment, where keys may stand.
process.on("SIGUSR1", () => {});
process.report.excludeEnv = true;

try {
  await main();
} catch (error) {
  const { name, message } = error as Error;
  const told = FOR_OPERATOR.has(name);
  if (told || error instanceof CommandFailed) console.error(message);
  else console.error(`Postern could not go on: ${sentence(error)}`);
  process.exit(told ? EXIT.badConfiguration : EXIT.failed);
}

async function main(): Promise<void> {
  const asked = parseCommandLine(process.argv.slice(2));
  if (asked.ask === "version") console.log(version());
  else if (asked.ask === "help") console.log(await helpText(asked.of));
  else await runCommand(asked.name, asked.args);
}
