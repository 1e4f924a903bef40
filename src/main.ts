#!/usr/bin/env node
import { readFileSync } from "node:fs";
import { openGateway } from "./app.ts";
import { parseCommand, usage } from "./cli.ts";
import { type Config, loadConfig } from "./config.ts";
import { BadConfiguration } from "./config-problem.ts";
import { WrongKey } from "./db/index.ts";
import { clientLine, mcpUrl } from "./front/index.ts";
import { listen } from "./listen.ts";
import { ConfigurationFault } from "./upstreams/index.ts";

/** Contract section 11: 0 stopped cleanly, 2 bad configuration, 1 anything else. */
const EXIT = { clean: 0, failed: 1, badConfiguration: 2 };

try {
  await main();
} catch (error) {
  const forOperator = [BadConfiguration, ConfigurationFault, WrongKey].some((kind) => error instanceof kind);
  console.error(forOperator ? (error as Error).message : `Postern could not start: ${sentence(error)}`);
  process.exit(forOperator ? EXIT.badConfiguration : EXIT.failed);
}

async function main(): Promise<void> {
  const command = parseCommand(process.argv.slice(2));
  if (command.name === "help") console.log(usage);
  else if (command.name === "version") console.log(version());
  else await serve(loadConfig({ file: command.config }));
}

async function serve(config: Config): Promise<void> {
  printSettings(config);
  const gateway = await openGateway(config);
  const server = await listen(gateway, config.host, config.port);
  await gateway.startJobs();
  printWelcome(config, await gateway.setupLink());
  let stopping = false;
  const stop = async () => {
    // npm passes on a signal that the terminal has already sent to the whole group.
    if (stopping) return;
    stopping = true;
    console.log("Stopping: calls in flight may finish.");
    await server.stop();
    await gateway.close();
    process.exit(EXIT.clean);
  };
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.on(signal, () => {
      stop().catch((error) => {
        console.error(`Postern could not stop cleanly: ${sentence(error)}`);
        process.exit(EXIT.failed);
      });
    });
  }
}

function printSettings(config: Config): void {
  console.log(`Postern ${version()}`);
  for (const [name, value] of config.shown) console.log(`  ${name.padEnd(26)}${value}`);
  if (config.ignored.length > 0) {
    console.warn(`These settings are known but have no effect here: ${config.ignored.join(", ")}`);
  }
}

function printWelcome({ settings }: Config, setupLink: string | undefined): void {
  console.log(`\nListening. Open ${settings.baseUrl.origin}/`);
  console.log(`MCP URL:          ${mcpUrl(settings)}`);
  console.log(`For Claude Code:  ${clientLine(settings)}`);
  if (setupLink)
    console.log(
      `\nThere is no administrator yet. Make the first one here (works once, for a day):\n  ${setupLink}`,
    );
}

function version(): string {
  return JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")).version;
}

function sentence(error: unknown): string {
  const { code, message } = error as { code?: string; message?: string };
  if (code === "EADDRINUSE") return "the port is in use. Stop what listens there, or set POSTERN_PORT.";
  if (code === "ECONNREFUSED")
    return "the database does not answer. Check POSTERN_DATABASE_URL and that it runs.";
  return message || String(error);
}
