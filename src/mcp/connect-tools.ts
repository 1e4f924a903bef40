import { decide, type Rules } from "../access/index.ts";
import { type JsonObject, Problem } from "../base/index.ts";
import { isConnectable, type ToolDefinition, type Upstream } from "../upstreams/index.ts";
import { AuthRequests, noLink, waiting, withdrawn } from "./auth-required.ts";
import type { Caller } from "./caller.ts";
import type { Catalog, Entry } from "./catalog.ts";
import type { ClientBehaviours } from "./client-behaviour.ts";
import type { Client } from "./era.ts";
import type { Filters } from "./filters.ts";
import type { McpParts } from "./parts.ts";
import { reachOf } from "./reach.ts";
import { complete, type Reply, type ServerInfo, toolFailure } from "./reply.ts";

/** What a caller may use, and what the request leaves of it. */
export interface View {
  caller: Caller;
  client: Client;
  rules: Rules;
  filters: Filters;
  /** Which of these wait for an account of the caller's, where that is known already. */
  waiting?(upstreams: Upstream[]): Upstream[];
}

/**
 * The tools `connect_{upstream}`: how a model gets the link of an upstream that waits for an account, where the client
 * shows its person nothing but words (goal 4). Ours alone: no upstream has a part in them.
 */
export class ConnectTools {
  readonly #parts: McpParts;
  readonly #catalog: Catalog;
  readonly #self: ServerInfo;
  readonly #behaviours: ClientBehaviours;
  readonly #requests: AuthRequests;

  constructor(parts: McpParts, catalog: Catalog, self: ServerInfo, behaviours: ClientBehaviours) {
    this.#parts = parts;
    this.#catalog = catalog;
    this.#self = self;
    this.#behaviours = behaviours;
    this.#requests = new AuthRequests(parts);
  }

  /** `listed` and the connect tools this caller needs now, in the order of names. */
  async addTo(listed: Entry[], view: View): Promise<Entry[]> {
    const { connectTool } = reachOf(view.client, this.#behaviours);
    const wanted = this.#usable(listed, view).filter(
      (upstream) => connectTool || upstream.tools.length === 0,
    );
    const missing = view.waiting ? view.waiting(wanted) : await this.#waiting(view.caller, wanted);
    const offered = missing.map(entryOf);
    if (offered.length === 0) return listed;
    return [...listed, ...this.#unambiguous(offered, listed)].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** MC-18: a name that the catalogue has already stays the catalogue's, and is reported. */
  #unambiguous(offered: Entry[], listed: Entry[]): Entry[] {
    const names = new Set(listed.map(({ name }) => name));
    const hidden = offered.filter(({ name }) => names.has(name)).map(({ name }) => name);
    if (hidden.length === 0) return offered;
    this.#parts.world.log.warn("catalog.tools_hidden", { tools: hidden, count: hidden.length });
    return offered.filter(({ name }) => !names.has(name));
  }

  /** The upstream whose connect tool has this name, if the caller may use it. A tool of the catalogue comes first. */
  find(name: string, view: View): Upstream | undefined {
    const upstream = this.#parts.upstreams
      .all()
      .find((one) => isConnectable(one) && connectToolName(one) === name);
    if (!upstream) return undefined;
    return this.#usable(this.#catalog.list(view.rules, view.filters), view).find(
      ({ id }) => id === upstream.id,
    );
  }

  /** The link as an ordinary result, or that nothing is missing. Never asks the upstream. */
  async call(upstream: Upstream, view: View, requestId: string): Promise<Reply> {
    const { caller, client, rules } = view;
    const statuses = await this.#parts.vault.statuses(caller.owner, [upstream.id]);
    const credential = statuses.get(upstream.id);
    const usable = credential?.status === "active" && !credential.orphaned;
    this.#report(upstream, caller, requestId, usable ? "result" : "needs_user");
    if (credential?.orphaned) return toolFailure(client, this.#self, withdrawn(upstream));
    if (usable) {
      const as = credential.subject === undefined ? "" : ` as ${credential.subject}`;
      return this.#text(client, `${upstream.name} is already connected${as}. Its tools can be called.`);
    }
    const made = await this.#requests.make({ caller, rules, upstream });
    if (made instanceof Problem) return noLink(made);
    return this.#text(client, made.required.message, { mcp_auth_required: made.required });
  }

  /** Per-person upstreams with a tool in the list, and those whose tools nobody has seen yet. */
  #usable(listed: readonly Entry[], { rules, filters }: View): Upstream[] {
    const ids = new Set(listed.map(({ upstream }) => upstream.id));
    return this.#parts.upstreams.all().filter((upstream) => {
      if (!isConnectable(upstream) || !decide(rules, upstream)) return false;
      if (ids.has(upstream.id)) return true;
      const name = connectToolName(upstream);
      return (
        upstream.tools.length === 0 && mayHaveTools(rules, upstream) && filters.allow({ name, upstream })
      );
    });
  }

  /** A list without connect tools is better than none. */
  async #waiting(caller: Caller, upstreams: Upstream[]): Promise<Upstream[]> {
    try {
      return await waiting(this.#parts, caller, upstreams);
    } catch (error) {
      this.#parts.world.log.warn("connect_tools.not_listed", { error });
      return [];
    }
  }

  #text(client: Client, text: string, meta?: JsonObject): Reply {
    const result: JsonObject = { content: [{ type: "text", text }] };
    if (meta) result._meta = meta;
    return { result: complete(client, this.#self, result) };
  }

  #report(upstream: Upstream, { actor, owner }: Caller, requestId: string, outcome: string): void {
    const tool = connectToolName(upstream);
    this.#parts.onCall({ upstream: upstream.name, tool, outcome, durationMs: 0 });
    const detail = { tool, outcome };
    this.#parts.audit.note({
      event: "call.made",
      actor,
      owner,
      upstreamId: upstream.id,
      requestId,
      detail,
    });
  }
}

/** Cannot be the name of an upstream's tool: those have a hyphen after the upstream's name, and that has none. */
export function connectToolName({ name }: { name: string }): string {
  return `connect_${name}`;
}

/** Whether there is a tool that could be used, were it offered. */
export function mayHaveTools(rules: Rules, { id, toolsToExecute }: Upstream): boolean {
  const allowed = rules.upstreams.get(id);
  return toolsToExecute.length > 0 && (allowed === "*" || (allowed !== undefined && allowed.size > 0));
}

function entryOf(upstream: Upstream): Entry {
  const name = connectToolName(upstream);
  const definition: ToolDefinition = {
    name,
    title: `Connect ${upstream.name}`,
    description: `Gives the link with which the person connects their ${upstream.name} account. Call it before the first use of ${upstream.name}, or when one of its tools says that authentication is required, and show the link to the person. It changes nothing by itself.`,
    inputSchema: { type: "object", properties: {}, additionalProperties: false },
    annotations: { readOnlyHint: true, destructiveHint: false, idempotentHint: true, openWorldHint: false },
  };
  return { name, upstream, tool: name, paramHeaders: [], modern: definition, legacy: definition };
}
