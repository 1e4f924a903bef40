import { parseArgs } from "node:util";

export interface Options {
  /** How often each load is measured; what is shown is the median. */
  rounds: number;
  /** Of one measurement. */
  durationMs: number;
  /** Each target gets this many calls beforehand, so that the compiler has done its work; at most `warmUpMs` long. */
  warmUpCalls: number;
  warmUpMs: number;
  concurrencies: readonly number[];
  /** Write `bench/results.md`. */
  write: boolean;
  /** Where a processor profile of the gateway goes. */
  profileFolder?: string;
  date: string;
}

export const usage = `Usage: npm run bench [-- options]

  --quick            Under 20 seconds, and as much rougher
  --write            Write bench/results.md
  --date <date>      What results.md says; default today
  --profile <folder> Put a processor profile of the gateway there (open it in a browser's developer tools) and
                     print what costs most. The figures of such a run are not comparable.`;

/** What the command line asks for; undefined when it asks for help. */
export function readOptions(args: string[]): Options | undefined {
  const { values } = parseArgs({
    args,
    options: {
      quick: { type: "boolean" },
      write: { type: "boolean", default: false },
      date: { type: "string", default: new Date().toISOString().slice(0, 10) },
      profile: { type: "string" },
      help: { type: "boolean" },
    },
  });
  if (values.help) return undefined;
  const pace = values.quick
    ? { rounds: 2, durationMs: 350, warmUpCalls: 5_000, warmUpMs: 1_000 }
    : { rounds: 15, durationMs: 400, warmUpCalls: 30_000, warmUpMs: 25_000 };
  const { write, date, profile: profileFolder } = values;
  return { ...pace, concurrencies: [1, 10, 50], write, date, profileFolder };
}
