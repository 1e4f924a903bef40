import { type Access, decide } from "../access/index.ts";
import type { Owner } from "../base/index.ts";
import type { Database } from "../db/index.ts";
import { isConnectable, type Upstream, type Upstreams } from "../upstreams/index.ts";
import { listSessions, type SessionRow } from "../vault/index.ts";

/** What a person can read a service's standing by; the order is that of the page. */
export const groups = ["attention", "connected", "open", "shared", "withdrawn"] as const;
export type Group = (typeof groups)[number];

export interface Account {
  /** The row of `/api/mcp/sessions`. */
  id: string;
  /** Its label; empty for the first, where there is no other. */
  label: string;
  /** What the service calls it. */
  name?: string;
  isDefault: boolean;
  standing: "works" | "again" | "values" | "withdrawn" | "unfinished";
  reason?: string;
  /** When it was connected, or renewed by its person. Milliseconds since 1970. */
  since: number;
}

export interface Service {
  id: string;
  name: string;
  host?: string;
  /** How its calls are authorized. */
  way: "oauth" | "headers" | "exchange" | "shared" | "none";
  /** An administrator has switched it off. */
  isOff: boolean;
  accounts: readonly Account[];
  group: Group;
}

export interface ServicesParts {
  database: Database;
  access: Pick<Access, "rulesFor">;
  upstreams: Pick<Upstreams, "all" | "find">;
}

/** More than anybody has: 20 accounts of every service. */
const MOST_ROWS = 10_000;

/** Everything that a person may use, and what they connected; by name. `now`: milliseconds. */
export async function servicesOf(parts: ServicesParts, userId: string, now: number): Promise<Service[]> {
  const owner: Owner = { mode: "user", id: userId };
  const [rules, { rows }] = await Promise.all([
    parts.access.rulesFor({ owner }),
    listSessions(parts.database.db, owner, {}, { limit: MOST_ROWS, offset: 0 }, now),
  ]);
  const byUpstream = Map.groupBy(rows, (row) => row.upstream_id);
  const usable = parts.upstreams
    .all()
    .filter((upstream) => decide(rules, upstream) || (rules.upstreams.has(upstream.id) && upstream.disabled));
  const services = usable.map((upstream) => serviceOf(upstream, byUpstream.get(upstream.id) ?? []));
  const known = new Set(usable.map(({ id }) => id));
  for (const [id, left] of byUpstream) if (!known.has(id)) services.push(withdrawnOf(id, left));
  return services.toSorted((a, b) => a.name.localeCompare(b.name, "en"));
}

function serviceOf(upstream: Upstream, rows: readonly SessionRow[]): Service {
  const accounts = rows.map(accountOf).toSorted((a, b) => Number(b.isDefault) - Number(a.isDefault));
  const { id, name, url, disabled } = upstream;
  const way = wayOf(upstream);
  const group = way === "oauth" || way === "headers" ? groupOf(accounts) : "shared";
  return { id, name, host: url.host || undefined, way, isOff: disabled, accounts, group };
}

function withdrawnOf(id: string, rows: readonly SessionRow[]): Service {
  const [{ upstream_name: name, auth_kind: way }] = rows as [SessionRow, ...SessionRow[]];
  const accounts = rows.map((row): Account => ({ ...accountOf(row), standing: "withdrawn" }));
  return { id, name, way, isOff: false, accounts, group: "withdrawn" };
}

function wayOf(upstream: Upstream): Service["way"] {
  if (upstream.exchanged) return "exchange";
  if (isConnectable(upstream)) return upstream.authType === "per_user_headers" ? "headers" : "oauth";
  return upstream.authType === "none" ? "none" : "shared";
}

function accountOf(row: SessionRow): Account {
  return {
    id: row.id,
    label: row.account,
    name: row.account_name ?? undefined,
    isDefault: row.is_default === 1,
    standing: standings[row.status],
    reason: row.status_reason ?? undefined,
    since: row.last_refreshed_at ?? row.created_at,
  };
}

const standings: Record<SessionRow["status"], Account["standing"]> = {
  active: "works",
  needs_reauth: "again",
  needs_update: "values",
  orphaned: "withdrawn",
  pending: "unfinished",
};

function groupOf(accounts: readonly Account[]): Group {
  const has = (...standing: Account["standing"][]) => accounts.some((one) => standing.includes(one.standing));
  if (has("again", "values")) return "attention";
  if (has("works")) return "connected";
  return has("withdrawn") ? "withdrawn" : "open";
}
