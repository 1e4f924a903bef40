import { type Config, loadConfig } from "../config.ts";
import { BadConfiguration } from "../config-problem.ts";
import {
  type Overview,
  overviewOf,
  type Rotated,
  removable,
  rotateKeys,
  type Step,
  verifyAll,
} from "../keys/index.ts";
import { openSealedDatabase, sealedColumns } from "../sealed-database.ts";
import { readArguments } from "./arguments.ts";
import { type Command, CommandFailed } from "./command.ts";
import { commandWorld } from "./world.ts";

const usage = `Usage: postern keys list|rotate|verify [--data] [--config <file>]

  list               Which keys there are, and what is sealed with each
  rotate             Wraps the data keys with the first configured key; seals anew what an older key has sealed.
                     While the gateway serves, as often as you like; interrupted it goes on where it was
    --data           First a new data key, so that every stored secret is sealed anew
  verify             Opens everything that is stored, and counts what does not open
  --config <file>    The configuration file (default: POSTERN_CONFIG, then ./postern.config.json if it exists)

docs/guide/keys.md says when to do which.`;

type Opened = Awaited<ReturnType<typeof open>>;

const actions: Record<string, (opened: Opened, data: boolean) => Promise<void>> = {
  list: async (opened) => printOverview(await overviewOf(opened)),
  rotate,
  verify,
};

export const command: Command = {
  usage,
  run: async (args) => {
    const { values, positionals } = readArguments(args, {
      options: { config: { type: "string" }, data: { type: "boolean" } },
      positionals: ["list, rotate or verify"],
      usage,
    });
    const action = actions[positionals[0]!];
    if (!action) throw new BadConfiguration(`Unknown: keys ${positionals[0]}.\n\n${usage}`);
    const opened = await open(loadConfig({ file: values.config, makeKey: false }));
    try {
      await action(opened, values.data === true);
    } finally {
      await opened.close();
    }
  },
};

/** The database and its keys; nothing of a gateway. */
async function open(config: Config) {
  const world = commandWorld();
  const sealed = await openSealedDatabase(config, world, { existing: true });
  return {
    ...sealed,
    world,
    columns: sealedColumns,
    direct: config.encryptionKeys,
    close: async () => {
      await sealed.close();
      await world.outbound.close();
    },
  };
}

function printOverview({ wrapping, data }: Overview): void {
  console.log("Keys that wrap (configured, not in the database):");
  for (const { provider, id, wraps, dataKeys, values } of wrapping) {
    const also = values > 0 ? `, ${amount(values, "value")} sealed with it directly` : "";
    const does = wraps ? "wraps, unwraps" : "unwraps";
    console.log(`  ${provider.padEnd(15)}${id}  ${does}: ${amount(dataKeys, "data key")}${also}`);
  }
  console.log("Data keys (in the database):");
  for (const { id, state, direct, provider, wrappedBy, createdAt, values } of data) {
    const kind = direct ? "an old configured key" : `made ${new Date(createdAt).toISOString()}`;
    console.log(
      `  ${id}  ${state.padEnd(9)}${amount(values, "value")}, wrapped by ${wrappedBy} (${provider}), ${kind}`,
    );
  }
}

async function rotate(opened: Opened, newDataKey: boolean): Promise<void> {
  printRotated(await rotateKeys(opened, { newDataKey, told: progress() }));
  const old = removable(await overviewOf(opened));
  if (old.length === 0) console.log("No configured key is out of use.");
  for (const { provider, id } of old) {
    console.log(`Not needed any more, and may be removed from the configuration: ${id} (${provider}).`);
  }
}

function printRotated({ resealed, unreadable, ms, onlyFinished }: Rotated): void {
  const rate = Math.round((resealed / Math.max(1, ms)) * 1000);
  const speed = resealed > 0 ? ` (${number(rate)} a second)` : "";
  console.log(`Sealed anew: ${amount(resealed, "value")} in ${(ms / 1000).toFixed(1)} s${speed}.`);
  if (unreadable > 0)
    console.warn(
      `${amount(unreadable, "value")} do not open with any key and were left as they are: postern keys verify says where.`,
    );
  if (onlyFinished)
    console.log("An earlier rotation was not over; it is now. For another new data key run this again.");
}

/** Tells what happens, at most once a second. */
function progress(): (step: Step) => void {
  let last = performance.now();
  return (step) => {
    const now = performance.now();
    if (step.step === "rewrapped")
      console.log(`Wrapped anew with ${step.by}: ${amount(step.keys, "data key")}.`);
    else if (step.step === "activated") console.log(`Sealing with the data key ${step.key} from here on.`);
    else if (step.step === "waiting")
      console.log(`Waiting ${Math.ceil(step.ms / 1000)} s until every replica knows.`);
    else if (now - last >= 1000) {
      last = now;
      const rate = Math.round((step.done / Math.max(1, step.ms)) * 1000);
      console.log(
        `  ${number(step.done)} sealed anew, ${number(step.remaining)} to go, ${number(rate)} a second`,
      );
    }
  };
}

async function verify(opened: Opened): Promise<void> {
  const { opened: count, unreadable } = await verifyAll(opened, () => {});
  console.log(`${amount(count, "value")} open.`);
  if (unreadable.size === 0) return;
  const where = [...unreadable].map(([table, values]) => `${number(values)} in ${table}`).join(", ");
  throw new CommandFailed(
    `These do not open: ${where}. Credentials among them have to be given again; docs/guide/keys.md says what else to do.`,
  );
}

function amount(count: number, what: string): string {
  return `${number(count)} ${what}${count === 1 ? "" : "s"}`;
}

function number(value: number): string {
  return value.toLocaleString("en-US");
}
