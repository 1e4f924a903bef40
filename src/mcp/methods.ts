import type { Gone, JsonObject } from "../base/index.ts";
import type { HeaderReader } from "../http/index.ts";
import { AccountTools } from "./account-tools.ts";
import { withPages } from "./apps.ts";
import { isObject, type Message } from "./body.ts";
import { ToolCalls } from "./call-tool.ts";
import type { Caller } from "./caller.ts";
import { Catalog } from "./catalog.ts";
import { ClientBehaviours } from "./client-behaviour.ts";
import { ConnectTools, type View } from "./connect-tools.ts";
import { type Client, clientVersions, declaresUrls, supportedVersions } from "./era.ts";
import { FeatureCalls, isFeatureMethod } from "./feature-calls.ts";
import { featureList } from "./feature-lists.ts";
import { readFilters } from "./filters.ts";
import { readForCaller } from "./first-read.ts";
import { LargeCatalog } from "./large-catalog.ts";
import { listPage } from "./list-tools.ts";
import type { Mailbox } from "./mailbox.ts";
import { capabilitiesOf, type Offer, Offers } from "./offers.ts";
import type { McpParts } from "./parts.ts";
import { PlainNames } from "./plain-names.ts";
import { code, Refusal } from "./refusal.ts";
import { complete, type Reply, type ServerInfo } from "./reply.ts";
import { instructionsAt, selfAt } from "./self.ts";
import { type ClientSessions, declaredOf, shortName } from "./session.ts";
import { Subscriptions } from "./subscriptions.ts";
import type { TaskNewsDesk } from "./task-news.ts";
import { withTasks } from "./task-support.ts";
import { isTaskMethod, Tasks } from "./tasks.ts";
import type { ToolCall } from "./tool-call.ts";

/** One request of a proved caller, its era known. */
export interface Exchange {
  caller: Caller;
  client: Client;
  message: Message;
  headers: HeaderReader;
  signal: Gone;
  requestId: string;
}

const DISCOVER_TTL_MS = 60_000;

/** Whether a method, which is not `tools/call`, goes on to an upstream. */
export function isCarried(method: string): boolean {
  return isFeatureMethod(method) || isTaskMethod(method);
}

/** The methods of `/mcp`, each era its own; a call of a tool goes to `calls`. */
export class Methods {
  readonly #parts: McpParts;
  readonly #sessions: ClientSessions;
  readonly #catalog: Catalog;
  readonly calls: ToolCalls;
  readonly #connectTools: ConnectTools;
  readonly #accountTools: AccountTools;
  readonly self: ServerInfo;
  readonly plain: PlainNames;
  readonly offers: Offers;
  readonly subscriptions: Subscriptions;
  readonly #features: FeatureCalls;
  readonly #large: LargeCatalog;
  readonly tasks: Tasks;

  constructor(parts: McpParts, sessions: ClientSessions, mailbox: Mailbox, news: TaskNewsDesk) {
    this.#parts = parts;
    this.#sessions = sessions;
    this.self = { name: "postern", title: "Postern", version: parts.version };
    this.plain = new PlainNames(parts.upstreams);
    this.#catalog = new Catalog(parts.upstreams, parts.world.log);
    const behaviours = ClientBehaviours.shipped();
    this.subscriptions = new Subscriptions(parts);
    this.#connectTools = new ConnectTools(parts, this.#catalog, this.self, behaviours);
    this.#accountTools = new AccountTools(parts, this.#catalog);
    this.calls = new ToolCalls(
      parts,
      this.#catalog,
      this.self,
      behaviours,
      {
        connect: this.#connectTools,
        accounts: this.#accountTools,
      },
      { mailbox, news },
    );
    this.offers = new Offers(parts.upstreams, parts.world.log);
    this.#features = new FeatureCalls(parts, this.offers, this.calls, this.self, this.plain);
    const shared = { offers: this.offers, calls: this.calls, self: this.self, mailbox, news };
    this.tasks = new Tasks(parts, shared);
    this.#large = new LargeCatalog({
      access: parts.access,
      catalog: this.#catalog,
      accounts: this.#accountTools,
      calls: this.calls,
      plain: this.plain,
      self: this.self,
    });
  }

  /** A request that goes on to an upstream. `method`: `tools/call`, or one that `isCarried`. */
  call(method: string, call: ToolCall): Promise<Reply> {
    if (isFeatureMethod(method)) return this.#features.call({ ...call, method });
    if (method !== "tools/call") return this.tasks.call({ ...call, method });
    return LargeCatalog.serves(call.caller) ? this.#large.call(call) : this.calls.call(call);
  }

  /** Throws `Refusal` and `Problem`. */
  async answer(exchange: Exchange): Promise<Reply> {
    const { message, client } = exchange;
    const params = message.params ?? {};
    switch (message.method) {
      case "tools/list":
        return await this.#list(exchange, params);
      case "server/discover":
        if (client.era === "modern") return await this.#discover(exchange);
        break;
      case "initialize":
        if (client.era === "legacy") return await this.#initialize(exchange.caller, params);
        break;
      case "ping":
        // Removed in 2026-07-28.
        if (client.era === "legacy") return { result: {} };
        break;
      case "logging/setLevel":
        // Removed in 2026-07-28, where every request says it.
        if (client.era === "legacy" && capabilitiesOf(await this.#offer(exchange.caller)).logging) {
          await this.calls.levels.set(client, params.level);
          return { result: {} };
        }
        break;
      case "resources/subscribe":
      case "resources/unsubscribe":
        // Removed in 2026-07-28, where a `subscriptions/listen` says it.
        if (client.era === "legacy" && (await this.#subscribe(exchange, params))) return { result: {} };
        break;
      default: {
        const listed = await this.#listFeatures(exchange, params);
        if (listed) return listed;
      }
    }
    // Protocol section 1.4: 404 in the modern era; the body tells it from a missing endpoint.
    const status = client.era === "modern" ? 404 : 200;
    throw new Refusal(code.methodNotFound, "This method is not offered here.", { status });
  }

  async #list({ caller, client, headers, signal }: Exchange, params: JsonObject): Promise<Reply> {
    const rules = await this.#parts.access.rulesFor(caller);
    if (caller.vouched) await readForCaller(this.#parts, { caller, rules }, signal);
    const shown = await this.shownTools({ caller, client, rules, filters: readFilters(headers) });
    return { result: complete(client, selfAt(this.self, caller), listPage(client, shown, params.cursor)) };
  }

  /** What `tools/list` shows of a view, in the order of names. */
  async shownTools(view: View) {
    const { caller, rules, filters } = view;
    const usable = await this.#accountTools.addTo(this.#catalog.list(rules, filters), view);
    const entries = await this.#connectTools.addTo(usable, view);
    return LargeCatalog.serves(caller)
      ? this.#large.listed(caller, usable, entries)
      : withPages(this.plain.shown(caller, entries), this.offers.of(rules));
  }

  /** False: none of the caller's upstreams tells of changes. */
  async #subscribe(
    { caller, client, headers, message, requestId }: Exchange,
    params: JsonObject,
  ): Promise<boolean> {
    const offer = await this.#offer(caller);
    const { resources } = capabilitiesOf(offer);
    if (!isObject(resources) || !resources.subscribe) return false;
    const asked = { caller, client, headers, offer, requestId };
    if (message.method === "resources/subscribe") await this.subscriptions.add(asked, params);
    else await this.subscriptions.remove(asked, params);
    return true;
  }

  /** Resources, templates and prompts, from what is stored; undefined where the caller has none of that kind. */
  async #listFeatures({ caller, client, message, headers }: Exchange, params: JsonObject) {
    const list = featureList(message.method);
    if (!list) return undefined;
    const offer = await this.#offer(caller);
    if (capabilitiesOf(offer)[list.capability] === undefined) return undefined;
    const entries = list.of(offer, readFilters(headers), this.plain.hidden(caller));
    const page = listPage(client, entries, params.cursor, list.member);
    return { result: complete(client, selfAt(this.self, caller), page) };
  }

  async #offer(caller: Caller): Promise<Offer> {
    return this.offers.of(await this.#parts.access.rulesFor(caller));
  }

  async #capabilities(caller: Caller, client: Pick<Client, "era" | "version">): Promise<JsonObject> {
    const rules = await this.#parts.access.rulesFor(caller);
    const offer = this.offers.of(rules);
    return withTasks(capabilitiesOf(offer), client, offer.upstreams, rules);
  }

  async #discover({ caller, client }: Exchange): Promise<Reply> {
    const result = {
      supportedVersions: [...supportedVersions],
      capabilities: await this.#capabilities(caller, client),
      ...instructionsAt(caller),
      ttlMs: DISCOVER_TTL_MS,
      cacheScope: "private",
    };
    return { result: complete(client, selfAt(this.self, caller), result) };
  }

  /** 2025-11-25 "Lifecycle": the version asked for if we speak it, else our newest of that era. */
  async #initialize(caller: Caller, params: JsonObject): Promise<Reply> {
    const asked = params.protocolVersion;
    if (typeof asked !== "string") {
      throw new Refusal(code.invalidParams, 'Send "protocolVersion" as a string.');
    }
    const version = clientVersions.includes(asked) ? asked : clientVersions[0]!;
    const declared = isObject(params.capabilities) ? params.capabilities : {};
    const client = isObject(params.clientInfo) ? shortName(params.clientInfo) : undefined;
    const session = this.#sessions.start(caller, {
      version,
      opensUrls: declaresUrls(declared),
      client,
      capabilities: declaredOf(declared),
    });
    const { name, title, version: own } = selfAt(this.self, caller);
    const serverInfo = { name, title, version: own };
    const capabilities = await this.#capabilities(caller, { era: "legacy", version });
    return {
      result: { protocolVersion: version, capabilities, serverInfo, ...instructionsAt(caller) },
      headers: { "mcp-session-id": session },
    };
  }
}
