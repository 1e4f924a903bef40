import type { RawBuilder } from "kysely";
import { fingerprint, Problem, type World } from "../base/index.ts";
import type { Database, Row, Tx } from "../db/index.ts";
import { readDefinitions, readVersions, writeVersions } from "./tool-version-rows.ts";
import {
  approve,
  type Circumstances,
  changesTo,
  isDecidable,
  isHeld,
  listed,
  news,
  type Offered,
  offeredOf,
  reject,
  settle,
  type ToolChange,
  type ToolVersion,
  takeReading,
} from "./tool-versions.ts";
import type { ToolDefinition, ToolNews, Upstream, UpstreamListener } from "./upstream.ts";
import { shownChanges } from "./visible-text.ts";

interface Parts {
  world: World;
  database: Database;
  listeners: readonly UpstreamListener[];
  /** An upstream as it is in the transaction, which nobody else changes until its end. Throws 404. */
  locked(tx: Tx, id: string): Promise<Upstream>;
  /** Tells every replica that the upstream changed. */
  note(tx: Tx, id: string): Promise<void>;
  /** Resolves when the memory shows what was committed. */
  settled(): Promise<void>;
}

export type UpstreamColumns = {
  [column in keyof Row<"upstreams">]?: Row<"upstreams">[column] | RawBuilder<never>;
};

/** What an administrator decides about held definitions: by their hashes, or about all of them, by `heldHash`. */
export interface Verdict {
  status: "approved" | "rejected";
  of: { hashes: readonly string[] } | { all: string };
  /** An actor, as in the audit. */
  by: string;
  /** Work that belongs into the same transaction. */
  also(tx: Tx, upstream: Upstream, changes: ToolChange[]): Promise<void>;
}

interface Step {
  before: readonly ToolVersion[];
  after: readonly ToolVersion[];
  reading?: readonly Offered[];
}

/** Keeps what was approved of each upstream's tools, and holds what differs from it (decision 20). */
export class ToolPins {
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** Takes in a reading of the whole list; `columns` are written to the upstream with it. Throws 404. */
  async record(id: string, tools: readonly ToolDefinition[], columns: UpstreamColumns): Promise<void> {
    const { database, world, note, settled } = this.#parts;
    const reading = await offeredOf(tools);
    const now = this.#now();
    const { upstream, held } = await database.transaction(async (tx) => {
      const upstream = await this.#parts.locked(tx, id);
      const before = await readVersions(tx, id);
      const isFirst = upstream.toolsApprovedAt === undefined;
      const seen = takeReading(before, reading, now);
      const after = settle(seen, circumstancesOf(upstream), { now, isFirst });
      // An empty list approves nothing: the next one is still the first.
      const approvedAt = isFirst && reading.length > 0 ? { tools_approved_at: now } : {};
      await this.#write(tx, upstream, { before, after, reading }, { ...approvedAt, ...columns });
      const { held, approved } = news(before, after, upstream.perUser);
      await this.#tell(tx, upstream, { held, followed: isFirst ? [] : approved });
      await note(tx, id);
      return { upstream, held };
    });
    await settled();
    if (held.length > 0)
      world.log.warn("upstream.tool_changes_held", { upstream: upstream.name, ...shownChanges(held) });
  }

  /** After a change of the policy or of `tools_to_execute`: the same versions, looked at anew. */
  async relist(tx: Tx, upstream: Upstream): Promise<void> {
    const before = await readVersions(tx, upstream.id);
    const after = settle(before, circumstancesOf(upstream), { now: this.#now(), isFirst: false });
    await this.#write(tx, upstream, { before, after });
    const { approved } = news(before, after, upstream.perUser);
    await this.#tell(tx, upstream, { held: [], followed: approved });
  }

  /** The same for upstreams that follow the gateway's own policy, once that has changed. */
  async relistAll(ids: readonly string[]): Promise<void> {
    for (const id of ids) {
      const relisted = this.#parts.database.transaction(async (tx) => {
        await this.relist(tx, await this.#parts.locked(tx, id));
        await this.#parts.note(tx, id);
      });
      await relisted.catch((error: unknown) => {
        // Deleted meanwhile.
        if (!(error instanceof Problem && error.kind === "not_found")) throw error;
      });
    }
    await this.#parts.settled();
  }

  /**
   * Approves or turns down definitions, all or none. Throws 404, and 409 `tool_changes_outdated` when one of them is not
   * offered any more or was decided about meanwhile, or when `all` is not the `heldHash` of what is held.
   */
  async decide(id: string, { status, of, by, also }: Verdict): Promise<ToolChange[]> {
    const changes = await this.#parts.database.transaction(async (tx) => {
      const upstream = await this.#parts.locked(tx, id);
      const before = await readVersions(tx, id);
      const targets =
        "all" in of ? allHeld(before, upstream, of.all) : decidable(before, upstream, of.hashes);
      const hashes = targets.map(({ hash }) => hash);
      const decision = { by, at: this.#now() };
      const after =
        status === "approved"
          ? approve(before, hashes, decision, circumstancesOf(upstream))
          : reject(before, hashes, decision);
      await this.#write(tx, upstream, { before, after });
      const changes = changesTo(before, targets, upstream.perUser);
      await also(tx, upstream, changes);
      await this.#parts.note(tx, id);
      return changes;
    });
    await this.#parts.settled();
    return changes;
  }

  async #write(
    tx: Tx,
    upstream: Upstream,
    { before, after, reading = [] }: Step,
    columns: UpstreamColumns = {},
  ): Promise<void> {
    const definitions = new Map(reading.map(({ hash, json }) => [hash, json]));
    await writeVersions(tx, upstream.id, { before, after, definitions });
    const hashes = listed(after, circumstancesOf(upstream));
    const stored = await readDefinitions(
      tx,
      upstream.id,
      hashes.filter((hash) => !definitions.has(hash)),
    );
    const texts = hashes.map((hash) => definitions.get(hash) ?? stored.get(hash)!);
    await tx
      .updateTable("upstreams")
      .set({
        tools_json: `[${texts.join(",")}]`,
        held_tools: after.filter((version) => isHeld(version, upstream.perUser)).length,
        ...columns,
      })
      .where("id", "=", upstream.id)
      .execute();
  }

  async #tell(tx: Tx, upstream: Upstream, found: ToolNews): Promise<void> {
    if (found.held.length === 0 && found.followed.length === 0) return;
    for (const listener of this.#parts.listeners) await listener.toolsChanged?.(tx, upstream, found);
  }

  #now(): number {
    return this.#parts.world.now().getTime();
  }
}

/** One hash for everything that is held: who approves all of it says what all was. */
export function heldHash(versions: readonly ToolVersion[], perUser: boolean): string {
  const held = versions.filter((version) => isHeld(version, perUser));
  return fingerprint(held.map(({ hash }) => hash).sort());
}

function circumstancesOf({ toolPins, perUser, toolsToExecute }: Upstream): Circumstances {
  const names = new Set(toolsToExecute);
  return { policy: toolPins, perUser, isNamed: (tool) => names.has(tool) };
}

function allHeld(versions: readonly ToolVersion[], { perUser }: Upstream, all: string): ToolVersion[] {
  if (heldHash(versions, perUser) !== all) throw outdated();
  return versions.filter((version) => isHeld(version, perUser));
}

function decidable(
  versions: readonly ToolVersion[],
  { perUser }: Upstream,
  hashes: readonly string[],
): ToolVersion[] {
  const known = new Map(versions.map((version) => [version.hash, version]));
  return [...new Set(hashes)].map((hash) => {
    const version = known.get(hash);
    if (!version || !isDecidable(version, perUser)) throw outdated();
    return version;
  });
}

function outdated(): Problem {
  return new Problem(
    "conflict",
    "tool_changes_outdated",
    "The server offers something else by now, or somebody decided already. Read the changes again.",
  );
}
