import { sql } from "kysely";
import { type Seal, type SealContext, SealFault } from "../../src/base/index.ts";
import type { Database, Row, SealedColumn } from "../../src/db/index.ts";

export interface Standing {
  seal: Seal;
  /** Where sealed values lie: `sealedColumns` of src/sealed-database.ts. */
  columns: readonly SealedColumn[];
  /** The gateways' clock, in milliseconds. */
  now: number;
  /** Refresh tokens are given (`grant_max_days` is not 0); default true. */
  refreshTokens?: boolean;
}

/**
 * What is true of the database between any two transactions, whatever was killed in the middle of what. Each sentence names
 * a row that breaks it; none means that all is well. What only a sweeper removes may be there as long as its time has come
 * only for the sweeper.
 */
export async function checkInvariants(database: Database, standing: Standing): Promise<string[]> {
  const rows = await readAll(database);
  return [
    ...grantsAndTokens(rows, standing),
    ...credentials(rows, standing),
    ...flows(rows, standing),
    ...changes(rows),
    ...(await sealedValues(database, standing)),
  ];
}

/** The same, as an error with all of it. */
export async function assertInvariants(database: Database, standing: Standing): Promise<void> {
  const broken = await checkInvariants(database, standing);
  if (broken.length > 0) throw new Error(`the database is not as it must be:\n${broken.join("\n")}`);
}

type Rows = Awaited<ReturnType<typeof readAll>>;

/** One snapshot: on Postgres other replicas may be writing. */
function readAll({ kind, db }: Database) {
  const snapshot =
    kind === "postgres" ? db.transaction().setIsolationLevel("repeatable read") : db.transaction();
  return snapshot.execute(async (tx) => {
    return {
      grants: await tx.selectFrom("grants").selectAll().execute(),
      tokens: await tx.selectFrom("tokens").selectAll().execute(),
      credentials: await tx.selectFrom("credentials").selectAll().execute(),
      flows: await tx.selectFrom("flows").selectAll().execute(),
      keys: await tx.selectFrom("virtual_keys").select("id").execute(),
      users: await tx.selectFrom("users").select("id").execute(),
      upstreams: await tx.selectFrom("upstreams").select("id").execute(),
      clients: await tx.selectFrom("clients").select("id").execute(),
      created: await tx
        .selectFrom("audit")
        .select("detail_json")
        .where("event", "=", "grant.created")
        .execute(),
      changes: await tx.selectFrom("changes").select("seq").execute(),
      counter: await tx.selectFrom("change_counter").select("value").executeTakeFirstOrThrow(),
    };
  });
}

/** A consent is there with all that belongs to it, or not at all. */
function* grantsAndTokens(rows: Rows, { now, refreshTokens = true }: Standing): Generator<string> {
  const grants = new Map(rows.grants.map((grant) => [grant.id, grant]));
  const clients = new Set(rows.clients.map(({ id }) => id));
  const audited = new Set(rows.created.map(({ detail_json }) => JSON.parse(detail_json).grant_id));
  const tips = new Map<string, number>();
  const owners = ownersOf(rows);
  const tokens = new Map(rows.tokens.map((token) => [token.hash, token]));
  const codesOf = Map.groupBy(
    rows.flows.filter((flow) => flow.kind === "code"),
    (flow) => flow.parent_id,
  );
  for (const { hash, grant_id, kind, rotated_at, predecessor_hash } of rows.tokens) {
    const grant = grants.get(grant_id);
    if (!grant) yield `token ${hash}: its grant ${grant_id} is gone`;
    else if (grant.status !== "active") yield `token ${hash}: its grant ${grant_id} was never redeemed`;
    if (kind === "refresh" && rotated_at === null) tips.set(grant_id, (tips.get(grant_id) ?? 0) + 1);
    const before = tokens.get(predecessor_hash ?? "");
    if (before && before.rotated_at === null) yield `token ${hash}: the one that it replaces still counts`;
  }
  for (const grant of rows.grants) {
    if (!clients.has(grant.client_row_id)) yield `grant ${grant.id}: its client is gone`;
    if (!audited.has(grant.id)) yield `grant ${grant.id}: nothing on the audit trail says that it was made`;
    if (!owners(grant.owner_mode, grant.owner_id))
      yield `grant ${grant.id}: its owner ${grant.owner_mode}:${grant.owner_id} is gone`;
    const codes = codesOf.get(grant.id) ?? [];
    if (codes.length > 1) yield `grant ${grant.id}: it has ${codes.length} codes`;
    const isOpen = codes[0]?.ended_at === null || codes[0]?.outcome === "expired";
    if (grant.status === "pending" && !isOpen)
      yield `grant ${grant.id}: it waits for a code that is not there`;
    const tip = tips.get(grant.id) ?? 0;
    if (grant.status === "active" && refreshTokens && tip !== 1 && grant.ends_at > now)
      yield `grant ${grant.id}: ${tip} refresh tokens count, not one`;
  }
}

/** Every credential has an owner, each owner one default at an upstream, and none is between two owners. */
function* credentials(rows: Rows, { now }: Standing): Generator<string> {
  const upstreams = new Set(rows.upstreams.map(({ id }) => id));
  const defaults = new Map<string, number>();
  const seen = new Set<string>();
  const owners = ownersOf(rows);
  for (const row of rows.credentials) {
    const { id, owner_mode, owner_id, upstream_id, account, refresh_holder, refresh_until } = row;
    if (!upstreams.has(upstream_id)) yield `credential ${id}: its upstream ${upstream_id} is gone`;
    const binding = `${owner_mode}:${owner_id} at ${upstream_id}`;
    defaults.set(binding, (defaults.get(binding) ?? 0) + row.is_default);
    if ((refresh_holder === null) !== (refresh_until === null)) yield `credential ${id}: half a lease`;
    if (owner_mode === "flow") yield* underFlow(rows, row, now);
    else if (!owners(owner_mode, owner_id))
      yield `credential ${id}: its owner ${owner_mode}:${owner_id} is gone`;
    if (seen.has(`${binding} ${account}`))
      yield `credential ${id}: ${binding} has the account ${account} twice`;
    seen.add(`${binding} ${account}`);
  }
  for (const [binding, count] of defaults) if (count !== 1) yield `${binding}: ${count} defaults`;
}

/** What was connected during a consent: it goes with the consent, in the same moment. */
function* underFlow(rows: Rows, { id, owner_id }: Row<"credentials">, now: number): Generator<string> {
  const flow = rows.flows.find((one) => one.id === owner_id && one.kind === "consent");
  const isOver = flow === undefined || (flow.ended_at !== null && flow.outcome !== "expired");
  // A tombstone goes after a day; by then the sweeper has been here.
  if (isOver)
    yield `credential ${id}: left under the consent ${owner_id}, which is ${flow?.outcome ?? "gone"}`;
  if (flow && flow.expires_at > now && flow.outcome === "expired") yield `consent ${flow.id}: expired early`;
}

function ownersOf(rows: Rows): (mode: string, id: string) => boolean {
  const ids = (list: readonly { id: string }[]) => new Set(list.map(({ id }) => id));
  const [keys, users, upstreams] = [ids(rows.keys), ids(rows.users), ids(rows.upstreams)];
  const sessions = new Set(rows.grants.map((grant) => grant.owner_id));
  return (mode, id) => {
    if (mode === "vk") return keys.has(id);
    if (mode === "user") return users.has(id);
    if (mode === "session") return id.startsWith("anon_") || sessions.has(id);
    return upstreams.has(id);
  };
}

/** What was used is empty, and nothing waits for something that is over. */
function* flows(rows: Rows, { now }: Standing): Generator<string> {
  const byId = new Map(rows.flows.map((flow) => [flow.id, flow]));
  const grants = new Map(rows.grants.map((grant) => [grant.id, grant]));
  const isPending = (flow: Row<"flows"> | undefined) => flow?.ended_at === null && flow.expires_at > now;
  for (const flow of rows.flows) {
    const { id, kind, ended_at, outcome, data_json, sealed } = flow;
    // A link that served says where it led, to a browser that asks again (src/connect/callback-again.ts).
    const isEmpty = data_json === "{}" || (kind === "connect" && outcome === "connected");
    if (ended_at !== null && !(isEmpty && sealed === null)) yield `${kind} ${id}: ended, not emptied`;
    if ((ended_at === null) !== (outcome === null)) yield `${kind} ${id}: half ended`;
    if (!isPending(flow)) continue;
    const parent = flow.parent_id === null ? undefined : byId.get(flow.parent_id);
    if (kind === "code" && grants.get(flow.parent_id ?? "")?.status !== "pending")
      yield `code ${id}: its grant does not wait for it`;
    if ((kind === "state" || kind === "swap") && !isPending(parent) && parent?.outcome !== "expired")
      yield `${kind} ${id}: its link is ${parent?.outcome ?? "gone"}`;
    if (kind === "connect" && flow.owner_mode === "flow") {
      const consent = byId.get(flow.owner_id ?? "");
      if (consent?.ended_at !== null && consent?.outcome !== "expired")
        yield `connect ${id}: its consent is ${consent?.outcome ?? "gone"}`;
    }
  }
}

/** Other replicas read them in order: none is missing at the end. */
function* changes({ changes, counter }: Rows): Generator<string> {
  const last = Math.max(0, ...changes.map(({ seq }) => seq));
  if (changes.length > 0 && last !== counter.value)
    yield `the change counter says ${counter.value}, the last change is ${last}`;
}

/** Every sealed value opens where it is, and nowhere else: not in another row, for another owner or another upstream (R11). */
async function sealedValues(database: Database, { seal, columns }: Standing): Promise<string[]> {
  const broken: string[] = [];
  for (const { table, column, key, reads, context } of columns) {
    if (!context) continue;
    const wanted = [key, ...reads].map((name) => sql`cast(${sql.ref(name)} as text) as ${sql.ref(name)}`);
    const { rows } = await sql<Record<string, string> & { postern_value: Uint8Array }>`
      select ${sql.join(wanted)}, ${sql.ref(column)} as postern_value from ${sql.table(table)}
      where ${sql.ref(column)} is not null`.execute(database.db);
    rows.forEach((row, index) => {
      const where = `${table}.${column} ${row[key]}`;
      const right = context(row);
      if (!opens(seal, row.postern_value, right)) broken.push(`${where}: it does not open`);
      const neighbour = rows[(index + 1) % rows.length]!;
      const wrong = right.map((_, part) => changed(right, part));
      if (neighbour !== row) wrong.push(context(neighbour));
      for (const other of wrong)
        if (opens(seal, row.postern_value, other)) broken.push(`${where}: it opens as ${other.join(", ")}`);
    });
  }
  return broken;
}

function changed(right: SealContext, part: number): SealContext {
  return right.map((value, index) => (index === part ? `${value}x` : value)) as unknown as SealContext;
}

function opens(seal: Seal, sealed: Uint8Array, context: SealContext): boolean {
  try {
    seal.open(sealed, context);
    return true;
  } catch (error) {
    if (error instanceof SealFault) return false;
    throw error;
  }
}
