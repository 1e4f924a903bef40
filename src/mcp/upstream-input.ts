import type { JsonObject } from "../base/index.ts";
import { isObject } from "./body.ts";
import type { Target } from "./catalog.ts";
import type { Client } from "./era.ts";
import { type Reply, type ServerInfo, toolFailure } from "./reply.ts";
import { withRelated } from "./task-words.ts";

/** Which capability a client must have declared to be asked this (2026-07-28 MRTR). */
const capabilityFor: Readonly<Record<string, string>> = {
  "elicitation/create": "elicitation",
  "sampling/createMessage": "sampling",
  "roots/list": "roots",
};

/**
 * An upstream's question to the person, passed on: only kinds that this client declared, marked with the upstream's name
 * (MC-33), its state inside one of ours. Other clients read that they cannot answer it.
 */
export function inputRequired(
  client: Client,
  self: ServerInfo,
  { upstream }: Target,
  result: JsonObject,
  wrap: (upstreamState: string | undefined) => string,
): Reply {
  const requests = isObject(result.inputRequests) ? result.inputRequests : {};
  const askable = Object.values(requests).every((request) => mayAsk(client, request));
  if (client.era === "legacy" || !askable) {
    const links = linksOf(
      Object.values(requests).map((request) => (isObject(request) ? request.params : undefined)),
    );
    const how = links.length > 0 ? `Open: ${links.join(" ")}` : "This client cannot pass the question on.";
    return toolFailure(client, self, `${upstream.name} asks for more before it can go on. ${how}`);
  }
  const state = typeof result.requestState === "string" ? result.requestState : undefined;
  const marked = Object.fromEntries(
    Object.entries(requests).map(([key, request]) => [key, mark(upstream.name, request as JsonObject)]),
  );
  const passed: JsonObject = { ...result, requestState: wrap(state) };
  if (result.inputRequests !== undefined) passed.inputRequests = marked;
  return { result: passed };
}

/** The questions of a task that this client declared it can be asked, marked like others. */
export function inputRequestsFor(client: Client, name: string, requests: JsonObject): JsonObject {
  const askable = Object.entries(requests).filter(([, request]) => mayAsk(client, request));
  const shown = askable.map(([key, request]) => {
    const { params, ...rest } = mark(name, request as JsonObject);
    return [key, isObject(params) ? { ...rest, params: withRelated(params, undefined) } : rest];
  });
  return Object.fromEntries(shown);
}

/** Whether a client declared anything that an upstream could ask it for. */
export function canBeAsked({ capabilities }: Client): boolean {
  return (
    isObject(capabilities.elicitation) || isObject(capabilities.sampling) || isObject(capabilities.roots)
  );
}

/** Whether this client declared what is asked of it; a page of an upstream's must be one of the web. */
export function mayAsk(client: Client, request: unknown): boolean {
  if (!isObject(request) || typeof request.method !== "string") return false;
  const name = Object.hasOwn(capabilityFor, request.method) ? capabilityFor[request.method]! : undefined;
  const declared = name === undefined ? undefined : client.capabilities[name];
  if (!isObject(declared)) return false;
  if (name !== "elicitation") return true;
  const mode = isObject(request.params) ? request.params.mode : undefined;
  if (mode === "url") {
    // Older clients know the mode from 2025-11-25 on.
    const knows = client.era === "modern" || client.version === "2025-11-25";
    return client.opensUrls && knows && linksOf([request.params]).length === 1;
  }
  // `elicitation: {}` alone means form mode; a missing mode is a form.
  return (mode === undefined || mode === "form") && (isObject(declared.form) || !isObject(declared.url));
}

/** Who asks stands in front of what is asked, where the person reads it. */
export function mark(name: string, request: JsonObject): JsonObject {
  const { params } = request;
  if (!isObject(params) || typeof params.message !== "string") return request;
  return { ...request, params: { ...params, message: `[${name}] ${params.message}` } };
}

/** The web addresses among elicitations, for clients that can only show text. */
export function linksOf(elicitations: unknown): string[] {
  if (!Array.isArray(elicitations)) return [];
  return elicitations
    .slice(0, 16)
    .map((elicitation) => (isObject(elicitation) ? elicitation.url : undefined))
    .filter((url): url is string => typeof url === "string" && /^https?:\/\/[^\s<>"]{1,2000}$/.test(url));
}
