import { type Kysely, sql } from "kysely";
import { fingerprint, parseStrictJson } from "../../base/index.ts";
import type { Columns } from "./0001-initial.ts";

interface Tables {
  upstreams: { id: string; tools_json: string | null; tools_synced_at: number | null; updated_at: number };
  tool_versions: {
    upstream_id: string;
    hash: string;
    name: string;
    definition_json: string;
    status: string;
    offered: number;
    first_seen_at: number;
    decided_at: number;
    decided_by: string;
  };
}

const AT_ONCE = 500;
const noLimits = { maxBytes: Infinity, maxDepth: Infinity, maxKeys: Infinity };

/** What was approved of each upstream's tools, and what waits. What is in use by now counts as approved. */
export async function up(db: Kysely<unknown>, c: Columns): Promise<void> {
  await db.schema
    .createTable("tool_versions")
    .addColumn("upstream_id", "text", (col) => col.notNull().references("upstreams.id").onDelete("cascade"))
    .addColumn("hash", "text", (col) => col.notNull())
    .addColumn("name", "text", (col) => col.notNull())
    .addColumn("definition_json", "text", (col) => col.notNull())
    .addColumn("status", "text", (col) => col.notNull())
    .addColumn("offered", "integer", (col) => col.notNull())
    .addColumn("first_seen_at", c.time, (col) => col.notNull())
    .addColumn("decided_at", c.time)
    .addColumn("decided_by", "text")
    .addPrimaryKeyConstraint("tool_versions_key", ["upstream_id", "hash"])
    .execute();
  await db.schema.alterTable("upstreams").addColumn("tools_approved_at", c.time).execute();
  await db.schema
    .alterTable("upstreams")
    .addColumn("held_tools", "integer", (col) => col.notNull().defaultTo(0))
    .execute();
  await approveWhatIsStored(db as Kysely<Tables>);
}

async function approveWhatIsStored(db: Kysely<Tables>): Promise<void> {
  const known = await db.selectFrom("upstreams").select("id").where("tools_json", "is not", null).execute();
  for (const { id } of known) {
    const row = await db.selectFrom("upstreams").selectAll().where("id", "=", id).executeTakeFirstOrThrow();
    const versions = versionsOf(row);
    for (let at = 0; at < versions.length; at += AT_ONCE)
      await db
        .insertInto("tool_versions")
        .values(versions.slice(at, at + AT_ONCE))
        .execute();
    if (versions.length > 0)
      await sql`update upstreams set tools_approved_at = coalesce(tools_synced_at, updated_at) where id = ${id}`.execute(
        db,
      );
  }
}

function versionsOf(row: Tables["upstreams"]): Tables["tool_versions"][] {
  const at = row.tools_synced_at ?? row.updated_at;
  const versions = new Map<string, Tables["tool_versions"]>();
  for (const tool of parseStrictJson(row.tools_json!, noLimits) as { name: string }[]) {
    const hash = fingerprint(tool);
    versions.set(hash, {
      upstream_id: row.id,
      hash,
      name: JSON.stringify(tool.name),
      definition_json: JSON.stringify(tool),
      status: "approved",
      offered: (versions.get(hash)?.offered ?? 0) + 1,
      first_seen_at: at,
      decided_at: at,
      decided_by: "first_reading",
    });
  }
  return [...versions.values()];
}
