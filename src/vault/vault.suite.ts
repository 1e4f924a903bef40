import * as oauth from "oauth4webapi";
import { afterEach } from "vitest";
import { type LoopbackServer, startLoopbackServer } from "../../test/peers/loopback-server.ts";
import type { OpenDatabase } from "../../test/support/databases.ts";
import { type TestWorld, testWorld } from "../../test/support/world.ts";
import { Audit } from "../audit/index.ts";
import { Hidden, type Owner, openOutbound, parseAllowList, Seal } from "../base/index.ts";
import { type Database, Flows, Outbox } from "../db/index.ts";
import type { RegisteredAgain } from "../upstreams/index.ts";
import { type NewSecret, Vault } from "./index.ts";

export interface Answer {
  status?: number;
  body?: unknown;
  headers?: Record<string, string>;
}

/** A token endpoint that answers what the test says and counts. */
class Provider {
  readonly refreshes: URLSearchParams[] = [];
  /** The `DPoP` header of each of them. */
  readonly proofs: (string | undefined)[] = [];
  readonly revocations: URLSearchParams[] = [];
  /** Undefined: the connection is cut instead. */
  answer: (form: URLSearchParams) => Answer | undefined | Promise<Answer | undefined> = () => this.rotated();
  /** How often the gateway registered anew here, and what came of it. */
  registrations = 0;
  registerAgain: () => RegisteredAgain = () => "refused";
  revocationStatus = 200;
  /** How we proved ourselves at the last revocation. */
  revokedBy: string | undefined;
  /** Whether the gateway still has its registration here; false once the upstream is deleted. */
  registered = true;
  /** Whether it publishes a revocation endpoint. */
  revocable = true;
  clientSecret: string | undefined;
  /** Who registered the gateway here. */
  clientSource: "given" | "dcr" | "cimd" = "dcr";
  /** Of what is recorded of it. */
  version = 1;
  server!: LoopbackServer;
  #count = 0;

  async start(): Promise<this> {
    this.server = await startLoopbackServer((request, response) => {
      let text = "";
      request.on("data", (chunk) => (text += chunk));
      request.on("end", async () => {
        const form = new URLSearchParams(text);
        if (request.url === "/revoke") {
          this.revocations.push(form);
          this.revokedBy = request.headers.authorization;
          response.writeHead(this.revocationStatus).end();
          return;
        }
        this.refreshes.push(form);
        this.proofs.push(request.headers.dpop as string | undefined);
        const answer = await this.answer(form);
        if (!answer) return request.socket.destroy();
        const { status = 200, body, headers } = answer;
        const isText = typeof body === "string";
        response.writeHead(status, { "content-type": isText ? "text/html" : "application/json", ...headers });
        response.end(isText ? body : JSON.stringify(body));
      });
    });
    return this;
  }

  rotated(): Answer {
    this.#count += 1;
    const n = this.#count;
    return {
      body: {
        access_token: `access-${n}`,
        refresh_token: `refresh-${n}`,
        token_type: "Bearer",
        expires_in: 3600,
      },
    };
  }

  get authorization() {
    const { origin } = this.server;
    const server = {
      issuer: origin,
      token_endpoint: `${origin}/token`,
      revocation_endpoint: this.revocable ? `${origin}/revoke` : undefined,
    } satisfies oauth.AuthorizationServer;
    const client = { client_id: "gateway" };
    return {
      configId: "oauth_1",
      version: this.version,
      clientSource: this.clientSource,
      issuer: origin,
      server,
      client,
      clientAuth: this.clientSecret === undefined ? oauth.None() : oauth.ClientSecretBasic(this.clientSecret),
      authMethod: this.clientSecret === undefined ? ("none" as const) : ("client_secret_basic" as const),
      clientSecret: this.clientSecret === undefined ? undefined : new Hidden(this.clientSecret),
      resource: "https://up.example/mcp",
    };
  }
}

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

/** A vault with a real database and a token endpoint that answers what the test says. */
export interface Bench {
  world: TestWorld;
  provider: Provider;
  database: Database;
  seal: Seal;
  outbox: Outbox;
  flows: Flows;
  vault: Vault;
  url: string;
  /** Another replica on the same database. */
  replica(database: Database): Vault;
}

export async function bench(open: OpenDatabase): Promise<Bench> {
  const { database, url } = await open();
  const provider = await new Provider().start();
  closing.push(() => provider.server.close());
  const allow = parseAllowList(`127.0.0.1:${provider.server.port}`);
  const outbound = openOutbound({ allow: { admin: allow, stranger: [] } });
  closing.push(() => outbound.close());
  const world = testWorld(outbound);
  const seal = new Seal([world.random(32)], world.random);
  const flows = new Flows(world, seal);
  const outbox = new Outbox(world, seal);
  const oauth = {
    recorded: async () => (provider.registered ? provider.authorization : undefined),
    registerAgain: async () => {
      provider.registrations += 1;
      return provider.registerAgain();
    },
  };
  const replica = (handle: Database) =>
    new Vault({
      world,
      database: handle,
      seal,
      flows,
      outbox: new Outbox(world, seal),
      audit: new Audit({ database: handle, world }),
      oauth,
    });
  const audit = new Audit({ database, world });
  const vault = new Vault({ world, database, seal, flows, outbox, audit, oauth });
  for (const id of ["up1", "up2"]) await insertUpstream(database, id);
  return { world, provider, database, seal, outbox, flows, vault, url, replica };
}

async function insertUpstream(database: Database, id: string): Promise<void> {
  await database.db
    .insertInto("upstreams")
    .values({
      id,
      name: `name_${id}`,
      source: "api",
      connection_type: "http",
      connection_string: "https://up.example/mcp",
      auth_type: "per_user_oauth",
      definition_json: "{}",
      sealed_headers: null,
      allow_on_all_virtual_keys: 1,
      disabled: 0,
      state: "healthy",
      failure_json: null,
      generation: 1,
      era: null,
      tools_json: null,
      features_json: null,
      tools_synced_at: null,
      created_at: 1,
      updated_at: 1,
    })
    .execute();
}

export const alice: Owner = { mode: "user", id: "user_alice" };
export const bob: Owner = { mode: "vk", id: "vk_bob" };
export const up1 = { id: "up1" };

export function secret(
  { world, provider }: Bench,
  lifeMs: number | undefined,
  over: Partial<NewSecret & { kind: "oauth" }> = {},
): NewSecret {
  return {
    kind: "oauth",
    accessToken: new Hidden("access-0"),
    refreshToken: new Hidden("refresh-0"),
    expiresAt: lifeMs === undefined ? undefined : world.now().getTime() + lifeMs,
    oauthConfigId: "oauth_1",
    issuer: provider.authorization.issuer,
    ...over,
  };
}

export async function give(
  b: Bench,
  owner: Owner,
  lifeMs: number | undefined,
  over: Partial<NewSecret & { kind: "oauth" }> = {},
  upstreamId = "up1",
  { account = "", replaces }: { account?: string; replaces?: string } = {},
) {
  return b.database.transaction((tx) =>
    b.vault.put(tx, { owner, upstreamId, account, replaces, secret: secret(b, lifeMs, over) }),
  );
}

export async function bearer(vault: Vault, owner: Owner, upstream = up1): Promise<string> {
  const opened = await vault.open(owner, upstream);
  if (opened.outcome !== "ready") return opened.outcome === "needs_user" ? opened.reason : opened.outcome;
  const headers: Record<string, string> = {};
  opened.authorize(headers);
  return headers.authorization ?? "";
}

export function row(b: Bench, owner: Owner, upstreamId = "up1") {
  return b.database.db
    .selectFrom("credentials")
    .selectAll()
    .where("owner_id", "=", owner.id)
    .where("upstream_id", "=", upstreamId)
    .executeTakeFirstOrThrow();
}

/** What is logged from here on: event, level and fields. */
export function listenToLog({ world }: Bench): { event: string; level: string; [field: string]: unknown }[] {
  const heard: { event: string; level: string }[] = [];
  const hear = (level: string) => (event: string, fields?: object) =>
    void heard.push({ event, level, ...fields });
  const levels = ["debug", "info", "warn", "error"].map((level) => [level, hear(level)]);
  Object.assign(world, { log: Object.fromEntries(levels) });
  return heard;
}

export const hour = 3600_000;
