import type { Db, Tx } from "../db/index.ts";
import type { ToolVersion } from "./tool-versions.ts";

const AT_ONCE = 500;

/** All versions of an upstream's tools, without their definitions. */
export async function readVersions(db: Db | Tx, upstreamId: string): Promise<ToolVersion[]> {
  const rows = await db
    .selectFrom("tool_versions")
    .select(["hash", "name", "status", "offered", "first_seen_at", "decided_at", "decided_by"])
    .where("upstream_id", "=", upstreamId)
    .execute();
  return rows.map((row) => ({
    hash: row.hash,
    name: JSON.parse(row.name) as string,
    status: row.status,
    offered: row.offered,
    firstSeenAt: row.first_seen_at,
    decidedAt: row.decided_at ?? undefined,
    decidedBy: row.decided_by ?? undefined,
  }));
}

/** Definitions as JSON, by hash. */
export async function readDefinitions(
  db: Db | Tx,
  upstreamId: string,
  hashes: readonly string[],
): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const some of slices([...new Set(hashes)])) {
    const rows = await db
      .selectFrom("tool_versions")
      .select(["hash", "definition_json"])
      .where("upstream_id", "=", upstreamId)
      .where("hash", "in", some)
      .execute();
    for (const row of rows) found.set(row.hash, row.definition_json);
  }
  return found;
}

/** Makes the rows what `after` says. `definitions`: JSON by hash of whatever is new. */
export async function writeVersions(
  tx: Tx,
  upstreamId: string,
  change: {
    before: readonly ToolVersion[];
    after: readonly ToolVersion[];
    definitions: ReadonlyMap<string, string>;
  },
): Promise<void> {
  const { before, after, definitions } = change;
  const known = new Map(before.map((version) => [version.hash, version]));
  const staying = new Set(after.map(({ hash }) => hash));
  for (const some of slices(before.filter(({ hash }) => !staying.has(hash))))
    await tx
      .deleteFrom("tool_versions")
      .where("upstream_id", "=", upstreamId)
      .where("hash", "in", hashes(some))
      .execute();
  await insertVersions(
    tx,
    upstreamId,
    after.filter(({ hash }) => !known.has(hash)),
    definitions,
  );
  const changed = after.filter((version) => {
    const was = known.get(version.hash);
    return was !== undefined && key(was) !== key(version);
  });
  // Most change alike: a whole list that is no longer offered is one statement for each 500.
  for (const alike of Map.groupBy(changed, key).values())
    for (const some of slices(alike))
      await tx
        .updateTable("tool_versions")
        .set(columns(some[0]!))
        .where("upstream_id", "=", upstreamId)
        .where("hash", "in", hashes(some))
        .execute();
}

async function insertVersions(
  tx: Tx,
  upstreamId: string,
  versions: readonly ToolVersion[],
  definitions: ReadonlyMap<string, string>,
): Promise<void> {
  for (const some of slices(versions))
    await tx
      .insertInto("tool_versions")
      .values(
        some.map((version) => ({
          upstream_id: upstreamId,
          hash: version.hash,
          name: JSON.stringify(version.name),
          definition_json: definitions.get(version.hash)!,
          first_seen_at: version.firstSeenAt,
          ...columns(version),
        })),
      )
      .execute();
}

/** The upstream has another address: nothing is offered any more, and what waited was another server's. */
export async function forgetOffers(tx: Tx, upstreamId: string): Promise<void> {
  const its = tx.deleteFrom("tool_versions").where("upstream_id", "=", upstreamId);
  await its.where("status", "!=", "approved").execute();
  await tx.updateTable("tool_versions").set({ offered: 0 }).where("upstream_id", "=", upstreamId).execute();
}

function columns({ status, offered, decidedAt, decidedBy }: ToolVersion) {
  return { status, offered, decided_at: decidedAt ?? null, decided_by: decidedBy ?? null };
}

function hashes(versions: readonly ToolVersion[]): string[] {
  return versions.map(({ hash }) => hash);
}

function key(version: ToolVersion): string {
  return JSON.stringify(Object.values(columns(version)));
}

function slices<T>(items: readonly T[]): T[][] {
  const count = Math.ceil(items.length / AT_ONCE);
  return Array.from({ length: count }, (_, at) => items.slice(at * AT_ONCE, (at + 1) * AT_ONCE));
}
