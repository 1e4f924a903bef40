import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type ClientKind, clients, type MatrixClient } from "./clients.ts";
import { type Cell, features, outcomeOf } from "./features.ts";
import { openPlace, type Place, upstreamsOf } from "./place.ts";
import { modern } from "./revisions.ts";
import { type UpstreamKind, upstreamKinds } from "./upstreams.ts";

interface Run {
  upstream: UpstreamKind;
  title: string;
  run(cell: Cell): Promise<void>;
  /** Settles with what came of it. */
  came: PromiseWithResolvers<unknown>;
}

/**
 * Client revision × upstream revision × feature: each cell works, or its title names the reason why it cannot and what
 * the client gets instead. Cells that no upstream can fill are no tests; table.test.ts looks at their reasons.
 */
export function matrix(name: string, replicas: number): void {
  const rows = clients.map((kind, index) => ({
    kind,
    index,
    runs: runsOf(kind, upstreamsOf(index, replicas)),
  }));

  describe(name, () => {
    let place: Place;
    let working: Promise<unknown>;
    let lists: string[][];
    beforeAll(async () => {
      place = await openPlace(clients.length, replicas);
      // Before anything changes what upstreams offer.
      lists = await Promise.all(place.replicas.map((replica) => listsAt(replica, place.keys[0]!)));
      // All side by side, but what one client does at one upstream one after another; the tests say what came of it.
      const slots = new Slots(MOST_AT_ONCE);
      working = Promise.all(
        rows.map(({ kind, index, runs }) => work(kind, { place, key: place.keys[index]!, slots }, runs)),
      );
    });
    afterAll(async () => {
      await working;
      await place.close();
    });

    test.runIf(replicas > 1)("every list has the same bytes on every replica", () => {
      for (const [at, text] of lists[0]!.entries()) {
        expect(text).toContain(upstreamKinds[0]!.name);
        expect(lists.map((own) => own[at])).toEqual(lists.map(() => text));
      }
    });

    describe.each(rows)("to $kind.label", ({ runs }) => {
      test.each(runs)(
        "from $upstream.label, $upstream.revision: $title",
        async ({ came }) => {
          const problem = await came.promise;
          if (problem !== undefined) throw problem;
        },
        TURN_MS,
      );
    });
  });
}

/** The first page of each list in both eras, as it came. */
async function listsAt(replica: URL, key: string): Promise<string[]> {
  const asked = [modern, "2025-11-25"].flatMap((revision) =>
    ["tools/list", "resources/list", "resources/templates/list", "prompts/list"].map(async (method) => {
      const _meta = {
        "io.modelcontextprotocol/protocolVersion": revision,
        "io.modelcontextprotocol/clientInfo": { name: "plain", version: "1" },
        "io.modelcontextprotocol/clientCapabilities": {},
      };
      const response = await fetch(new URL("/mcp", replica), {
        method: "POST",
        headers: {
          authorization: `Bearer ${key}`,
          accept: "application/json, text/event-stream",
          "content-type": "application/json",
          "mcp-protocol-version": revision,
          ...(revision === modern && { "mcp-method": method }),
        },
        body: JSON.stringify({
          jsonrpc: "2.0",
          id: 1,
          method,
          params: revision === modern ? { _meta } : {},
        }),
      });
      return response.text();
    }),
  );
  return Promise.all(asked);
}

function runsOf(kind: ClientKind, upstreams: UpstreamKind[]): Run[] {
  return upstreams.flatMap((upstream) =>
    features.flatMap((feature) => {
      const outcome = outcomeOf(feature, kind, upstream);
      if (outcome.is === "impossible") return [];
      const title = outcome.is === "works" ? feature.name : `${feature.name}: ${outcome.reason}`;
      return [{ upstream, title, run: outcome.run, came: Promise.withResolvers<unknown>() }];
    }),
  );
}

/** How long a cell may wait for its turn, besides. */
const TURN_MS = 120_000;
const CELL_MS = 25_000;
/** All ends are in this one process: more at once only wait for each other, and for locks that others hold meanwhile. */
const MOST_AT_ONCE = 8;

interface Where {
  place: Place;
  key: string;
  slots: Slots;
}

async function work(kind: ClientKind, { place, key, slots }: Where, runs: Run[]): Promise<void> {
  try {
    const client = await kind.connect(place, key);
    const atEach = Map.groupBy(runs, ({ upstream }) => upstream).values();
    await Promise.all([...atEach].map((own) => workAt(client, slots, own)));
    await client.close();
  } catch (error) {
    for (const { came } of runs) came.resolve(error);
  }
}

async function workAt(client: MatrixClient, slots: Slots, runs: Run[]): Promise<void> {
  for (const { upstream, run, came } of runs) {
    await slots.take();
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => late.reject(new Error("nothing came of it")), CELL_MS);
    const done = Promise.race([run({ client, upstream, token: randomUUID() }), late.promise]);
    came.resolve(
      await done.then(
        () => undefined,
        (error: unknown) => error,
      ),
    );
    clearTimeout(timer);
    slots.give();
  }
}

/** So many at once, first come, first served. */
class Slots {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(free: number) {
    this.#free = free;
  }

  take(): Promise<void> | undefined {
    if (this.#free === 0) return new Promise((resolve) => this.#waiting.push(resolve));
    this.#free -= 1;
    return undefined;
  }

  give(): void {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#free += 1;
  }
}
