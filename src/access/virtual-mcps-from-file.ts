import { sql } from "kysely";
import { type Log, Problem } from "../base/index.ts";
import type { Database, Db } from "../db/index.ts";
import { ConfigurationFault, type Upstreams } from "../upstreams/index.ts";
import { plainNamesNeedOne, slugPattern, type VirtualMcp } from "./virtual-mcp.ts";
import { resolveBundle, type VirtualMcpEntry } from "./virtual-mcp-body.ts";
import type { Bundle } from "./virtual-mcp-rows.ts";
import type { VirtualMcps } from "./virtual-mcps.ts";

interface Parts {
  virtualMcps: VirtualMcps;
  upstreams: Upstreams;
  database: Database;
  log: Log;
}

/** An entry that was held against what is stored. */
interface Checked {
  entry: VirtualMcpEntry;
  slug: string;
  upstreams: Bundle["upstreams"];
  known?: VirtualMcp;
}

/**
 * Makes the stored virtual MCPs with source `file` what `mcp.tool_groups[]` says, by name; gone ones are switched off.
 * The upstreams and keys of the file come first. Throws `ConfigurationFault`, before anything is written.
 */
export async function reconcileVirtualMcpFile(
  parts: Parts,
  entries: readonly VirtualMcpEntry[],
): Promise<void> {
  const { virtualMcps: stored } = await parts.virtualMcps.list({});
  const checked = entries.map((entry, index) =>
    check(parts, entry, `mcp.tool_groups[${index}] (${entry.name})`, stored),
  );
  refuseTwice(checked);
  for (const { entry, slug, upstreams, known } of checked) {
    const { name, description = "", disabled = false, names = "prefixed", listing = "full" } = entry;
    const given = { description, disabled, names, listing, upstreams, ...(await attachments(parts, entry)) };
    if (known) await parts.virtualMcps.update(known.id, () => given);
    else await parts.virtualMcps.create({ ...given, slug, name, source: "file" });
  }
  const names = new Set(entries.map((entry) => entry.name));
  for (const { id, name, source, disabled } of stored) {
    if (source === "file" && !names.has(name) && !disabled)
      await parts.virtualMcps.update(id, () => ({ disabled: true }));
  }
}

function check(parts: Parts, entry: VirtualMcpEntry, where: string, stored: readonly VirtualMcp[]): Checked {
  const slug = entry.slug ?? slugOf(entry.name);
  if (!slugPattern.test(slug))
    throw new ConfigurationFault(`${where}: no slug follows from the name. Give one.`);
  const known = stored.find((one) => one.name === entry.name);
  const rival = stored.find((one) => one !== known && one.slug.toLowerCase() === slug.toLowerCase());
  if (known?.source === "api" || rival) {
    const what = rival
      ? `another virtual MCP has the slug "${slug}"`
      : "one of this name was made through the API";
    throw new ConfigurationFault(`${where}: ${what}. Delete it or rename this entry.`);
  }
  if (known && known.slug !== slug) {
    throw new ConfigurationFault(
      `${where}: its slug is "${known.slug}" and never changes. Use another name for a new one.`,
    );
  }
  try {
    const upstreams = resolveBundle(parts.upstreams, entry) ?? [];
    if (entry.names === "plain" && upstreams.length > 1) throw plainNamesNeedOne();
    return { entry, slug, known, upstreams };
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    throw new ConfigurationFault(`${where}${error.param ? `, ${error.param}` : ""}: ${error.message}`);
  }
}

function refuseTwice(checked: readonly Checked[]): void {
  const names = new Set<string>();
  const slugs = new Set<string>();
  for (const { entry, slug } of checked) {
    if (names.has(entry.name) || slugs.has(slug.toLowerCase())) {
      throw new ConfigurationFault(
        `mcp.tool_groups names "${entry.name}" or the slug "${slug}" twice. Keep one.`,
      );
    }
    names.add(entry.name);
    slugs.add(slug.toLowerCase());
  }
}

function slugOf(name: string): string {
  return name
    .toLowerCase()
    .replaceAll(/[^a-z0-9_-]+/g, "-")
    .replaceAll(/^[-_]+|-+$/g, "")
    .slice(0, 63);
}

/** Keys, users and groups come and go while the file stays: one that is not there is named in the log and attached to nothing. */
async function attachments(
  { database: { db }, log }: Parts,
  { name, virtual_key_names = [], user_emails = [], group_names = [] }: VirtualMcpEntry,
): Promise<Pick<Bundle, "virtualKeyIds" | "userIds" | "groupIds">> {
  const emails = user_emails.map((email) => email.trim().toLowerCase());
  const keys = await idsBy(db, "virtual_keys", "name", virtual_key_names);
  const users = await idsBy(db, "users", "email", emails);
  const groups = await idsBy(db, "groups", "name", group_names);
  const missing = [
    ...virtual_key_names.filter((one) => !keys.has(one)),
    ...emails.filter((one) => !users.has(one)),
    ...group_names.filter((one) => !groups.has(one)),
  ];
  if (missing.length > 0) log.warn("virtual_mcp.not_attached", { name, missing });
  return {
    virtualKeyIds: [...keys.values()],
    userIds: [...users.values()],
    groupIds: [...groups.values()],
  };
}

/** What is there of these, by what the file calls it. */
async function idsBy(
  db: Db,
  table: "virtual_keys" | "users" | "groups",
  column: "name" | "email",
  values: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  if (values.length === 0) return new Map();
  const { rows } = await sql<{ id: string; value: string }>`
    select id, ${sql.ref(column)} as value from ${sql.table(table)} where ${sql.ref(column)} in (${sql.join([...values])})
  `.execute(db);
  return new Map(rows.map(({ id, value }) => [value, id]));
}
