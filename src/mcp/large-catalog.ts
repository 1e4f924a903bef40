import type { Rules } from "../access/index.ts";
import { type JsonObject, stringifyJson } from "../base/index.ts";
import type { ToolDefinition } from "../upstreams/index.ts";
import type { AccountTools } from "./account-tools.ts";
import { isObject } from "./body.ts";
import type { ToolCalls } from "./call-tool.ts";
import type { Caller } from "./caller.ts";
import { allowed, type Catalog, type Entry } from "./catalog.ts";
import { digestOf } from "./era.ts";
import { type Filters, readFilters } from "./filters.ts";
import {
  CALL_TOOL,
  callTool,
  DEFAULT_FOUND,
  MOST_FOUND,
  SEARCH_TOOLS,
  searchTools,
} from "./large-catalog-tools.ts";
import type { McpParts } from "./parts.ts";
import type { PlainNames } from "./plain-names.ts";
import { UnknownTool } from "./refusal.ts";
import { complete, type Reply, type ServerInfo, toolFailure } from "./reply.ts";
import { selfAt } from "./self.ts";
import type { ToolCall } from "./tool-call.ts";
import { ToolIndex } from "./tool-index.ts";

/** Characters of definitions in one answer, and of one of them; a larger one is shown without its schema. */
const MAX_CHARACTERS = 64_000;
const MAX_OF_ONE = 32_000;
const MAX_DESCRIPTION = 2_000;
const MAX_QUERY = 1_000;

interface Parts {
  access: McpParts["access"];
  catalog: Catalog;
  accounts: AccountTools;
  calls: ToolCalls;
  plain: PlainNames;
  self: ServerInfo;
}

interface View {
  caller: Caller;
  rules: Rules;
  filters: Filters;
}

/** Something of ours that is listed like a tool. */
interface Listed {
  name: string;
  modern: ToolDefinition;
  legacy: ToolDefinition;
}

/**
 * The two tools of a virtual MCP with `listing: "search"`: one finds the tools that would have been listed, the other
 * calls them. What can be found is what would be listed, and what can be called is what could be called by its name.
 */
export class LargeCatalog {
  readonly #parts: Parts;
  /** Made of one state of the catalogue, at the first search after it changed. */
  #index: { of: ReadonlyMap<string, Entry>; tools: ToolIndex } | undefined;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  static serves({ virtualMcp }: Pick<Caller, "virtualMcp">): boolean {
    return virtualMcp?.listing === "search";
  }

  /** What is listed: ours instead of `usable`, and what else there is among `entries`. */
  listed(caller: Caller, usable: readonly Entry[], entries: readonly Entry[]): Listed[] {
    if (usable.length === 0) return [...entries];
    const replaced = new Set(usable.map(({ name }) => name));
    const servers = new Set(usable.map(({ upstream }) => upstream.name));
    const own = [callTool, searchTools([...servers])].map((tool) => ({
      name: tool.name,
      modern: tool,
      legacy: tool,
    }));
    // MC-18: a name that leads to a tool here does not stand for anything else.
    const { plain } = this.#parts;
    const rest = entries.filter(({ name }) => !replaced.has(name) && !replaced.has(plain.full(caller, name)));
    return [...own, ...rest].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Any `tools/call` there; tools can be called by their own names as well. Throws as `ToolCalls.call` does. */
  call(call: ToolCall): Promise<Reply> {
    switch (call.params.name) {
      case SEARCH_TOOLS:
        return this.#search(call);
      case CALL_TOOL:
        return this.#pass(call);
      default:
        return this.#parts.calls.call(call);
    }
  }

  async #search({ caller, client, params, headers }: ToolCall): Promise<Reply> {
    const { query, limit = DEFAULT_FOUND } = isObject(params.arguments) ? params.arguments : {};
    const isLimit = Number.isSafeInteger(limit) && (limit as number) >= 1 && (limit as number) <= MOST_FOUND;
    if (typeof query !== "string" || !isLimit) {
      const text = `Send "query" as a string, and "limit", if at all, as a number from 1 to ${MOST_FOUND}.`;
      return toolFailure(client, this.#parts.self, text);
    }
    const rules = await this.#parts.access.rulesFor(caller);
    const found = await this.#find(query.slice(0, MAX_QUERY), {
      caller,
      rules,
      filters: readFilters(headers),
    });
    const tools = this.#shown(found.slice(0, limit as number), { caller, client });
    const structuredContent: JsonObject = { tools, more: found.length - tools.length };
    // 2025-06-18 "Structured Content": the same as text, for clients that read nothing else.
    const content = [{ type: "text", text: stringifyJson(structuredContent) }];
    const result: JsonObject = { content, structuredContent };
    return { result: complete(client, selfAt(this.#parts.self, caller), result) };
  }

  /** Best first, each followed by the caller's own variants of it, one for each account. */
  async #find(query: string, view: View): Promise<Entry[]> {
    const { catalog, accounts } = this.#parts;
    const own = Map.groupBy(
      await accounts.addTo([], view),
      ({ upstream, tool }) => `${upstream.name}-${tool}`,
    );
    const usable = (entry: Entry) => allowed(entry, view.rules, view.filters);
    return this.#tools(catalog.all())
      .search(query, (entry) => usable(entry) || own.has(entry.name))
      .flatMap((entry) => [...(usable(entry) ? [entry] : []), ...(own.get(entry.name) ?? [])]);
  }

  #tools(all: ReadonlyMap<string, Entry>): ToolIndex {
    if (this.#index?.of !== all) this.#index = { of: all, tools: new ToolIndex(all.values()) };
    return this.#index.tools;
  }

  /** As many definitions as fit, at least one. */
  #shown(found: readonly Entry[], { caller, client }: Pick<ToolCall, "caller" | "client">): JsonObject[] {
    const definitions: JsonObject[] = [];
    let characters = 0;
    for (const entry of found) {
      const [shown] = this.#parts.plain.shown(caller, [entry]);
      const definition = definitionOf(shown![client.era]);
      characters += stringifyJson(definition).length;
      if (characters > MAX_CHARACTERS && definitions.length > 0) break;
      definitions.push(definition);
    }
    return definitions;
  }

  /**
   * The call that came in `call_tool`, on the way of every other. What the model got wrong is said to the model. Nobody can
   * mirror arguments of a tool that was never listed into headers (`Mcp-Param-*`), so here none are asked for.
   */
  async #pass(call: ToolCall): Promise<Reply> {
    const { self, calls } = this.#parts;
    const { name, arguments: args } = isObject(call.params.arguments) ? call.params.arguments : {};
    if (typeof name !== "string" || (args !== undefined && !isObject(args))) {
      const text = 'Send "name" as a string and "arguments" as an object, as search_tools shows them.';
      return toolFailure(call.client, self, text);
    }
    const params: JsonObject = { ...call.params, name };
    if (args === undefined) delete params.arguments;
    else params.arguments = args;
    const outer = digestOf(CALL_TOOL, call.params.arguments);
    try {
      return await calls.call({ ...call, params, outer });
    } catch (error) {
      if (!(error instanceof UnknownTool)) throw error;
      const text = "There is no tool of this name that can be called here. Find one with search_tools.";
      return toolFailure(call.client, self, text);
    }
  }
}

/** What a model needs to call it. */
function definitionOf({ name, title, description, inputSchema, annotations }: ToolDefinition): JsonObject {
  const known = Object.entries({ name, title, description, inputSchema, annotations });
  const definition = Object.fromEntries(known.filter(([, value]) => value !== undefined)) as JsonObject;
  if (stringifyJson(definition).length <= MAX_OF_ONE) return definition;
  const short: JsonObject = { name, inputSchema: { type: "object", description: "Too large to be shown." } };
  if (typeof description === "string") short.description = description.slice(0, MAX_DESCRIPTION);
  return short;
}
