/** Contract section 11: 0 stopped cleanly, 2 bad configuration or command line, 1 anything else. */
export const EXIT = { clean: 0, failed: 1, badConfiguration: 2 };

/** One word of the command line. A file in this folder exports one as `command`; `cli.ts` lists them. */
export interface Command {
  /** What `postern help <name>` and `postern <name> --help` print. */
  usage: string;
  /** `args`: what stands after the name. Resolves when done, or when what it started runs; the process ends by itself then. */
  run(args: string[]): Promise<void>;
}

/** It did not work, and the message tells the operator all that is to be told: exit code 1. */
export class CommandFailed extends Error {
  override name = "CommandFailed";
}
