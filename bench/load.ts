/** The load generator, in a process of its own. */
import { serveParent } from "./child.ts";
import { Connection, postBytes } from "./connection.ts";

export interface Load {
  url: string;
  headers: Record<string, string>;
  /** ASCII. */
  body: string;
  /** What the body of a good answer contains. */
  mark: string;
  /** Connections, each with one call in flight. */
  concurrency: number;
  durationMs: number;
  /** Calls per second over all connections, sent on time however slow the answers are; default as many as go. */
  rate?: number;
}

export interface LoadResult {
  calls: number;
  failed: number;
  /** The first answer that was not good. */
  failure?: string;
  elapsedMs: number;
  /** Of each good call, in the order of arrival. */
  latenciesMs: Float64Array;
}

/** Runs one load to its end. A call that waits for a free connection counts from when it was due. */
async function run(load: Load): Promise<LoadResult> {
  const url = new URL(load.url);
  const request = postBytes(url, load.headers, load.body);
  const connections = await Promise.all(Array.from({ length: load.concurrency }, () => Connection.open(url)));
  const tally = new Tally(load.mark);
  const start = performance.now();
  const dueTimes = due(start, load);
  await Promise.all(connections.map((connection) => keepCalling(connection, request, dueTimes, tally)));
  const elapsedMs = performance.now() - start;
  for (const connection of connections) connection.close();
  return tally.result(elapsedMs);
}

/** When the next call is due; shared by all connections. */
function* due(start: number, { durationMs, rate }: Load): Generator<number, void> {
  const end = start + durationMs;
  if (rate === undefined) for (let now = performance.now(); now < end; now = performance.now()) yield now;
  else for (let at = start; at < end; at += 1000 / rate) yield at;
}

async function keepCalling(
  connection: Connection,
  request: string,
  dueTimes: Iterator<number>,
  tally: Tally,
): Promise<void> {
  for (let next = dueTimes.next(); !next.done; next = dueTimes.next()) {
    const early = next.value - performance.now();
    if (early > 0) await new Promise((resolve) => setTimeout(resolve, early));
    const sent = early > 0 ? performance.now() : next.value;
    const answer = await connection.exchange(request);
    tally.add(answer, performance.now() - sent);
  }
}

class Tally {
  readonly #mark: string;
  readonly #latencies: number[] = [];
  #failed = 0;
  #failure: string | undefined;

  constructor(mark: string) {
    this.#mark = mark;
  }

  add(answer: string, latencyMs: number): void {
    if (answer.startsWith("HTTP/1.1 200") && answer.includes(this.#mark)) this.#latencies.push(latencyMs);
    else {
      this.#failed += 1;
      this.#failure ??= answer;
    }
  }

  result(elapsedMs: number): LoadResult {
    return {
      calls: this.#latencies.length,
      failed: this.#failed,
      failure: this.#failure,
      elapsedMs,
      latenciesMs: Float64Array.from(this.#latencies),
    };
  }
}

serveParent<Load>({}, run);
