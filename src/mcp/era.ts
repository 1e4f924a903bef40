import { type JsonObject, sha256 } from "../base/index.ts";
import type { HeaderReader } from "../http/index.ts";
import {
  type ClientView,
  decodeHeaderValue,
  legacyVersions,
  metaKey,
  modernVersion,
} from "../relay/index.ts";
import { type Answer, isObject, type Message } from "./body.ts";
import type { Caller } from "./caller.ts";
import { code, Refusal } from "./refusal.ts";
import type { ClientSessions, OpenSession } from "./session.ts";

/** The client behind one request, and what it can do with an answer. */
export interface Client extends ClientView {
  version: string;
  /** URL elicitation, in the form of its revision. */
  opensUrls: boolean;
  sessionId?: string;
  /** The name of that session. */
  session?: string;
}

const nothing: JsonObject = {};

/** Revisions a client may ask for; the oldest named another transport and is still sent by some. */
export const clientVersions: readonly string[] = [...legacyVersions, "2024-11-05"];
export const supportedVersions: readonly string[] = [modernVersion, ...legacyVersions];

/** Whether the message says itself that it is of the stateless revision; `initialize` never is (protocol section 1.13). */
export function isModern({ params }: Message, headers: HeaderReader): boolean {
  const meta = params?._meta;
  if (isObject(meta) && meta[metaKey.protocolVersion] !== undefined) return true;
  const version = headers.get("mcp-protocol-version");
  return version !== null && version.trim() === modernVersion;
}

/**
 * Reads the client of a modern request and holds its headers against the body ("Server Validation", MC-11). Throws
 * `Refusal` with status 400.
 */
export function modernClient(message: Message, headers: HeaderReader): Client {
  const meta = isObject(message.params?._meta) ? message.params._meta : {};
  const version = meta[metaKey.protocolVersion];
  if (typeof version !== "string") {
    throw new Refusal(
      code.invalidParams,
      `_meta["${metaKey.protocolVersion}"] is missing. Send it with every request.`,
    );
  }
  // Notifications need no headers; the ones that are sent must not contradict.
  const sent = headers.get("mcp-protocol-version");
  if (sent === null ? message.id !== undefined : sent.trim() !== version)
    throw mismatch("MCP-Protocol-Version");
  if (version !== modernVersion) throw unsupported(version);
  checkMethod(message, headers);
  checkName(message, headers);
  const capabilities = meta[metaKey.clientCapabilities];
  if (!isObject(capabilities) && message.id !== undefined) {
    throw new Refusal(
      code.invalidParams,
      `_meta["${metaKey.clientCapabilities}"] is missing. Send an object.`,
    );
  }
  return modernView(isObject(capabilities) ? capabilities : {}, meta);
}

function modernView(capabilities: JsonObject, meta: JsonObject): Client {
  const info = meta[metaKey.clientInfo];
  return {
    era: "modern",
    version: modernVersion,
    capabilities,
    info: isObject(info) ? info : undefined,
    opensUrls: declaresUrls(capabilities),
  };
}

/** `elicitation: {}` alone is form mode only (protocol section 1.8). */
export function declaresUrls(capabilities: unknown): boolean {
  return (
    isObject(capabilities) && isObject(capabilities.elicitation) && isObject(capabilities.elicitation.url)
  );
}

function checkMethod(message: Message, headers: HeaderReader): void {
  const method = headers.get("mcp-method");
  if (method === null ? message.id !== undefined : method.trim() !== message.method)
    throw mismatch("Mcp-Method");
}

const namedBy: Readonly<Record<string, string>> = {
  "tools/call": "name",
  "prompts/get": "name",
  "resources/read": "uri",
  // Tasks extension, "Routing Headers".
  "tasks/get": "taskId",
  "tasks/update": "taskId",
  "tasks/cancel": "taskId",
};

function checkName({ method, params, id }: Message, headers: HeaderReader): void {
  const member = Object.hasOwn(namedBy, method) ? namedBy[method]! : undefined;
  if (member === undefined) return;
  const header = headers.get("mcp-name");
  const value = params?.[member];
  if (header === null && (id === undefined || value === undefined)) return;
  if (header === null || decodeHeaderValue(header.trim()) !== value) throw mismatch("Mcp-Name");
}

export function mismatch(header: string): Refusal {
  return new Refusal(
    code.headerMismatch,
    `The header ${header} is missing or does not agree with the body.`,
    {
      data: { header },
    },
  );
}

function unsupported(requested: string): Refusal {
  return new Refusal(
    code.unsupportedVersion,
    "This protocol revision is not supported. Use one of data.supported.",
    {
      data: { supported: [...supportedVersions], requested: requested.slice(0, 64) },
    },
  );
}

/** Reads the client of an older request; without a session id it is served as one that declared nothing. */
export function legacyClient(
  message: Pick<Message | Answer, "method">,
  headers: HeaderReader,
  caller: Caller,
  sessions: ClientSessions,
): Client | Promise<Client> {
  const method = headers.get("mcp-method");
  // Modern headers on an older request are nobody's to trust: contradictions are refused (MC-11).
  if (method !== null && method.trim() !== message.method) throw mismatch("Mcp-Method");
  const sessionId = message.method === "initialize" ? null : headers.get("mcp-session-id");
  if (sessionId === null) return olderClient(headers);
  const session = sessions.known(caller, sessionId);
  if (session) return olderClient(headers, sessionId, session);
  return sessions.open(caller, sessionId).then((opened) => olderClient(headers, sessionId, opened));
}

function olderClient(headers: HeaderReader, sessionId?: string, session?: OpenSession): Client {
  const version = legacyVersion(headers) ?? session?.version;
  return {
    era: "legacy",
    // 2025-06-18 "Protocol Version Header": without any, 2025-03-26 is assumed.
    version: session?.version ?? version ?? "2025-03-26",
    capabilities: session?.capabilities ?? nothing,
    info: session?.client,
    opensUrls: session?.opensUrls ?? false,
    sessionId,
    session: session?.name,
  };
}

function legacyVersion(headers: HeaderReader): string | undefined {
  const sent = headers.get("mcp-protocol-version");
  if (sent === null || clientVersions.includes(sent)) return sent ?? undefined;
  // Some clients send the header twice, which joins the values.
  const values = new Set(sent.split(",").map((value) => value.trim()));
  const [version = ""] = values;
  if (values.size === 1 && clientVersions.includes(version)) return version;
  throw unsupported(sent);
}

/** What distinguishes the call that a `requestState` was made for from another. */
export function digestOf(name: string, args: unknown): string {
  return sha256(JSON.stringify([name, args ?? null]));
}
