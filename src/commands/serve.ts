import { openGateway } from "../app.ts";
import { type Config, loadConfig } from "../config.ts";
import { clientLine, mcpUrl } from "../front/index.ts";
import { listen } from "../listen.ts";
import { version } from "../version.ts";
import { readArguments } from "./arguments.ts";
import { type Command, EXIT } from "./command.ts";
import { sentence } from "./sentence.ts";

const usage = `Usage: postern [serve] [--config <file>]

Serves the gateway until SIGTERM or SIGINT.

  --config <file>    The configuration file (default: POSTERN_CONFIG, then ./postern.config.json if it exists)

Settings come from the environment (POSTERN_…) and the file; docs/guide/configuration.md lists them.`;

export const command: Command = {
  usage,
  run: async (args) => {
    const { values } = readArguments(args, { options: { config: { type: "string" } }, usage });
    await serve(loadConfig({ file: values.config }));
  },
};

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
