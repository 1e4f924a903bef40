import { type JsonObject, stringifyJson } from "../base/index.ts";
import type { RelayCall } from "./call.ts";
import { encodeHeaderValue } from "./header-value.ts";
import { isObject } from "./message.ts";
import { metaKey, modernVersion, tasksExtension } from "./revisions.ts";

/** Which parameter `Mcp-Name` mirrors (2026-07-28 Streamable HTTP, "Standard Headers"). */
const namedBy: Readonly<Record<string, string>> = {
  "tools/call": "name",
  "prompts/get": "name",
  "resources/read": "uri",
  // Tasks extension, "Routing Headers".
  "tasks/get": "taskId",
  "tasks/update": "taskId",
  "tasks/cancel": "taskId",
};

export interface Implementation {
  name: string;
  version: string;
}

const hopMembers: ReadonlySet<string> = new Set(Object.values(metaKey));

/** Capabilities whose requests travel back inside `input_required`, from a modern upstream to a modern client. */
const carried = ["elicitation", "sampling", "roots"] as const;

/** What every request carries, from an empty set (attack rule R18). */
export function baseHeaders(version: string): Record<string, string> {
  return {
    accept: "application/json, text/event-stream",
    "content-type": "application/json",
    "mcp-protocol-version": version,
  };
}

/** The headers a modern server compares with the body. */
export function modernHeaders(call: RelayCall): Record<string, string> {
  const headers = baseHeaders(modernVersion);
  headers["mcp-method"] = call.method;
  const member = Object.hasOwn(namedBy, call.method) ? namedBy[call.method] : undefined;
  const name = member === undefined ? undefined : call.params?.[member];
  if (typeof name === "string") headers["mcp-name"] = encodeHeaderValue(name);
  for (const header in call.paramHeaders) headers[header] = call.paramHeaders[header]!;
  return headers;
}

/**
 * Adds what goes on from the client's request. Set last and only where nothing is: it can stand in for no header of ours,
 * of the administrator or of a person's credential (R18).
 */
export function addExtraHeaders(headers: Record<string, string>, { extraHeaders }: RelayCall): void {
  for (const name in extraHeaders) headers[name] ??= extraHeaders[name]!;
}

/** The body for a modern upstream. */
export function modernBody(call: RelayCall, id: number, self: Implementation): string {
  return stringifyJson(modernMessage(call, id, self));
}

/** A request to a modern upstream: `_meta` of this hop written anew, everything else as the client sent it. */
export function modernMessage(call: RelayCall, id: number, self: Implementation): JsonObject {
  const sent = clientMeta(call);
  const meta = foreignMeta(sent, call.progressToken ?? id);
  meta[metaKey.protocolVersion] = modernVersion;
  const capabilities = carriedCapabilities(call);
  if (call.tasks)
    capabilities.extensions = { ...(capabilities.extensions as JsonObject), [tasksExtension]: {} };
  meta[metaKey.clientCapabilities] = capabilities;
  meta[metaKey.clientInfo] = { name: self.name, version: self.version };
  const logLevel = call.client.era === "modern" ? sent?.[metaKey.logLevel] : call.logLevel;
  if (logLevel !== undefined) meta[metaKey.logLevel] = logLevel;
  return { jsonrpc: "2.0", id, method: call.method, params: { ...call.params, _meta: meta } };
}

/** The body for an older upstream: without the members that only modern hops know. */
export function legacyBody(call: RelayCall, id: number): string {
  const meta = foreignMeta(clientMeta(call), call.progressToken ?? id);
  const params: JsonObject = { ...call.params };
  delete params._meta;
  // 2026-07-28 MRTR members mean nothing to an older server.
  delete params.inputResponses;
  delete params.requestState;
  // A newer client's word that is none, or one that an older client's revision does not know.
  if (params.task !== undefined && !call.tasks) delete params.task;
  for (const _ in meta) {
    params._meta = meta;
    break;
  }
  return stringifyJson({ jsonrpc: "2.0", id, method: call.method, params });
}

function clientMeta(call: RelayCall): JsonObject | undefined {
  const meta = call.params?._meta;
  return isObject(meta) ? meta : undefined;
}

/** What the client put into `_meta` for the server itself; the progress token becomes ours, unique on this hop (MC-16). */
function foreignMeta(sent: JsonObject | undefined, ours: string | number): JsonObject {
  const meta: JsonObject = {};
  for (const key in sent) if (!hopMembers.has(key)) meta[key] = sent[key]!;
  if (meta.progressToken !== undefined) meta.progressToken = ours;
  return meta;
}

/** What this hop declares: exactly what the present client can answer. An older one only while it can be asked. */
export function carriedCapabilities(call: RelayCall): JsonObject {
  const capabilities: JsonObject = {};
  if (call.client.era !== "modern" && !call.onRequest) return capabilities;
  for (const name of carried) {
    const declared = call.client.capabilities[name];
    if (isObject(declared)) capabilities[name] = declared;
  }
  const extensions = passedExtensions(call.client.capabilities.extensions);
  if (extensions) capabilities.extensions = extensions;
  return capabilities;
}

/** Extensions that are between client and server, with nothing in them for us to do: MCP Apps. */
const passed = "io.modelcontextprotocol/ui";

function passedExtensions(declared: unknown): JsonObject | undefined {
  const ui = isObject(declared) ? declared[passed] : undefined;
  return isObject(ui) ? { [passed]: ui } : undefined;
}
