import { Problem } from "../base/index.ts";
import type { Database } from "../db/index.ts";
import { actorOf } from "../identity/index.ts";
import { type AdministrationParts, type Asked, auditUpstream } from "./administration-parts.ts";
import { success } from "./pending.ts";
import { diffTools } from "./tool-diff.ts";
import { heldHash, type Verdict } from "./tool-pins.ts";
import { readDefinitions, readVersions } from "./tool-version-rows.ts";
import { approvedOf, isDecidable, isHeld, type ToolVersion } from "./tool-versions.ts";
import type { Upstream } from "./upstream.ts";
import { time } from "./view.ts";
import { shownChanges, shownName } from "./visible-text.ts";

export interface ChangesQuery {
  status?: readonly ("held" | "rejected")[];
  limit: number;
  offset: number;
}

/** What an administrator names: definitions by their hashes, or all that are held by the hash of the list. */
export interface Choice {
  hashes?: readonly string[];
  all?: string;
}

/** Definitions of tools that differ from what was approved: looked at, approved, turned down. */
export class ToolChanges {
  readonly #parts: AdministrationParts;

  constructor(parts: AdministrationParts) {
    this.#parts = parts;
  }

  /** A page of what waits or was turned down, by the name of the tool, each with what it changes. */
  async list(id: string, { status = ["held", "rejected"], limit, offset }: ChangesQuery) {
    const { upstreams, database } = this.#parts;
    const upstream = upstreams.get(id);
    const { perUser } = upstream;
    const versions = await readVersions(database.db, id);
    const wanted = new Set<string>(status);
    const matching = versions
      .filter((version) => isDecidable(version, perUser) && wanted.has(version.status))
      .toSorted(byTool);
    const page = matching.slice(offset, offset + limit);
    return {
      changes: await shownPage(database, upstream, versions, page),
      count: page.length,
      total_count: matching.length,
      limit,
      offset,
      policy: upstream.toolPins,
      held_tools: versions.filter((version) => isHeld(version, perUser)).length,
      held_hash: heldHash(versions, perUser),
    };
  }

  /** Clients see these from now on. Throws 404 and 409 `tool_changes_outdated`. */
  approve(id: string, choice: Choice, asked: Asked) {
    return this.#decide(id, "approved", choice, asked);
  }

  /** They stay what clients do not see, and wait for nobody. Throws 404 and 409 `tool_changes_outdated`. */
  reject(id: string, choice: Choice, asked: Asked) {
    return this.#decide(id, "rejected", choice, asked);
  }

  async #decide(id: string, status: Verdict["status"], choice: Choice, asked: Asked) {
    const { upstreams } = this.#parts;
    const event = status === "approved" ? "tool.change_approved" : "tool.change_rejected";
    const changes = await upstreams.pins.decide(id, {
      status,
      of: chosen(choice),
      by: actorOf(asked.caller),
      also: async (tx, upstream, decided) => {
        if (decided.length === 0) return;
        await auditUpstream(this.#parts, tx, event, asked, upstream, shownChanges(decided));
      },
    });
    const after = upstreams.get(id);
    const what = `${changes.length} ${changes.length === 1 ? "definition was" : "definitions were"} ${status}.`;
    return { ...success(what, after), decided: changes.length, held_tools: after.heldTools };
  }
}

function chosen({ hashes, all }: Choice): Verdict["of"] {
  if (hashes && all === undefined) return { hashes };
  if (all !== undefined && !hashes) return { all };
  const message = "Give either hashes, or held_hash of the list as all.";
  throw new Problem("invalid", "invalid_request", message, { param: "hashes" });
}

function byTool(a: ToolVersion, b: ToolVersion): number {
  if (a.name !== b.name) return a.name < b.name ? -1 : 1;
  return a.firstSeenAt - b.firstSeenAt || (a.hash < b.hash ? -1 : 1);
}

async function shownPage(
  { db }: Database,
  { id, perUser }: Upstream,
  versions: readonly ToolVersion[],
  page: readonly ToolVersion[],
) {
  const pairs = page.map((version) => ({ version, approved: approvedOf(versions, version.name, perUser) }));
  const hashes = pairs.flatMap(({ version, approved }) => [
    version.hash,
    ...(approved ? [approved.hash] : []),
  ]);
  const definitions = await readDefinitions(db, id, hashes);
  return pairs.flatMap(({ version, approved }) => {
    const after = definitions.get(version.hash);
    // Approved or forgotten between the two readings.
    if (after === undefined) return [];
    return [
      {
        tool: shownName(version.name),
        kind: approved ? "changed" : "new",
        status: version.status,
        hash: version.hash,
        approved_hash: approved?.hash,
        offered: version.offered > 0,
        first_seen_at: time(version.firstSeenAt),
        decided_at: time(version.decidedAt),
        decided_by: version.decidedBy,
        ...diffTools(approved && definitions.get(approved.hash), after),
      },
    ];
  });
}
