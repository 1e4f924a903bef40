import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { openLog, openOutbound, systemWorld } from "../../src/base/index.ts";
import { loadConfig } from "../../src/config.ts";
import type { Database } from "../../src/db/index.ts";
import { openSealedDatabase, sealedColumns } from "../../src/sealed-database.ts";
import { freePort } from "../peers/free-port.ts";
import { answer, type ScriptedUpstream, startScriptedUpstream } from "../peers/scripted-upstream.ts";
import { freshPostgresDatabase } from "../postgres/database.ts";
import { assertInvariants } from "../support/invariants.ts";
import type { Bundle } from "./bundle.ts";
import { GatewayAtRisk } from "./gateway-at-risk.ts";
import { Member } from "./member.ts";
import { Provider, type Shape } from "./provider.ts";
import { Web } from "./web.ts";

export type Kind = "sqlite" | "postgres";

const adminToken = "an-administrator-token-for-tests";
const PATIENCE_MS = 30_000;
/** The value that the upstream with a header of its own takes. */
export const headerValue = "a-value-that-only-its-person-has";

export interface HouseOptions {
  program: Bundle;
  kind: Kind;
  shape: Shape;
  /** Outside Vitest: where Postgres is. */
  postgres?: string;
}

/**
 * One gateway that dies again and again, on a database of its own, and what does not die: a provider and two upstreams, one
 * behind it and one that wants a header value of each person.
 */
export class House {
  readonly kind: Kind;
  readonly gateway: GatewayAtRisk;
  readonly provider: Provider;
  readonly base: string;
  /** The upstream behind the provider, and the one that takes a header value. */
  oauthUpstream = "";
  headerUpstream = "";
  readonly #environment: Record<string, string>;
  readonly #web: Web;
  readonly #closing: (() => unknown)[];

  private constructor(
    kind: Kind,
    parts: Pick<House, "gateway" | "provider" | "base"> & { environment: Record<string, string> },
    closing: (() => unknown)[],
  ) {
    this.kind = kind;
    this.gateway = parts.gateway;
    this.provider = parts.provider;
    this.base = parts.base;
    this.#environment = parts.environment;
    this.#web = new Web(this.base);
    this.#closing = closing;
  }

  /** With the gateway up and both upstreams known to it. */
  static async open({ program, kind, shape, postgres }: HouseOptions): Promise<House> {
    const closing: (() => unknown)[] = [];
    const { url: databaseUrl, drop } = await emptyDatabase(kind, postgres);
    closing.push(drop);
    const now = () => Date.now() + gateway.later;
    const provider: Provider = await new Provider(shape, () => now()).start();
    closing.push(() => provider.close());
    const guarded = await startScriptedUpstream({
      tools: [{ name: "whoami", inputSchema: { type: "object" } }],
    });
    const headed = await startScriptedUpstream({
      tools: [{ name: "whoami", inputSchema: { type: "object" } }],
    });
    closing.push(
      () => guarded.close(),
      () => headed.close(),
    );
    protect(guarded, provider);
    headed.on("tools/call", (exchange) => {
      headed.forgetRequests();
      const isRight = exchange.request.headers["x-api-key"] === headerValue;
      return (isRight ? answer.result(resultOf("by header")) : answer.http(401))(exchange);
    });
    const port = await freePort();
    const base = `http://127.0.0.1:${port}`;
    const environment = {
      POSTERN_PORT: String(port),
      POSTERN_BASE_URL: base,
      POSTERN_DATABASE_URL: databaseUrl,
      POSTERN_ENCRYPTION_KEY: randomBytes(32).toString("base64"),
      POSTERN_ADMIN_TOKEN: adminToken,
      POSTERN_OUTBOUND_ALLOW: [provider.issuer, guarded.url, headed.url]
        .map((url) => new URL(url).host)
        .join(","),
      POSTERN_LOG_LEVEL: "error",
    };
    const gateway = new GatewayAtRisk({ program, environment });
    closing.push(() => gateway.kill());
    const house = new House(kind, { gateway, provider, base, environment }, closing);
    await gateway.start();
    await house.#furnish(guarded, headed);
    return house;
  }

  /** What its gateway was started with; another process on the same database needs it. */
  get environment(): Readonly<Record<string, string>> {
    return this.#environment;
  }

  /** Another configured key comes first from the next start on; the old one still opens. */
  addKey(): void {
    const key = randomBytes(32).toString("base64");
    this.#environment.POSTERN_ENCRYPTION_KEY = `${key},${this.#environment.POSTERN_ENCRYPTION_KEY}`;
  }

  /** Closes it at the end. */
  keep<T extends { close(): unknown }>(one: T): T {
    this.#closing.push(() => one.close());
    return one;
  }

  /** A management call as the administrator; the body. */
  async admin(method: "POST" | "PUT" | "DELETE", path: string, body?: unknown) {
    const answered = await this.#web.json(method, path, body, { authorization: `Bearer ${adminToken}` });
    if (answered.status > 299) throw new Error(`${method} ${path}: ${answered.status} ${answered.text}`);
    return answered.text === "" ? undefined : JSON.parse(answered.text);
  }

  /** The same as a `GET`. */
  async read(path: string) {
    const answered = await this.#web.get(path, { authorization: `Bearer ${adminToken}` });
    if (answered.status > 299) throw new Error(`GET ${path}: ${answered.status} ${answered.text}`);
    return JSON.parse(answered.text);
  }

  /** What time it is for the gateway, in milliseconds. */
  get now(): number {
    return Date.now() + this.gateway.later;
  }

  /** Looks into the database as the gateway left it, once all is well with it. */
  async look<T>(at: (database: Database) => Promise<T>): Promise<T> {
    const config = loadConfig({ environment: this.#environment });
    const outbound = openOutbound({ allow: { admin: [], stranger: [] } });
    const world = systemWorld({ outbound, log: openLog("silent") });
    const { database, seal, close } = await openSealedDatabase(config, world);
    try {
      await assertInvariants(database, { seal, columns: sealedColumns, now: this.now });
      return await at(database);
    } finally {
      await close();
      await outbound.close();
    }
  }

  async close(): Promise<void> {
    await this.#web.close();
    for (const close of this.#closing.splice(0).reverse()) await close();
  }

  async #furnish(guarded: ScriptedUpstream, headed: ScriptedUpstream): Promise<void> {
    const usual = { connection_type: "http", tools_to_execute: ["*"], allow_on_all_virtual_keys: true };
    const add = async (definition: object): Promise<string> => {
      const { mcp_client_id: id } = await this.admin("POST", "/api/mcp/client", { ...usual, ...definition });
      return id;
    };
    this.oauthUpstream = await add({
      name: "guarded",
      auth_type: "per_user_oauth",
      connection_string: guarded.url,
    });
    this.headerUpstream = await add({
      name: "headed",
      auth_type: "per_user_headers",
      connection_string: headed.url,
      per_user_header_keys: ["X-Api-Key"],
    });
    // Their tools are read with what the first person connects.
    await (await Member.withKey(this, "the first")).consent(true);
    const until = Date.now() + PATIENCE_MS;
    const known = async () => (await this.read("/api/mcp/clients?limit=100")).clients.map(countTools);
    while ((await known()).includes(0)) {
      if (Date.now() > until) throw new Error("the tools of the upstreams are not known");
      await setTimeout(20);
    }
  }
}

/** A database with nothing in it, and the way to remove it. */
export async function emptyDatabase(
  kind: Kind,
  postgres: string | undefined,
): Promise<{ url: string; drop(): Promise<void> }> {
  if (kind === "postgres") return freshPostgresDatabase(postgres);
  const folder = mkdtempSync(join(tmpdir(), "postern-crash-"));
  return {
    url: `sqlite:${folder}/postern.db`,
    drop: async () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** Its tools may be listed by anybody; a call is answered with whose token it carries. */
function protect(upstream: ScriptedUpstream, provider: Provider): void {
  const document = { resource: upstream.url, authorization_servers: [provider.issuer] };
  upstream.documents["/.well-known/oauth-protected-resource/mcp"] = document;
  const challenge = `Bearer resource_metadata="${upstream.origin}/.well-known/oauth-protected-resource/mcp"`;
  upstream.on("tools/call", (exchange) => {
    // Thousands of calls are made, and nobody reads them afterwards.
    upstream.forgetRequests();
    const bearer = exchange.request.headers.authorization?.replace(/^Bearer /, "") ?? "";
    const account = provider.accountOf(bearer);
    if (account === undefined) return answer.unauthorized(challenge)(exchange);
    return answer.result(resultOf(account))(exchange);
  });
}

function countTools({ tools }: { tools: unknown[] }): number {
  return tools.length;
}

function resultOf(text: string): object {
  return { resultType: "complete", content: [{ type: "text", text }] };
}
