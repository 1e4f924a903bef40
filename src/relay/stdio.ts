import type { World } from "../base/index.ts";
import type { StdioCommand } from "../upstreams/index.ts";
import type { Attempt, Attempted } from "./attempt.ts";
import { Channel, type Era, MAX_MESSAGE } from "./channel.ts";
import { openConversation, setLevel, speak } from "./conversation.ts";
import { RelayFault } from "./fault.ts";
import type { RelayUpstream } from "./parts.ts";
import { Patience } from "./patience.ts";
import { Program } from "./program.ts";
import { ProgramLog } from "./program-log.ts";
import type { Implementation } from "./request.ts";

/** A program that is fetched from a registry at its first start takes its time. */
const START_MS = 60_000;
/** A server that knows no `server/discover` may also just say nothing. */
const PROBE_MS = 10_000;
const FIRST_WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 60_000;
/** A program that ran this long was healthy: its end counts as the first again. */
const HEALTHY_MS = 60_000;

/**
 * What an older program is told that clients can do: it runs for all of them. Who cannot says so when it is asked. No roots: a
 * program keeps them, and one person's would be everybody's.
 */
const ofClients = { elicitation: { form: {}, url: {} }, sampling: {} };

export interface StdioParts {
  world: World;
  self: Implementation;
  /** By name of the upstream, from the configuration file. */
  commands: ReadonlyMap<string, StdioCommand>;
  nextId(): number;
  learn(upstream: RelayUpstream, era: Era): void;
  /** Milliseconds of silence; a test has no time. */
  probeMs?: number;
}

interface Supervised {
  /** The running program's channel, or the one that is being opened. */
  channel: Promise<Channel> | undefined;
  programs: Set<Program>;
  /** Ends in a row. */
  failures: number;
  notBefore: number;
}

/**
 * Upstreams that are programs: one process each, started when first asked and kept. One that ends is started again by the
 * next call, at once the first time, then with growing pauses in which calls fail without waiting.
 */
export class StdioUpstreams {
  readonly #parts: StdioParts;
  readonly #supervised = new Map<string, Supervised>();
  #isClosed = false;

  constructor(parts: StdioParts) {
    this.#parts = parts;
  }

  /** Throws `RelayFault`. */
  async call(attempt: Attempt, patience: Patience): Promise<Attempted> {
    const { session } = attempt.call;
    // Another program may have given the same id to somebody else's task, so it is not even asked.
    if (session !== undefined && session !== (await this.#running(attempt))) return unknownTask();
    const channel = await this.channel(attempt, patience);
    const { nextId, self } = this.#parts;
    await setLevel(channel, attempt, nextId(), patience);
    return speak(channel, attempt, nextId(), self, patience);
  }

  /** Ends every program; resolves when they are gone. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const programs = [...this.#supervised.values()].flatMap((one) => [...one.programs]);
    for (const program of programs) program.close();
    await Promise.all(programs.map(({ ended }) => ended));
  }

  /** The connection with the running program, or with one that is started now. Throws `RelayFault`. */
  async channel(attempt: Attempt, patience: Patience): Promise<Channel> {
    const { upstream } = attempt.call;
    const one = this.#supervise(upstream.id);
    const known = one.channel;
    if (!known) {
      if (this.#isClosed || this.#now() < one.notBefore)
        throw new RelayFault("upstream_unreachable", { retryable: true });
      const opening = this.#open(attempt, one);
      one.channel = opening;
      opening.catch(() => {
        if (one.channel === opening) one.channel = undefined;
      });
    }
    // Others wait for it too: it does not end with this call's client.
    const opening = one.channel!;
    await patience.until(opening.then(() => {}));
    if (patience.ended) throw patience.ended;
    return opening;
  }

  /** The name of the connection with the program that runs now; undefined: none does. */
  async #running({ call }: Attempt): Promise<string | undefined> {
    const channel = await this.#supervised.get(call.upstream.id)?.channel?.catch(() => undefined);
    return channel?.lost ? undefined : channel?.name;
  }

  #supervise(id: string): Supervised {
    let one = this.#supervised.get(id);
    if (!one) {
      one = { channel: undefined, programs: new Set(), failures: 0, notBefore: 0 };
      this.#supervised.set(id, one);
    }
    return one;
  }

  /**
   * Starts the program and finds out its era. Servers exist that end, or fall silent, when the first thing they read is
   * not `initialize`: those are asked again, in a second process.
   */
  async #open(attempt: Attempt, one: Supervised): Promise<Channel> {
    const { self, nextId, learn, probeMs = PROBE_MS } = this.#parts;
    const { upstream } = attempt.call;
    const patience = new Patience(new AbortController().signal, START_MS);
    // A slow start looks like silence: who is asked for `initialize` then and does not know it is asked once more.
    const eras: Era[] = upstream.era === "legacy" ? ["legacy", "modern"] : ["modern", "legacy", "modern"];
    let channel: Channel | undefined;
    try {
      for (const era of eras) {
        if (!channel || channel.lost) channel = this.#start(attempt, one);
        const capabilities = { ...ofClients };
        const opening = { channel, attempt, capabilities, self, nextId, patience, probeMs };
        if (!(await openConversation(era, opening))) continue;
        learn(upstream, era);
        return channel;
      }
      throw new RelayFault("upstream_protocol");
    } catch (error) {
      this.#failed(one);
      channel?.lose(error instanceof RelayFault ? error : new RelayFault("upstream_protocol"));
      throw error;
    } finally {
      patience.stop();
    }
  }

  #start(attempt: Attempt, one: Supervised): Channel {
    const { world, commands, nextId } = this.#parts;
    const { upstream } = attempt.call;
    const command = commands.get(upstream.name);
    // The file of this replica does not name it (any more).
    if (!command || this.#isClosed) throw new RelayFault("upstream_unreachable", { retryable: true });
    const startedAt = this.#now();
    const log = new ProgramLog(world.log, upstream.name, command, () => this.#now());
    let channel: Channel | undefined;
    let program: Program;
    try {
      program = new Program(upstream.name, command, MAX_MESSAGE, {
        line: (line) => channel?.received(line, attempt),
        error: (chunk) => log.push(chunk),
        lost: (fault) => {
          channel?.lose(fault);
          this.#lost(one, channel, startedAt);
        },
        ended: ({ code, signal, cause }) => {
          log.flush();
          one.programs.delete(program);
          if (!this.#isClosed)
            world.log.warn("upstream.program_ended", {
              upstream: upstream.name,
              code,
              signal,
              reason: reasonOf(cause),
            });
        },
      });
    } catch (cause) {
      throw new RelayFault("upstream_unreachable", { retryable: true, cause });
    }
    one.programs.add(program);
    world.log.info("upstream.program_started", { upstream: upstream.name, pid: program.pid });
    channel = new Channel(program, { nextId, now: () => this.#now(), isOwn: false });
    return channel;
  }

  /** The running program is of no use any more, whether it is gone already or not. */
  #lost(one: Supervised, channel: Channel | undefined, startedAt: number): void {
    const current = one.channel;
    current?.then(
      (open) => {
        if (open !== channel || one.channel !== current) return;
        one.channel = undefined;
        if (this.#now() - startedAt >= HEALTHY_MS) one.failures = 0;
        this.#failed(one);
      },
      // What became of opening it is counted there.
      () => {},
    );
  }

  /** At once the first time; then 1 s, 2 s, 4 s, at most a minute. */
  #failed(one: Supervised): void {
    one.failures += 1;
    const wait = one.failures === 1 ? 0 : FIRST_WAIT_MS * 2 ** Math.min(one.failures - 2, 10);
    one.notBefore = this.#now() + Math.min(wait, LONGEST_WAIT_MS);
  }

  #now(): number {
    return this.#parts.world.now().getTime();
  }
}

/** As a server says it that does not know the task (2025-11-25 "Task Management"). */
function unknownTask(): Attempted {
  return { outcome: "error", error: { code: -32602, message: "Task not found" } };
}

/** `ENOENT` and its kin; the message of the system would repeat the command line. */
function reasonOf(cause: unknown): string | undefined {
  const code = (cause as { code?: unknown } | undefined)?.code;
  return typeof code === "string" ? code : undefined;
}
