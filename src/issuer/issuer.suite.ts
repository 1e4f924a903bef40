import { createHash, randomBytes } from "node:crypto";
import { type KyselyPlugin, sql } from "kysely";
import { expect } from "vitest";
import type { OpenDatabase } from "../../test/support/databases.ts";
import { readJson } from "../../test/support/read.ts";
import { testSettings } from "../../test/support/settings.ts";
import { type TestWorld, testWorld } from "../../test/support/world.ts";
import { Access, VirtualKeys, VirtualMcps } from "../access/index.ts";
import { Audit } from "../audit/index.ts";
import { Hidden, KeyedHash, type Outbound, Seal, type Settings } from "../base/index.ts";
import { type Database, Flows, Outbox, type Tx } from "../db/index.ts";
import { clearCookie, mount, RateLimits } from "../http/index.ts";
import {
  ApiTokens,
  Departed,
  Groups,
  Guard,
  Identities,
  Memberships,
  ServiceAccounts,
  Sessions,
  Users,
} from "../identity/index.ts";
import { JwtVerifier, SpentAssertions } from "../jwt/index.ts";
import { checkDefinition, Upstreams } from "../upstreams/index.ts";
import { Vault } from "../vault/index.ts";
import { Issuer, type MachineTrust } from "./index.ts";

export const BASE = "http://localhost:8080";
export const REDIRECT = "http://127.0.0.1:7777/cb";
export const ADMIN_TOKEN = "a-long-administrator-token";

export interface Setting {
  settings?: Partial<Settings>;
  outbound?: Outbound;
  machines?: MachineTrust;
  /** Another replica of the same setting. */
  beside?: { world: TestWorld; seal: Seal; hash: KeyedHash; url: string };
}

export type Gateway = Awaited<ReturnType<typeof setUp>>;

/** The real parts around the issuer, on a fresh database, with one key and one per-user upstream. */
export async function setUp(
  open: OpenDatabase,
  { settings: changes, outbound, beside, machines = { rules: [], issuers: [] } }: Setting = {},
) {
  const world = beside?.world ?? testWorld(outbound);
  const settings = testSettings(changes);
  const { database: real, url } = await open(beside?.url);
  const faults = new Faults();
  const database = faults.wrap(real);
  const seal = beside?.seal ?? new Seal([world.random(32)], world.random);
  const hash = beside?.hash ?? new KeyedHash(world.random(32));
  const flows = new Flows(world, seal);
  const outbox = new Outbox(world, seal);
  const users = new Users({ database: real, world });
  const sessions = new Sessions({ database: real, world, hash, seal, settings, users });
  const audit = new Audit({ database: real, world });
  const upstreams = new Upstreams({ world, database: real, seal, settings });
  await upstreams.load();
  const keys = new VirtualKeys({ world, database: real, hash });
  const memberships = new Memberships(real);
  const access = new Access({ world, database: real, upstreams, keys, memberships });
  const vault = new Vault({
    world,
    database: real,
    seal,
    flows,
    outbox,
    audit,
    oauth: { recorded: async () => undefined },
  });
  const sessionOf = async (request: Request) => {
    const signedIn = await sessions.of(request);
    if (!signedIn) return undefined;
    const { user, method } = signedIn;
    return { userId: user.id, email: user.email, name: user.name, role: user.role, method };
  };
  const signOut = async (request: Request) => {
    await sessions.end(request);
    return clearCookie(sessions.cookieName, settings);
  };
  const virtualMcps = new VirtualMcps({ world, database: real, keys, memberships });
  const groups = new Groups({ database: real, world });
  const identities = new Identities({
    ...{ database: real, world, users, groups },
    record: (tx, line) => audit.append(tx, line),
  });
  const serviceAccounts = new ServiceAccounts({ database: real, world, users });
  const jwt = new JwtVerifier({ world });
  const spent = new SpentAssertions({ database: real, world, hash });
  const departed = new Departed({ database: real, world, hash });
  users.listeners.push({ deleted: (tx, user) => departed.note(tx, user.id) });
  const parts = {
    ...{ jwt, spent, identities, departed, serviceAccounts, machines },
    ...{ world, database, flows, seal, hash, settings, audit, upstreams, vault, access, virtualMcps },
    sessionOf,
    signOut,
  };
  const issuer = new Issuer({ ...parts, virtualKeys: keys });
  const guard = new Guard({
    tokens: new ApiTokens({ database: real, world, hash }),
    sessions,
    settings,
    hash,
    adminToken: new Hidden(ADMIN_TOKEN),
    resolveKey: async (value) => {
      const answer = await keys.authenticate(value);
      return answer.ok
        ? { virtualKeyId: answer.key.id, name: answer.key.name, userId: answer.key.userId }
        : undefined;
    },
  });
  const app = mount(issuer.routes, {
    world,
    settings,
    limits: new RateLimits(world),
    authenticate: (request, route) => guard.authenticate(request, route),
  });
  const call = (path: string, init?: RequestInit) => app.request(new URL(path, BASE).href, init);
  return { ...parts, database: real, url, faults, keys, users, sessions, issuer, outbox, call };
}

/** Makes the n-th statement that the issuer sends fail, as a database that goes away would. */
export class Faults {
  /** Statements until the failure; undefined: none. */
  left: number | undefined;
  seen = 0;

  wrap(database: Database): Database {
    const plugin: KyselyPlugin = {
      transformQuery: ({ node }) => {
        this.seen += 1;
        if (this.left !== undefined && --this.left < 0) throw new Error("the database went away");
        return node;
      },
      transformResult: async ({ result }) => result,
    };
    return {
      ...database,
      transaction: (work) => database.transaction((tx) => work(tx.withPlugin(plugin))),
    };
  }
}

/** A browser, as far as these pages need one. */
export class Tab {
  readonly cookies = new Map<string, string>();
  readonly #gateway: Pick<Gateway, "call">;

  constructor(gateway: Pick<Gateway, "call">) {
    this.#gateway = gateway;
  }

  async get(path: string, headers: Record<string, string> = {}): Promise<Response> {
    return this.#keep(await this.#gateway.call(path, { headers: { ...this.headers(), ...headers } }));
  }

  async post(path: string, fields: Record<string, string>, headers: Record<string, string> = {}) {
    const response = await this.#gateway.call(path, {
      method: "POST",
      headers: { "sec-fetch-site": "same-origin", ...this.headers(), ...headers },
      body: new URLSearchParams(fields),
    });
    return this.#keep(response);
  }

  headers(): Record<string, string> {
    const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    return cookie === "" ? {} : { cookie };
  }

  #keep(response: Response): Response {
    for (const line of response.headers.getSetCookie()) {
      const [pair = ""] = line.split(";");
      const equals = pair.indexOf("=");
      this.cookies.set(pair.slice(0, equals), pair.slice(equals + 1));
    }
    return response;
  }
}

export function pkce() {
  const verifier = randomBytes(32).toString("base64url");
  return { verifier, challenge: createHash("sha256").update(verifier).digest("base64url") };
}

export async function register(
  gateway: Pick<Gateway, "call">,
  metadata: object = { client_name: "C1", redirect_uris: [REDIRECT] },
) {
  return gateway.call("/api/oauth/per-user/register", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(metadata),
  });
}

export interface Started {
  tab: Tab;
  flowId: string;
  clientId: string;
  verifier: string;
}

export function authorizePath(parameters: Record<string, string | undefined>): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) if (value !== undefined) query.set(name, value);
  return `/api/oauth/per-user/authorize?${query}`;
}

/** A registered client whose person has just arrived at the identity page. */
export async function startConsent(
  gateway: Gateway,
  options: { tab?: Tab; clientId?: string; redirectUri?: string; more?: Record<string, string> } = {},
): Promise<Started> {
  const tab = options.tab ?? new Tab(gateway);
  const clientId = options.clientId ?? (await readJson(await register(gateway))).client_id;
  const { verifier, challenge } = pkce();
  const response = await tab.get(
    authorizePath({
      client_id: clientId,
      redirect_uri: options.redirectUri ?? REDIRECT,
      response_type: "code",
      code_challenge: challenge,
      code_challenge_method: "S256",
      state: "the state",
      ...options.more,
    }),
  );
  if (response.status !== 302)
    throw new Error(`authorize answered ${response.status}: ${await response.text()}`);
  const flowId = new URL(response.headers.get("location")!, BASE).searchParams.get("flow_id")!;
  return { tab, flowId, clientId, verifier };
}

export async function addKey(
  gateway: Gateway,
  options: { name?: string; userId?: string; upstreamIds?: string[] } = {},
) {
  const configs = (options.upstreamIds ?? []).map((upstreamId) => ({ upstreamId, tools: ["*"] }));
  const { key, value } = await gateway.keys.create({
    name: options.name ?? "ci",
    userId: options.userId,
    configs,
    source: "api",
  });
  return { id: key.id, value: value.reveal() };
}

export async function addUpstream(gateway: Gateway, name = "notes") {
  const body = {
    name,
    connection_string: "https://mcp.example/mcp",
    auth_type: "per_user_oauth" as const,
    tools_to_execute: ["*"],
    allow_on_all_virtual_keys: true,
  };
  return gateway.upstreams.create(checkDefinition(body), "api");
}

/** What connect/ would store when a person comes back from a provider during the consent. */
export async function connectDuring(gateway: Gateway, flowId: string, upstreamId: string): Promise<void> {
  await gateway.database.transaction(async (tx) => {
    await gateway.vault.put(tx, {
      owner: { mode: "flow", id: flowId },
      upstreamId,
      account: "",
      secret: {
        kind: "oauth",
        accessToken: new Hidden("upstream-token"),
        issuer: "https://mcp.example",
        oauthConfigId: "",
      },
    });
  });
}

/** A person with an account, signed in in `tab`. */
export async function signIn(gateway: Gateway, tab: Tab, email = "ada@example.com") {
  const prepared = await gateway.users.prepareAdmin(email, new Hidden("correct horse battery"));
  const now = gateway.world.now().getTime();
  const id = `user_${email}`;
  await gateway.database.db
    .insertInto("users")
    .values({
      id,
      email: prepared.email,
      name: "Ada",
      password_hash: prepared.passwordHash,
      role: "member",
      is_active: 1,
      created_at: now,
      updated_at: now,
    })
    .execute();
  const user = (await gateway.users.find(id))!;
  const { value } = await gateway.sessions.start(user);
  tab.cookies.set(gateway.sessions.cookieName, value.reveal());
  return { id, email };
}

/** The whole way to a code, with a virtual key. */
export async function consented(gateway: Gateway, keyValue: string, started?: Started) {
  const flow = started ?? (await startConsent(gateway));
  await flow.tab.post("/api/oauth/per-user/consent/vk", { flow_id: flow.flowId, vk: keyValue });
  const response = await flow.tab.post("/api/oauth/per-user/consent/submit", { flow_id: flow.flowId });
  if (response.status !== 302)
    throw new Error(`submit answered ${response.status}: ${await response.text()}`);
  const location = new URL(response.headers.get("location")!);
  return { ...flow, location, code: location.searchParams.get("code")! };
}

export function token(gateway: Pick<Gateway, "call">, fields: Record<string, string>, headers = {}) {
  return gateway.call("/api/oauth/per-user/token", {
    method: "POST",
    headers,
    body: new URLSearchParams(fields),
  });
}

export function exchange(
  gateway: Pick<Gateway, "call">,
  got: { code: string; verifier: string; clientId: string },
  more: Record<string, string> = {},
) {
  return token(gateway, {
    grant_type: "authorization_code",
    code: got.code,
    code_verifier: got.verifier,
    client_id: got.clientId,
    redirect_uri: REDIRECT,
    ...more,
  });
}

export function refresh(
  gateway: Pick<Gateway, "call">,
  clientId: string,
  refreshToken: string,
  more: Record<string, string> = {},
) {
  return token(gateway, {
    grant_type: "refresh_token",
    refresh_token: refreshToken,
    client_id: clientId,
    ...more,
  });
}

/** Row counts of everything a consent may leave behind. */
export async function counts(gateway: Gateway) {
  const { db } = gateway.database;
  const count = async (table: "grants" | "clients" | "tokens" | "credentials" | "audit") =>
    Number(
      (
        await db
          .selectFrom(table)
          .select((c) => c.fn.countAll().as("n"))
          .executeTakeFirstOrThrow()
      ).n,
    );
  const codes = await db
    .selectFrom("flows")
    .select((c) => c.fn.countAll().as("n"))
    .where("kind", "=", "code")
    .executeTakeFirstOrThrow();
  return {
    grants: await count("grants"),
    clients: await count("clients"),
    tokens: await count("tokens"),
    credentials: await count("credentials"),
    audit: await count("audit"),
    codes: Number(codes.n),
  };
}

/** Resolves when another transaction waits for what this one holds. */
export async function somebodyWaits(tx: Tx): Promise<void> {
  const waiting = async () => {
    const blocked = sql`select 1 from pg_locks where not granted and pg_backend_pid() = any(pg_blocking_pids(pid))`;
    return (await blocked.execute(tx)).rows.length;
  };
  await expect.poll(waiting, { interval: 5 }).toBeGreaterThan(0);
}
