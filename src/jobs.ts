import type { Log } from "./base/index.ts";

/** Something to do again and again. `everyMs` counts from the end of one run to the start of the next. */
export interface Job {
  name: string;
  everyMs: number;
  run(): Promise<void>;
}

/** Runs jobs until stopped: one at a time each, failures logged and tried again at the next turn. */
export class Jobs {
  readonly #log: Log;
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #running = new Set<Promise<void>>();
  #stopped = false;

  constructor(log: Log) {
    this.#log = log;
  }

  start(jobs: readonly Job[]): void {
    for (const job of jobs) this.#schedule(job);
  }

  /** No new run begins; resolves when those under way have ended. */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const timer of this.#timers) clearTimeout(timer);
    await Promise.all(this.#running);
  }

  #schedule(job: Job): void {
    if (this.#stopped) return;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      const run = this.#run(job);
      this.#running.add(run);
      void run.then(() => {
        this.#running.delete(run);
        this.#schedule(job);
      });
    }, job.everyMs);
    timer.unref();
    this.#timers.add(timer);
  }

  async #run(job: Job): Promise<void> {
    try {
      await job.run();
    } catch (error) {
      this.#log.warn("job.failed", { job: job.name, error });
    }
  }
}
