import { expect } from "vitest";
import type { ScriptedUpstream } from "../../test/peers/scripted-upstream.ts";
import { watchedLog } from "../../test/support/leavings.ts";
import { testSettings } from "../../test/support/settings.ts";
import { type TestWorld, testWorld } from "../../test/support/world.ts";
import {
  Access,
  AnonymousSessions,
  type AnonymousSessionsParts,
  VirtualKeys,
  VirtualMcps,
} from "../access/index.ts";
import { Audit } from "../audit/index.ts";
import { Hidden, type KeyedHash, type Owner, openOutbound, Seal } from "../base/index.ts";
import { Connect, type ConnectParts } from "../connect/index.ts";
import { type Database, Flows, Outbox, openDatabase, openKeyedHash } from "../db/index.ts";
import { mount, RateLimits } from "../http/index.ts";
import { Memberships } from "../identity/index.ts";
import { Issuer, type IssuerParts } from "../issuer/index.ts";
import { Relay } from "../relay/index.ts";
import {
  checkDefinition,
  type FeatureProbe,
  ToolLists,
  type Upstream,
  Upstreams,
} from "../upstreams/index.ts";
import { Vault } from "../vault/index.ts";
import { type CallReport, ClientStreams, mcpRoutes } from "./index.ts";

export const META = "io.modelcontextprotocol/";
export const BASE = "http://localhost:8080";
export const echo = {
  name: "echo",
  description: "Says it again",
  inputSchema: { type: "object" },
  "x-kept": 1,
};

// biome-ignore lint/suspicious/noExplicitAny: what comes back is looked at freely; the expectations are the types.
export type Json = Record<string, any>;

/** Every part `/mcp` stands on, with a real database, mounted as in app.ts. */
export class Bench {
  readonly world: TestWorld;
  readonly settings = testSettings({ allowedOrigins: ["https://app.example"] });
  readonly calls: CallReport[] = [];
  readonly seal: Seal;
  readonly keys: VirtualKeys;
  readonly upstreams: Upstreams;
  readonly vault: Vault;
  readonly relay: Relay;
  readonly audit: Audit;
  readonly access: Access;
  readonly virtualMcps: VirtualMcps;
  readonly anonymousSessions: AnonymousSessions;
  readonly database: Database;
  readonly hash: KeyedHash;
  readonly streams: ClientStreams;
  tools: ToolLists;
  waitMs = 0;
  #app: ReturnType<typeof mount> | undefined;

  constructor(world: TestWorld, database: Database, hash: KeyedHash, seal: Seal) {
    const ground = { world, database, hash, seal, settings: this.settings };
    const flows = new Flows(world, seal);
    this.world = world;
    this.database = database;
    this.streams = new ClientStreams({ world });
    this.hash = hash;
    this.seal = seal;
    this.audit = new Audit(ground);
    this.upstreams = new Upstreams(ground);
    this.keys = new VirtualKeys(ground);
    const memberships = new Memberships(database);
    this.access = new Access({ world, database, upstreams: this.upstreams, keys: this.keys, memberships });
    this.virtualMcps = new VirtualMcps({ world, database, keys: this.keys, memberships });
    const oauth = { recorded: async () => undefined };
    this.vault = new Vault({ ...ground, flows, outbox: new Outbox(world, seal), audit: this.audit, oauth });
    const drop: AnonymousSessionsParts["drop"] = (tx, owner) => this.vault.dropOwner(tx, owner);
    this.anonymousSessions = new AnonymousSessions({ world, database, log: world.log, drop });
    this.relay = new Relay({ ...ground, version: "1.2.3", upstreams: this.upstreams, vault: this.vault });
    this.tools = this.#newLists();
  }

  #newLists(features?: FeatureProbe): ToolLists {
    return new ToolLists({
      world: this.world,
      upstreams: this.upstreams,
      probe: (upstream, owner) => this.relay.listTools(upstream, owner),
      features,
      hasCredential: async (owner, id) =>
        (await this.vault.statuses(owner, [id])).get(id)?.status === "active",
    });
  }

  async close(): Promise<void> {
    this.streams.close();
    await this.tools.close();
    await this.relay.close();
    await this.world.outbound.close();
    await this.database.close();
  }

  get app(): ReturnType<typeof mount> {
    if (this.#app) return this.#app;
    const { world, settings, keys, upstreams } = this;
    const flows = new Flows(world, this.seal);
    const limits = new RateLimits(world);
    const ground = { ...this, virtualKeys: keys, version: "1.2.3", limits, flows, rateLimits: limits };
    const routes = mcpRoutes({
      ...ground,
      issuer: new Issuer({ ...ground, sessionOf: async () => undefined } as unknown as IssuerParts),
      connect: new Connect({ ...ground, upstreams } as unknown as ConnectParts),
      onCall: (report) => this.calls.push(report),
      waitMs: this.waitMs,
    });
    this.#app = mount(routes, { world, settings, limits, authenticate: async () => undefined });
    return this.#app;
  }

  /** From now on features are read with tools, and lists when an account is connected, as in app.ts. */
  readLists(): void {
    this.tools = this.#newLists((upstream, owner) => this.relay.listFeatures(upstream, owner));
    this.vault.connected.push((owner, id) => this.tools.connected(owner, id));
  }

  /** `tools`: "unread" for one whose list was never read. */
  async upstream(
    peer: ScriptedUpstream,
    body: Json = {},
    tools: Json[] | "unread" = peer.tools,
  ): Promise<Upstream> {
    const definition = checkDefinition({
      name: "acme",
      connection_type: "http",
      connection_string: peer.url,
      tools_to_execute: ["*"],
      ...body,
    } as never);
    const { id } = await this.upstreams.create(definition, "api");
    if (tools !== "unread") await this.upstreams.recordTools(id, tools as never);
    return this.upstreams.get(id);
  }

  async key(name: string, configs: { upstreamId: string; tools: readonly string[] }[]) {
    const { key, value } = await this.keys.create({ name, configs, source: "api" });
    return { id: key.id, value: value.reveal(), owner: { mode: "vk", id: key.id } as Owner };
  }

  async connected(owner: Owner, upstream: Upstream, token = "at-1", account = ""): Promise<void> {
    const secret = {
      kind: "oauth",
      accessToken: new Hidden(token),
      oauthConfigId: upstream.oauthConfigId!,
    } as const;
    await this.database.transaction((tx) =>
      this.vault.put(tx, { owner, upstreamId: upstream.id, account, secret }),
    );
  }

  fetch(body: unknown, headers: Record<string, string> = {}, init: RequestInit & { path?: string } = {}) {
    const { path = "/mcp", ...rest } = init;
    return this.app.fetch(
      new Request(BASE + path, {
        method: "POST",
        body: body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body),
        ...rest,
        headers: {
          host: "localhost:8080",
          "content-type": "application/json",
          accept: "application/json, text/event-stream",
          ...headers,
        },
      }),
    ) as Promise<Response>;
  }

  /** One modern request; `more` changes the body's params, `headers` the headers. */
  async modern(
    key: string,
    method: string,
    params: Json = {},
    headers: Record<string, string> = {},
    caps: Json = {},
    signal?: AbortSignal,
    path = "/mcp",
  ) {
    const _meta = {
      [`${META}protocolVersion`]: "2026-07-28",
      [`${META}clientCapabilities`]: caps,
      ...params._meta,
    };
    const response = await this.fetch(
      { jsonrpc: "2.0", id: 7, method, params: { ...params, _meta } },
      {
        authorization: `Bearer ${key}`,
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": method,
        ...(typeof params.name === "string" && { "mcp-name": params.name }),
        ...headers,
      },
      { signal, path },
    );
    return { status: response.status, headers: response.headers, body: await json(response) };
  }

  async legacy(key: string, method: string, params: Json = {}, headers: Record<string, string> = {}) {
    const response = await this.fetch(
      { jsonrpc: "2.0", id: 7, method, params },
      { authorization: `Bearer ${key}`, ...headers },
    );
    return { status: response.status, headers: response.headers, body: await json(response) };
  }

  async session(key: string, capabilities: Json, protocolVersion = "2025-11-25", clientInfo?: Json) {
    const asked = { protocolVersion, capabilities, clientInfo };
    const { headers, body } = await this.legacy(key, "initialize", asked);
    expect(body.result.protocolVersion).toBe(protocolVersion);
    return { "mcp-session-id": headers.get("mcp-session-id")!, "mcp-protocol-version": protocolVersion };
  }
}

export async function json(response: Response): Promise<Json> {
  const text = await response.text();
  return text === "" ? {} : JSON.parse(text.startsWith("event:") ? text.split("data: ").at(-1)! : text);
}

/** A gateway in memory with the scripted upstreams allowed. */
export async function openBench(...peers: ScriptedUpstream[]): Promise<Bench> {
  const admin = peers.map(({ url }) => new URL(url).host);
  const outbound = openOutbound({ allow: { admin, stranger: [] } });
  const world = testWorld(outbound);
  const seal = new Seal([world.random(32)], world.random);
  const database = await openDatabase("sqlite::memory:", watchedLog());
  const bench = new Bench(world, database, await openKeyedHash(database, seal, world), seal);
  await bench.upstreams.load();
  return bench;
}
