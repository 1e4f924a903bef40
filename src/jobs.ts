import type { Log } from "./base/index.ts";
import type { Leases } from "./db/index.ts";

/** Something to do again and again. `everyMs` counts from the end of one run to the start of the next. */
export interface Job {
  name: string;
  everyMs: number;
  /** Whichever replica comes first does it for all, once in `everyMs`; absent: each replica has something of its own to do. */
  on?: "one";
  run(): Promise<void>;
}

/** A replica that dies in the middle of a job holds it up for so long at most. */
const LEASE_MS = 60_000;
const RENEW_MS = 20_000;
/** Replicas that count from the same moment take turns all the same. */
const SHARE_OF_TURN = 0.9;

/** Runs jobs until stopped: one at a time each, failures logged and tried again at the next turn. */
export class Jobs {
  readonly #log: Log;
  readonly #leases: Leases | undefined;
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #running = new Set<Promise<void>>();
  /** Leases of this replica, which another may have as soon as this one stops. */
  readonly #held = new Set<string>();
  #stopped = false;

  /** `leases`: undefined where there can be no other replica. */
  constructor(log: Log, leases?: Leases) {
    this.#log = log;
    this.#leases = leases;
  }

  start(jobs: readonly Job[]): void {
    for (const job of jobs) this.#schedule(job);
  }

  /** No new run begins; resolves when those under way have ended. */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const timer of this.#timers) clearTimeout(timer);
    await Promise.all(this.#running);
    for (const name of this.#held) await this.#leases?.release(name).catch(() => {});
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
      if (job.on === "one" && this.#leases) await this.#alone(job, this.#leases);
      else await job.run();
    } catch (error) {
      this.#log.warn("job.failed", { job: job.name, error });
    }
  }

  /** What a job does is safe when two replicas do it at once; the lease only spares them, and the database, the trouble. */
  async #alone({ name, everyMs, run }: Job, leases: Leases): Promise<void> {
    const lease = `job:${name}`;
    if (!(await leases.take(lease, LEASE_MS))) {
      this.#held.delete(lease);
      return;
    }
    this.#held.add(lease);
    const renewing = setInterval(() => {
      leases.take(lease, LEASE_MS).catch((error) => this.#log.debug("job.lease_not_kept", { name, error }));
    }, RENEW_MS);
    renewing.unref();
    try {
      await run();
    } catch (error) {
      // Perhaps another replica can.
      clearInterval(renewing);
      await leases.release(lease).catch(() => {});
      throw error;
    }
    clearInterval(renewing);
    await leases.take(lease, everyMs * SHARE_OF_TURN);
  }
}
