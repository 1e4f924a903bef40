import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { VirtualKeys } from "../../src/access/index.ts";
import { type Gateway, openGateway } from "../../src/app.ts";
import { type KeyedHash, newId, newSecret } from "../../src/base/index.ts";
import { loadConfig } from "../../src/config.ts";
import { type Database, openKeyedHash } from "../../src/db/index.ts";
import { ApiTokens, Groups } from "../../src/identity/index.ts";
import { jwtConfig } from "../../src/jwt/index.ts";
import { openSealedDatabase } from "../../src/sealed-database.ts";
import { migratedPostgresDatabase } from "../postgres/database.ts";
import { adminToken } from "../support/gateway.ts";
import { watchedLog } from "../support/leavings.ts";
import { markedRandom } from "../support/marked.ts";
import { testWorld } from "../support/world.ts";
import type { Headers, House } from "./callers.ts";

const ADDRESS = "http://localhost:8080";
const STOCK = 150;
const DAY_MS = 24 * 60 * 60_000;
const AUDIENCE = "https://gateway.example/mcp";
const ISSUER = "https://tokens.example";

/** A gateway that nothing listens for, with every kind of caller; all of them are made on a second handle of its database. */
export async function openHouse(kind: "sqlite" | "postgres"): Promise<House> {
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
): Promise<Omit<House, "close">> {
  const config = loadConfig({
    environment: {
      POSTERN_BASE_URL: ADDRESS,
      POSTERN_DATABASE_URL: await emptyDatabase(kind, closing),
      POSTERN_ENCRYPTION_KEY: Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("base64"),
      POSTERN_ADMIN_TOKEN: adminToken,
      POSTERN_LOG_LEVEL: "silent",
    },
  });
  for (const limit of Object.values(config.limits)) limit.requests = 1_000_000;
  const jwts = await issuer();
  config.jwtIssuers = jwts.trusted;
  const gateway = await openGateway(config, { random: markedRandom, log: watchedLog() });
  closing.push(() => gateway.close());
  const world = testWorld();
  closing.push(() => world.outbound.close());
  const { database, seal, close } = await openSealedDatabase(config, world);
  closing.push(close);
  const maker = new Maker(database, await openKeyedHash(database, seal, world), world);
  const headers = await maker.everybody(jwts.sign);
  const stock = await maker.stock();
  const send = sender(gateway);
  // Whom a JWT names has an account from the first time on.
  for (const one of Object.values(headers)) await send("GET", "/api/session", one);
  return {
    kind,
    database,
    routes: gateway.routes,
    headers,
    send,
    again: (name) => {
      const value = stock[name]?.pop();
      if (value === undefined) throw new Error(`no session of ${name} is left: raise STOCK in house.ts`);
      return value;
    },
    signedIn: (name) => maker.session(people[name]!),
    foreign: await maker.foreign(await upstream(send)),
  };
}

/** An upstream that none of the callers may use. */
async function upstream(send: House["send"]): Promise<string> {
  const body = { name: "secret", connection_type: "http", connection_string: "https://secret.example/mcp" };
  const headers = { ...bearer(adminToken), "content-type": "application/json" };
  const { text } = await send("POST", "/api/mcp/client", headers, JSON.stringify(body));
  return JSON.parse(text).mcp_client_id;
}

const people: Readonly<Record<string, string>> = {
  "a member": "user_member",
  "an administrator": "user_admin",
  "an administrator by a group": "user_raised",
};

function sender({ fetch }: Gateway): House["send"] {
  return async (method, target, headers, body) => {
    const ending = new AbortController();
    const answer = await fetch(
      new Request(ADDRESS + target, { method, headers, body: body ?? null, signal: ending.signal }),
    );
    // A standing stream ends when whoever asked leaves.
    const isStream = answer.headers.get("content-type")?.startsWith("text/event-stream") === true;
    const text = isStream ? "" : await answer.text();
    if (isStream) {
      await answer.body?.cancel();
      ending.abort();
    }
    return { status: answer.status, location: answer.headers.get("location") ?? "", text };
  };
}

async function emptyDatabase(kind: "sqlite" | "postgres", closing: (() => unknown)[]): Promise<string> {
  if (kind === "postgres") {
    const { url, drop } = await migratedPostgresDatabase();
    closing.push(drop);
    return url;
  }
  const folder = await mkdtemp(join(tmpdir(), "postern-principals-"));
  closing.push(() => rm(folder, { recursive: true }));
  return `sqlite:${join(folder, "postern.db")}`;
}

type Sign = (claims: Record<string, unknown>, inSeconds?: number) => Promise<string>;

async function issuer(): Promise<{ trusted: ReturnType<typeof jwtConfig.parse>["issuers"]; sign: Sign }> {
  const { privateKey, publicKey } = await generateKeyPair("ES256");
  const jwk = { ...(await exportJWK(publicKey)), kid: "one", alg: "ES256" };
  const { issuers } = jwtConfig.parse({
    issuers: [
      {
        issuer: ISSUER,
        audience: AUDIENCE,
        jwks: { keys: [jwk] },
        algorithms: ["ES256"],
        allow: ["vk", "user", "admin"],
        claims: { virtual_key: "key", user: "person", role: "role" },
      },
    ],
  });
  const sign: Sign = (claims, inSeconds = 3600) => {
    const now = Math.floor(Date.now() / 1000);
    return new SignJWT({ aud: AUDIENCE, sub: "somebody", ...claims, exp: now + inSeconds })
      .setProtectedHeader({ alg: "ES256", kid: "one" })
      .setIssuer(ISSUER)
      .setIssuedAt(now + Math.min(inSeconds, 0) - 60)
      .sign(privateKey);
  };
  return { trusted: issuers, sign };
}

const bearer = (value: string) => ({ authorization: `Bearer ${value}` });

/** Makes callers and what they have, as the gateway's own parts would, without the minutes that sign-ins take. */
class Maker {
  readonly #database: Database;
  readonly #hash: KeyedHash;
  readonly #world: ReturnType<typeof testWorld>;

  constructor(database: Database, hash: KeyedHash, world: ReturnType<typeof testWorld>) {
    this.#database = database;
    this.#hash = hash;
    this.#world = world;
  }

  get #now(): number {
    return this.#world.now().getTime();
  }

  async everybody(sign: Sign): Promise<Headers> {
    await this.#person("user_admin", { role: "admin" });
    await this.#person("user_member");
    await this.#person("user_raised");
    await this.#person("user_off");
    await this.#person("user_other");
    await this.#person("user_robot", { kind: "service" });
    const groups = new Groups({ database: this.#database, world: this.#world });
    await this.#database.transaction(async (tx) => {
      const { id } = await groups.insert(tx, { name: "Operators", role: "admin", source: "api" });
      await groups.change(tx, id, { add: ["user_raised"], via: "api" });
    });
    const past = this.#now - DAY_MS;
    const key = await this.#key("plain");
    const off = await this.#key("off", { isActive: false });
    const admin = { role: "admin", userId: "user_admin" } as const;
    const member = { role: "member", userId: "user_member" } as const;
    const headers: Headers = {
      nobody: {},
      "an empty Authorization": { authorization: "" },
      "another scheme": { authorization: "Basic YWRtaW46YWRtaW4=" },
      "a bearer that is nothing of ours": bearer("nothing-of-ours"),
      "an unknown virtual key": { "x-bf-vk": "sk-bf-this-is-not-a-key-of-anybody" },
      "an unknown token": bearer("pst_0000000000000000000000000000000000000000000"),
      "an unknown session": cookie("0000000000000000000000000000000000000000000"),
      "an anonymous session value": {
        "x-bf-mcp-session-id": "a-value-of-more-than-32-characters-for-a-session",
      },
      "an expired API token": bearer(await this.#token({ ...admin, scopes: ["write"], expiresAt: past })),
      "an expired session": await this.session("user_admin", past),
      "an expired virtual key": bearer((await this.#key("expired", { expiresAt: past })).value),
      "a virtual key that is off": bearer(off.value),
      "an expired client's token": bearer(await this.#clientToken("user_member", past)),
      "the session of who is off": await this.session("user_off"),
      "the API token of who is off": bearer(
        await this.#token({ role: "admin", userId: "user_off", scopes: ["write"] }),
      ),
      "the virtual key of who is off": bearer((await this.#key("of off", { userId: "user_off" })).value),
      "an expired JWT": bearer(await sign({ key: "plain" }, -3600)),
      "a JWT for another audience": bearer(await sign({ key: "plain", aud: "https://other.example" })),
      "a JWT of a key that is off": bearer(await sign({ key: "off" })),
      "a member": await this.session("user_member"),
      "an administrator": await this.session("user_admin"),
      "an administrator by a group": await this.session("user_raised"),
      "the automation token": bearer(adminToken),
      "an administrator's API token": bearer(await this.#token({ ...admin, scopes: ["write"] })),
      "an administrator's API token to read": bearer(await this.#token({ ...admin, scopes: ["read"] })),
      "an administrator's API token for something else": bearer(
        await this.#token({ ...admin, scopes: ["write:audit"] }),
      ),
      "a member's API token": bearer(await this.#token({ ...member, scopes: ["write"] })),
      "a member's API token to read": bearer(await this.#token({ ...member, scopes: ["read"] })),
      "a virtual key": { "x-bf-vk": key.value },
      "a member's virtual key": bearer((await this.#key("of member", { userId: "user_member" })).value),
      "an administrator's virtual key": bearer((await this.#key("of admin", { userId: "user_admin" })).value),
      "a service account's virtual key": bearer(
        (await this.#key("of robot", { userId: "user_robot" })).value,
      ),
      "a JWT of a virtual key": bearer(await sign({ key: "plain" })),
      "a JWT of a person": bearer(await sign({ person: "ann" })),
      "a JWT of an administrator": bearer(await sign({ role: "admin" })),
      "a client's token": bearer(await this.#clientToken("user_member")),
      "a token and a virtual key": { ...bearer(adminToken), "x-bf-vk": key.value },
      "two tokens": { authorization: `Bearer ${key.value}`, "x-api-key": off.value },
    };
    await this.#database.db.updateTable("users").set({ is_active: 0 }).where("id", "=", "user_off").execute();
    return headers;
  }

  async #person(id: string, more: { role?: "admin"; kind?: "service" } = {}): Promise<void> {
    const row = {
      id,
      email: `${id}@a.example`,
      name: id,
      role: "member",
      is_active: 1,
      password_hash: null,
    };
    await this.#database.db
      .insertInto("users")
      .values({ ...row, role: "member", created_at: 0, updated_at: 0, ...more })
      .execute();
  }

  /** A dashboard cookie, as one of our own pages sends it. */
  async session(userId: string, expiresAt = this.#now + DAY_MS): Promise<Record<string, string>> {
    return (await this.#sessions(userId, 1, expiresAt))[0]!;
  }

  /** Sessions to end, of everybody who signs in; made before anything else writes to the database. */
  async stock(): Promise<Record<string, Record<string, string>[]>> {
    const found: Record<string, Record<string, string>[]> = {};
    for (const [name, userId] of Object.entries(people))
      found[name] = await this.#sessions(userId, STOCK, this.#now + DAY_MS);
    return found;
  }

  async #sessions(userId: string, count: number, expiresAt: number): Promise<Record<string, string>[]> {
    const values = Array.from({ length: count }, () => newSecret(this.#world));
    const at = { created_at: this.#now, last_seen_at: this.#now, expires_at: expiresAt };
    const rows = values.map((value) => ({
      ...{ id: newId(this.#world, "sess"), token_hash: this.#hash.of("session_cookie", value) },
      ...{ user_id: userId, ...at },
    }));
    await this.#database.db.insertInto("dashboard_sessions").values(rows).execute();
    return values.map(cookie);
  }

  async #key(name: string, more: { userId?: string; isActive?: boolean; expiresAt?: number } = {}) {
    const keys = new VirtualKeys({ world: this.#world, database: this.#database, hash: this.#hash });
    const { key, value } = await keys.create({ name, configs: [], source: "api", ...more });
    return { id: key.id, value: value.reveal() };
  }

  async #token(token: Omit<Parameters<ApiTokens["create"]>[0], "name">): Promise<string> {
    const tokens = new ApiTokens({ world: this.#world, database: this.#database, hash: this.#hash });
    const { value } = await tokens.create({ name: "t", ...token }, async () => {});
    return value.reveal();
  }

  /** What the authorization server gives a client. */
  async #clientToken(userId: string, expiresAt = this.#now + DAY_MS): Promise<string> {
    const value = newSecret(this.#world, "pst_");
    const grantId = await this.#grant(userId, value.slice(-8));
    await this.#database.db
      .insertInto("tokens")
      .values({
        hash: this.#hash.of("access_token", value),
        grant_id: grantId,
        kind: "access",
        created_at: this.#now,
        expires_at: expiresAt,
        rotated_at: null,
        successor_used_at: null,
        predecessor_hash: null,
        sealed_successor: null,
      })
      .execute();
    return value;
  }

  async #grant(userId: string, tail: string): Promise<string> {
    const { db } = this.#database;
    await db
      .insertInto("clients")
      .values({
        id: `client_${tail}`,
        kind: "dcr",
        client_id_hash: this.#hash.of("client_id", tail),
        name: "A client",
        redirect_uris_json: "[]",
        secret_hash: null,
        created_at: this.#now,
      })
      .execute();
    const grant = { id: `grant_${tail}`, client_row_id: `client_${tail}`, client_name: "A client" };
    await db
      .insertInto("grants")
      .values({
        ...grant,
        owner_mode: "user",
        owner_id: userId,
        virtual_key_id: null,
        browser_hash: null,
        redirect_uri: "http://127.0.0.1/",
        scope: "mcp",
        resource: `${ADDRESS}/mcp`,
        upstreams_json: null,
        status: "active",
        created_at: this.#now,
        last_used_at: null,
        idle_until: this.#now + DAY_MS,
        ends_at: this.#now + DAY_MS,
      })
      .execute();
    return grant.id;
  }

  /** One of each thing that a person can have, of somebody none of the callers is. */
  async foreign(upstreamId: string): Promise<Record<string, string>> {
    const { db } = this.#database;
    const userId = "user_other";
    const now = this.#now;
    const owner = { owner_mode: "user", owner_id: userId, upstream_id: upstreamId } as const;
    for (const kind of ["oauth", "headers"] as const)
      await db
        .insertInto("credentials")
        .values({
          ...owner,
          id: `cred_other_${kind}`,
          kind,
          account: kind === "oauth" ? "" : "second",
          status: "active",
          orphaned: 0,
          generation: 1,
          sealed: Buffer.from("x"),
          created_at: now,
          updated_at: now,
        })
        .execute();
    for (const [id, kind] of [
      ["flow_other_connect", "connect"],
      ["flow_other_consent", "consent"],
    ] as const)
      await db
        .insertInto("flows")
        .values({
          ...owner,
          id,
          kind,
          account: "",
          handle_hash: null,
          browser_hash: null,
          parent_id: null,
          sealed: null,
          data_json: "{}",
          created_at: now,
          expires_at: now + DAY_MS,
          ended_at: null,
          outcome: null,
        })
        .execute();
    await db
      .insertInto("user_identities")
      .values({
        ...{ id: "identity_other", user_id: userId, issuer: ISSUER, subject: "other", provider: "sso:one" },
        ...{ display: "other", created_at: now, last_used_at: now },
      })
      .execute();
    await db
      .insertInto("passkeys")
      .values({
        ...{
          id: "passkey_other",
          user_id: userId,
          credential_id: "x",
          public_key: Buffer.from("x"),
          counter: 0,
        },
        ...{ transports_json: "[]", name: "other", backed_up: 0, created_at: now, last_used_at: null },
      })
      .execute();
    await this.session(userId);
    await this.#token({ role: "member", userId, scopes: ["read"] });
    const { id: keyId } = await this.#key("of other", { userId });
    const first = async (table: "dashboard_sessions" | "api_tokens") =>
      (await db.selectFrom(table).select("id").where("user_id", "=", userId).executeTakeFirstOrThrow()).id;
    return {
      "an account": userId,
      "an OAuth credential": "cred_other_oauth",
      "header values": "cred_other_headers",
      "a connect link": "flow_other_connect",
      "a consent": "flow_other_consent",
      "a grant": await this.#grant(userId, "other"),
      "an identity": "identity_other",
      "a passkey": "passkey_other",
      "a session": await first("dashboard_sessions"),
      "an API token": await first("api_tokens"),
      "a virtual key": keyId,
      "a service account": "user_robot",
    };
  }
}

function cookie(value: string): Record<string, string> {
  return { cookie: `postern-session=${value}`, "sec-fetch-site": "same-origin" };
}
