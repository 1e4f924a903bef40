import { type Json, type JsonObject, type Owner, Problem, type Vouched } from "../base/index.ts";
import type { FeatureDefinition, Features } from "../upstreams/index.ts";
import type { ClientView, RelayCall, Relayed } from "./call.ts";
import { isObject } from "./message.ts";
import type { RelayUpstream } from "./parts.ts";

type Caller = { call(call: RelayCall): Promise<Relayed> };

const MAX_PAGES = 64;
const MAX_ITEMS = 5_000;
/** In whose name the lists are read: everything declared, so that they hold what some client may use. */
const extensions = { "io.modelcontextprotocol/ui": { mimeTypes: ["text/html;profile=mcp-app"] } };
export const everyClient: ClientView = {
  era: "modern",
  capabilities: { elicitation: { form: {}, url: {} }, sampling: {}, roots: {}, extensions },
};
/** There is nobody behind a list to be asked; the session it is read in serves no call. */
export const askNobody = async () => ({ error: { code: -32601, message: "Method not found" } });
/** All lists of one upstream together, as JSON: they are kept in memory and in one row. */
const MAX_BYTES = 8 * 1024 * 1024;

/**
 * What an upstream offers beside tools: its capabilities, and the lists it says it has, page by page and bounded. A list
 * that it refuses all the same is empty. Throws `Problem` when it cannot be asked at all.
 */
export async function listAllFeatures(
  relay: Caller,
  upstream: RelayUpstream,
  owner: Owner | undefined,
  vouched?: Vouched,
): Promise<Features> {
  const ask = (method: string, params: JsonObject) => {
    const { signal } = new AbortController();
    return relay.call({
      owner,
      vouched,
      upstream,
      insists: true,
      method,
      params,
      client: everyClient,
      tasks: true,
      onRequest: askNobody,
      signal,
    });
  };
  const discovered = await ask("server/discover", {});
  if (discovered.outcome !== "result") throw notListed();
  const declared = discovered.result.capabilities;
  const capabilities = isObject(declared) ? declared : {};
  const has = (capability: string) => isObject(capabilities[capability]);
  // Side by side: they say nothing about each other.
  const [resources, templates, prompts] = await Promise.all([
    has("resources") ? listed(ask, "resources/list", "resources", "uri") : [],
    has("resources") ? listed(ask, "resources/templates/list", "resourceTemplates", "uriTemplate") : [],
    has("prompts") ? listed(ask, "prompts/list", "prompts", "name") : [],
  ]);
  const features = { capabilities, resources, templates, prompts };
  if (JSON.stringify(features).length > MAX_BYTES) throw notListed();
  return features;
}

/** `key`: without this member as text an item could not be asked for. */
async function listed(
  ask: (method: string, params: JsonObject) => Promise<Relayed>,
  method: string,
  member: string,
  key: string,
): Promise<FeatureDefinition[]> {
  const items: FeatureDefinition[] = [];
  let cursor: string | undefined;
  for (let page = 0; page < MAX_PAGES && items.length < MAX_ITEMS; page++) {
    const relayed = await ask(method, cursor === undefined ? {} : { cursor });
    if (relayed.outcome === "error" && page === 0) return [];
    if (relayed.outcome !== "result") throw notListed();
    const found: Json | undefined = relayed.result[member];
    if (!Array.isArray(found)) throw notListed();
    const usable = found.filter((item) => isObject(item) && typeof item[key] === "string");
    items.push(...(usable.slice(0, MAX_ITEMS) as unknown as FeatureDefinition[]));
    const next = relayed.result.nextCursor;
    // An empty string is a cursor like any other (protocol section 1.9).
    if (typeof next !== "string") break;
    cursor = next;
  }
  return items.slice(0, MAX_ITEMS);
}

function notListed(): Problem {
  return new Problem("upstream", "upstream_protocol", "The server could not be asked for what it offers.");
}
