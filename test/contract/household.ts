import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sql } from "kysely";
import { Hidden } from "../../src/base/index.ts";
import { type Database, openDatabase } from "../../src/db/index.ts";
import { Management } from "../journeys/steps/management.ts";
import { startProtectedUpstream } from "../journeys/steps/peers.ts";
import { startModernUpstream } from "../peers/modern-upstream.ts";
import { startScriptedUpstream } from "../peers/scripted-upstream.ts";
import { migratedPostgresDatabase } from "../postgres/database.ts";
import { adminToken, startGateway } from "../support/gateway.ts";
import { watchedLog } from "../support/leavings.ts";
import { type Sent, Wire } from "./wire.ts";

export const password = "a long password for the contract";
const email = "admin@example.com";
export const memberEmail = "member@example.com";
export const headerName = "X-Api-Key";
export const headerValue = "value-of-alice";

/** What a request carries to prove who calls. */
export type Credential = Record<string, string>;

/** A gateway on a real port with something of everything in it. */
export interface Household {
  url: string;
  wire: Wire;
  management: Management;
  upstreams: { plain: string; fixed: string; values: string; tokens: string; configId: string };
  /** Where a gateway upstream can be made in a test. */
  plainUrl: string;
  keys: { first: { id: string; value: string }; second: { id: string; value: string } };
  callers: Record<"none" | "admin" | "person" | "member" | "key" | "wrong" | "foreign", Credential>;
  /** Rows per table, audit and change notes apart. */
  counts(): Promise<Record<string, number>>;
  close(): Promise<void>;
}

export async function openHousehold(kind: "sqlite" | "postgres"): Promise<Household> {
  const closing: (() => unknown)[] = [];
  const close = async () => {
    for (const one of closing.splice(0).reverse()) await one();
  };
  try {
    return { ...(await furnish(kind, closing)), close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function furnish(
  kind: "sqlite" | "postgres",
  closing: (() => unknown)[],
): Promise<Omit<Household, "close">> {
  const databaseUrl = await emptyDatabase(kind, closing);
  const plain = await startScriptedUpstream();
  closing.push(() => plain.close());
  const values = await startModernUpstream({
    eras: "both",
    protection: { kind: "header", name: headerName.toLowerCase(), accounts: { [headerValue]: "alice" } },
  });
  closing.push(() => values.close());
  const tokens = await startProtectedUpstream({ deviceFlow: true });
  closing.push(() => tokens.close());
  const running = await startGateway({
    databaseUrl,
    outboundAllow: [new URL(plain.url).host, new URL(values.url).host, ...tokens.allow],
    configure: (config) => {
      config.admin = { email, password: new Hidden(password) };
      for (const limit of Object.values(config.limits)) limit.requests = 1_000_000;
    },
  });
  closing.push(() => running.stop());
  const database = await openDatabase(databaseUrl, watchedLog());
  closing.push(() => database.close());
  const wire = new Wire(running.url);
  closing.push(() => wire.close());

  await copyAdministrator(database);
  const management = new Management(running.url, adminToken);
  const create = (name: string, connection_string: string, more: object) =>
    management.createUpstream({ name, connection_string, ...more });
  const ids = {
    plain: (await create("plain", plain.url, {})).mcp_client_id,
    fixed: (await create("fixed", plain.url, { auth_type: "headers", headers: { "x-one": "1" } }))
      .mcp_client_id,
    values: (
      await create("values", values.url, {
        auth_type: "per_user_headers",
        per_user_header_keys: [headerName],
        user_headers: { [headerName]: headerValue },
      })
    ).mcp_client_id,
  };
  const pending = await create("tokens", tokens.upstream.url, { auth_type: "per_user_oauth" });
  const upstreams = { ...ids, tokens: pending.mcp_client_id, configId: pending.oauth_config_id };
  const all = [ids.plain, ids.values, pending.mcp_client_id];
  const keys = {
    first: await management.createKey("first", all),
    second: await management.createKey("second", all),
  };
  const callers = {
    none: {},
    admin: { authorization: `Bearer ${adminToken}` },
    person: await signIn(wire, email),
    member: await signIn(wire, memberEmail),
    key: { "x-bf-vk": keys.first.value },
    wrong: { authorization: "Bearer sk-bf-this-is-not-a-key-of-anybody" },
    // A token of the authorization server's shape counts on /mcp only, and only when it was issued.
    foreign: { authorization: "Bearer pst_0000000000000000000000000000000000000000000" },
  };
  return {
    url: running.url,
    wire,
    management,
    upstreams,
    plainUrl: plain.url,
    keys,
    callers,
    counts: () => counts(database),
  };
}

async function emptyDatabase(kind: "sqlite" | "postgres", closing: (() => unknown)[]): Promise<string> {
  if (kind === "postgres") {
    const { url, drop } = await migratedPostgresDatabase();
    closing.push(drop);
    return url;
  }
  const folder = await mkdtemp(join(tmpdir(), "postern-contract-"));
  closing.push(() => rm(folder, { recursive: true }));
  return `sqlite:${join(folder, "postern.db")}`;
}

/** A member with the administrator's password; hashing one more would take time and prove nothing. */
async function copyAdministrator({ db }: Database): Promise<void> {
  const admin = await db.selectFrom("users").selectAll().executeTakeFirstOrThrow();
  await db
    .insertInto("users")
    .values({ ...admin, id: "user_member", email: memberEmail, name: "Member", role: "member" })
    .execute();
}

/** The dashboard cookie, as one of our own pages sends it. */
export async function signIn(wire: Wire, address: string): Promise<Credential> {
  const answer = await wire.send({
    method: "POST",
    target: "/api/session/login",
    headers: { "content-type": "application/json", "sec-fetch-site": "same-origin" },
    body: JSON.stringify({ email: address, password }),
  });
  return { cookie: cookieOf(answer), "sec-fetch-site": "same-origin" };
}

/** The cookie that an answer sets. */
export function cookieOf(answer: {
  status: number;
  text: string;
  headers: { "set-cookie"?: string[] };
}): string {
  const [set] = answer.headers["set-cookie"] ?? [];
  if (set === undefined) throw new Error(`no cookie came with ${answer.status} ${answer.text.slice(0, 200)}`);
  return set.split(";")[0]!;
}

/** What a browser on our own pages sends with a form. */
export function form(fields: Record<string, string>, cookie?: string): Pick<Sent, "headers" | "body"> {
  return {
    headers: {
      "content-type": "application/x-www-form-urlencoded",
      "sec-fetch-site": "same-origin",
      ...(cookie === undefined ? {} : { cookie }),
    },
    body: String(new URLSearchParams(fields)),
  };
}

/** What is written whatever the answer: who tried, and what other replicas must read again. */
const UNCOUNTED = ["audit", "changes", "change_counter"];

async function counts({ db, kind }: Database): Promise<Record<string, number>> {
  const { rows: tables } = await sql<{ name: string }>`${sql.raw(
    kind === "postgres"
      ? "select table_name as name from information_schema.tables where table_schema = 'public'"
      : "select name from sqlite_schema where type = 'table'",
  )} order by 1`.execute(db);
  const names = tables.map(({ name }) => name).filter((name) => !UNCOUNTED.includes(name));
  const each = names.map(
    (name) => sql`select ${sql.lit(name)} as name, count(*) as rows from ${sql.id(name)}`,
  );
  const { rows } = await sql<{
    name: string;
    rows: number | string;
  }>`${sql.join(each, sql` union all `)}`.execute(db);
  return Object.fromEntries(rows.map(({ name, rows }) => [name, Number(rows)]));
}
