import { setImmediate } from "node:timers/promises";
import { fingerprint, type ToolPinPolicy } from "../base/index.ts";
import type { ToolDefinition } from "./upstream.ts";

/**
 * What clients see of an upstream's tools, decided from what was offered and what was approved (decision 20). Pure: rows
 * are in tool-version-rows.ts, transactions in tool-pins.ts.
 */

/** One definition of a tool, as the upstream offered it at some time, and what was decided about it. A value. */
export interface ToolVersion {
  /** Of the whole definition, its name included. */
  readonly hash: string;
  readonly name: string;
  readonly status: "approved" | "held" | "rejected";
  /** How often the last reading had it: more than once is a collision. */
  readonly offered: number;
  /** Milliseconds since 1970. */
  readonly firstSeenAt: number;
  readonly decidedAt?: number;
  /** An actor as in the audit, or what decided in its place. */
  readonly decidedBy?: string;
}

/** A definition of a reading. */
export interface Offered {
  readonly hash: string;
  readonly name: string;
  readonly json: string;
}

/** Whose versions they are, and what counts for them. */
export interface Circumstances {
  policy: ToolPinPolicy;
  /** Different people may be shown different definitions: one of them approved does not withdraw another. */
  perUser: boolean;
  /** Whether `tools_to_execute` has this name itself. */
  isNamed(tool: string): boolean;
}

export interface Decision {
  by: string;
  /** Milliseconds since 1970. */
  at: number;
}

/** One definition in the place of another, or of none. */
export interface ToolChange {
  tool: string;
  /** The hash that was approved before; absent for a tool that was not there. */
  from?: string;
  to: string;
}

const HASHED_AT_ONCE = 100;
/** Versions of tools that are gone, kept to know them when they come back. */
const MOST_SPARE = { approved: 5000, other: 1000 };

/** Their hashes, a few at a time: thousands at once would hold up every call meanwhile. */
export async function offeredOf(tools: readonly ToolDefinition[]): Promise<Offered[]> {
  const offered: Offered[] = [];
  for (const [at, tool] of tools.entries()) {
    if (at % HASHED_AT_ONCE === HASHED_AT_ONCE - 1) await setImmediate();
    offered.push({ hash: fingerprint(tool), name: tool.name, json: JSON.stringify(tool) });
  }
  return offered;
}

/** The versions after a reading: what it has is offered, nothing else is; what was never seen is held. */
export function takeReading(
  versions: readonly ToolVersion[],
  reading: readonly Offered[],
  now: number,
): ToolVersion[] {
  const after = new Map(versions.map((version) => [version.hash, { ...version, offered: 0 }]));
  for (const { hash, name } of reading) {
    const known = after.get(hash) ?? { hash, name, status: "held", offered: 0, firstSeenAt: now };
    after.set(hash, { ...known, offered: known.offered + 1 });
  }
  return [...after.values()];
}

/** Approves what needs no administrator: everything in a first reading, a new tool that is named, all under `accept`. */
export function settle(
  versions: readonly ToolVersion[],
  circumstances: Circumstances,
  { now, isFirst }: { now: number; isFirst: boolean },
): ToolVersion[] {
  const settled = groups(versions).flatMap((group) => {
    const by = isFirst ? "first_reading" : deciderOf(group, circumstances);
    if (by === undefined) return group;
    const hashes = group
      .filter(({ status, offered }) => status === "held" && offered > 0)
      .map(({ hash }) => hash);
    const after = approve(group, hashes, { by, at: now }, circumstances);
    // Nobody will be asked about what is over.
    return circumstances.policy === "accept" ? after.filter(({ status }) => status !== "held") : after;
  });
  return withoutSurplus(settled);
}

/** A tool that was once decided about stays pinned, also when it was away meanwhile. */
function deciderOf(group: readonly ToolVersion[], { policy, isNamed }: Circumstances): string | undefined {
  if (policy === "accept") return "policy";
  const isNew = group.every(({ status }) => status === "held");
  return isNew && isNamed(group[0]!.name) ? "tools_to_execute" : undefined;
}

/**
 * The versions after the approval of `hashes`. What was approved of the same tool before is forgotten and would be held
 * if it came back, except while it is offered too, or where people are shown different ones.
 */
export function approve(
  versions: readonly ToolVersion[],
  hashes: readonly string[],
  { by, at }: Decision,
  { perUser, policy }: Circumstances,
): ToolVersion[] {
  const chosen = new Set(hashes);
  const names = new Set(versions.filter(({ hash }) => chosen.has(hash)).map(({ name }) => name));
  const keepsOthers = perUser && policy !== "accept";
  return versions
    .filter(
      ({ hash, name, status, offered }) =>
        chosen.has(hash) || !names.has(name) || status !== "approved" || offered > 0 || keepsOthers,
    )
    .map((version) =>
      chosen.has(version.hash)
        ? { ...version, status: "approved" as const, decidedAt: at, decidedBy: by }
        : version,
    );
}

/** The versions after `hashes` were turned down: they stay what clients do not see. */
export function reject(
  versions: readonly ToolVersion[],
  hashes: readonly string[],
  { by, at }: Decision,
): ToolVersion[] {
  const chosen = new Set(hashes);
  return versions.map((version) =>
    chosen.has(version.hash) ? { ...version, status: "rejected", decidedAt: at, decidedBy: by } : version,
  );
}

/** Hashes of the definitions clients see, by name; one that collides stands as often as it is offered (MC-18). */
export function listed(versions: readonly ToolVersion[], circumstances: Circumstances): string[] {
  return groups(versions)
    .toSorted(([a], [b]) => (a!.name < b!.name ? -1 : 1))
    .flatMap((group) => listedOf(group, circumstances));
}

function listedOf(group: readonly ToolVersion[], { policy, perUser }: Circumstances): string[] {
  if (!group.some(({ offered }) => offered > 0)) return [];
  const approved = group.filter(isApproved).toSorted((a, b) => (a.hash < b.hash ? -1 : 1));
  if (policy === "withhold" && group.some((version) => isOpen(version, perUser))) return [];
  const times = approved.reduce((sum, { offered }) => sum + offered, 0);
  if (times > 1) return approved.flatMap(({ hash, offered }) => Array<string>(offered).fill(hash));
  const current = currentOf(approved, perUser);
  return current ? [current.hash] : [];
}

/** What counts of several approved ones: what is offered; where people differ the last decision, whoever read last. */
function currentOf(approved: readonly ToolVersion[], perUser: boolean): ToolVersion | undefined {
  const offered = perUser ? [] : approved.filter((version) => version.offered > 0);
  const candidates = offered.length > 0 ? offered : approved;
  return candidates.toSorted(
    (a, b) => b.decidedAt! - a.decidedAt! || a.firstSeenAt - b.firstSeenAt || (a.hash < b.hash ? -1 : 1),
  )[0];
}

/** The approved version that a change of `tool` is compared with. */
export function approvedOf(
  versions: readonly ToolVersion[],
  tool: string,
  perUser: boolean,
): ToolVersion | undefined {
  return currentOf(
    versions.filter((version) => version.name === tool && isApproved(version)),
    perUser,
  );
}

function isApproved({ status }: ToolVersion): boolean {
  return status === "approved";
}

/** Whether it stands in the way of the approved one under `withhold`. What one person is shown is not gone when another is not. */
function isOpen({ status, offered }: ToolVersion, perUser: boolean): boolean {
  return status !== "approved" && (offered > 0 || (perUser && status === "held"));
}

/** Whether an administrator can decide about it now. */
export function isDecidable({ status, offered }: ToolVersion, perUser: boolean): boolean {
  return status !== "approved" && (offered > 0 || perUser);
}

/** Whether it waits for an administrator. */
export function isHeld(version: ToolVersion, perUser: boolean): boolean {
  return version.status === "held" && isOpen(version, perUser);
}

/** What is new: versions that are held from now on, and those that were approved without being so before. */
export function news(
  before: readonly ToolVersion[],
  after: readonly ToolVersion[],
  perUser: boolean,
): { held: ToolChange[]; approved: ToolChange[] } {
  const known = new Map(before.map((version) => [version.hash, version.status]));
  const held = after.filter(({ hash, status }) => status === "held" && !known.has(hash));
  const approved = after.filter((version) => isApproved(version) && known.get(version.hash) !== "approved");
  return { held: changesTo(before, held, perUser), approved: changesTo(before, approved, perUser) };
}

/** What each of `targets` would be in the place of. */
export function changesTo(
  before: readonly ToolVersion[],
  targets: readonly ToolVersion[],
  perUser: boolean,
): ToolChange[] {
  const approved = Map.groupBy(before.filter(isApproved), ({ name }) => name);
  return targets.map(({ name, hash }) => {
    const from = currentOf(approved.get(name) ?? [], perUser)?.hash;
    return { tool: name, ...(from ? { from } : {}), to: hash };
  });
}

function groups(versions: readonly ToolVersion[]): ToolVersion[][] {
  return [...Map.groupBy(versions, ({ name }) => name).values()];
}

/** A server that says something else at every reading must not fill the database. */
function withoutSurplus(versions: readonly ToolVersion[]): ToolVersion[] {
  const spare = versions
    .filter(({ offered }) => offered === 0)
    .toSorted((a, b) => (b.decidedAt ?? b.firstSeenAt) - (a.decidedAt ?? a.firstSeenAt));
  const surplus = new Set([
    ...spare.filter(isApproved).slice(MOST_SPARE.approved),
    ...spare.filter((version) => !isApproved(version)).slice(MOST_SPARE.other),
  ]);
  return surplus.size === 0 ? [...versions] : versions.filter((version) => !surplus.has(version));
}
