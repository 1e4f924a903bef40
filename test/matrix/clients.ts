import { Client as Client2, StreamableHTTPClientTransport as Transport2 } from "@modelcontextprotocol/client";
import { Client as Client1 } from "@modelcontextprotocol/sdk/client/index.js";
import { SSEClientTransport as SseTransport1 } from "@modelcontextprotocol/sdk/client/sse.js";
import { StreamableHTTPClientTransport as Transport1 } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
  LoggingMessageNotificationSchema,
  ResourceListChangedNotificationSchema,
  ResourceUpdatedNotificationSchema,
} from "@modelcontextprotocol/sdk/types.js";
import { Heard, Wire } from "./heard.ts";
import { firstWithTasks } from "./peer-tasks.ts";
import type { Place } from "./place.ts";
import { type Json, modern, pinned, type Revision } from "./revisions.ts";
import { type TaskCalls, tasksOfExtension, tasksOfSdk1 } from "./task-calls.ts";

export interface CallOptions {
  onprogress?(progress: Json): void;
  signal?: AbortSignal;
  _meta?: Json;
}

/** A client of either SDK and any revision, as the matrix uses it. */
export interface MatrixClient {
  revision: Revision;
  /** What the gateway said it offers. */
  offered: Json;
  /** The questions that were put to it. */
  asked: Json[];
  logs: Heard<Json>;
  /** What it was told without having asked just then. */
  changes: Heard<Json>;
  wire: Wire;
  /** Where it has tasks. */
  tasks?: TaskCalls;
  callTool(name: string, args?: Json, options?: CallOptions): Promise<Json>;
  listTools(): Promise<Json[]>;
  listResources(): Promise<Json[]>;
  listTemplates(): Promise<Json[]>;
  listPrompts(): Promise<Json[]>;
  readResource(uri: string): Promise<Json>;
  getPrompt(name: string, args: Json): Promise<Json>;
  complete(params: Json): Promise<Json>;
  setLogLevel(level: string): Promise<unknown>;
  /** Wants to hear of changes of resources, and of this resource; before 2026-07-28 of lists it does anyway. */
  follow(uri: string): Promise<unknown>;
  close(): Promise<void>;
}

export interface ClientKind {
  label: string;
  revision: Revision;
  /** Whether it can ask for a task, or be given one. */
  hasTasks?: boolean;
  connect(place: Place, key: string): Promise<MatrixClient>;
}

/** What a client of that revision can be asked for at most: elicitation is of 2025-06-18, its pages of 2025-11-25. */
function capabilitiesOf(revision: Revision): Json {
  const older = { sampling: {}, roots: {} };
  if (revision < "2025-06-18") return older;
  return { ...older, elicitation: revision < "2025-11-25" ? {} : { form: {}, url: {} } };
}

const form = { action: "accept" as const, content: { colour: "blue", name: "Ann" } };
const page = { action: "accept" as const };
const said = {
  role: "assistant" as const,
  model: "test",
  content: { type: "text" as const, text: "something" },
};
const roots = { roots: [{ uri: "file:///work", name: "Work" }] };

/** What a client of either SDK shares with the other's. */
function common(revision: Revision) {
  const asked: Json[] = [];
  return {
    asked,
    logs: new Heard<Json>(),
    changes: new Heard<Json>(),
    wire: new Wire(),
    revision,
    elicited: (params: Json) => {
      asked.push(params);
      return params.mode === "url" ? page : form;
    },
  };
}

const sdk1 =
  (revision: Revision): ClientKind["connect"] =>
  async (place, key) => {
    const { elicited, ...shared } = common(revision);
    const capabilities = capabilitiesOf(revision);
    const client = new Client1({ name: "one", version: "1" }, { capabilities });
    if (capabilities.elicitation)
      client.setRequestHandler(ElicitRequestSchema, ({ params }) => elicited(params));
    client.setRequestHandler(CreateMessageRequestSchema, () => said);
    client.setRequestHandler(ListRootsRequestSchema, () => roots);
    client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => shared.logs.add(params));
    client.setNotificationHandler(ResourceListChangedNotificationSchema, (told) => shared.changes.add(told));
    client.setNotificationHandler(ResourceUpdatedNotificationSchema, (told) => shared.changes.add(told));
    const options = optionsAt(place, key, shared.wire);
    const transport =
      revision === "2024-11-05"
        ? new SseTransport1(new URL("/sse", place.url), options)
        : new Transport1(new URL("/mcp", place.url), options);
    await client.connect(pinned(transport, revision) as never);
    return {
      ...shared,
      offered: client.getServerCapabilities() ?? {},
      ...(revision === firstWithTasks && { tasks: tasksOfSdk1(client) }),
      callTool: (name, args, { _meta, ...options } = {}) =>
        client.callTool({ name, arguments: args, _meta }, undefined, options),
      listTools: () => every("tools", (params) => client.listTools(params)),
      listResources: () => every("resources", (params) => client.listResources(params)),
      listTemplates: () => every("resourceTemplates", (params) => client.listResourceTemplates(params)),
      listPrompts: () => every("prompts", (params) => client.listPrompts(params)),
      readResource: (uri) => client.readResource({ uri }),
      getPrompt: (name, args) => client.getPrompt({ name, arguments: args }),
      complete: (params) => client.complete(params as never),
      setLogLevel: (level) => client.setLoggingLevel(level as never),
      follow: (uri) => client.subscribeResource({ uri }),
      close: () => client.close(),
    };
  };

const sdk2 =
  (revision: Revision): ClientKind["connect"] =>
  async (place, key) => {
    const { elicited, ...shared } = common(revision);
    const negotiation =
      revision === modern
        ? { versionNegotiation: { mode: { pin: revision } } }
        : { versionNegotiation: { mode: "legacy" as const }, supportedProtocolVersions: [revision] };
    const client = new Client2(
      { name: "two", version: "1" },
      { capabilities: capabilitiesOf(revision), ...negotiation },
    );
    client.setRequestHandler("elicitation/create", ({ params }) => elicited(params));
    client.setRequestHandler("sampling/createMessage", () => said);
    client.setRequestHandler("roots/list", () => roots);
    client.setNotificationHandler("notifications/message", ({ params }) => shared.logs.add(params as Json));
    for (const method of ["notifications/resources/list_changed", "notifications/resources/updated"] as const)
      client.setNotificationHandler(method, (told: Json) => shared.changes.add(told));
    await client.connect(new Transport2(new URL("/mcp", place.url), optionsAt(place, key, shared.wire)));
    return {
      ...shared,
      offered: client.getServerCapabilities() ?? {},
      ...(revision === modern && { tasks: tasksOfExtension(place, key, elicited) }),
      callTool: (name, args, { _meta, ...options } = {}) =>
        client.callTool({ name, arguments: args, ...(_meta && { _meta }) }, options),
      listTools: () => every("tools", (params) => client.listTools(params)),
      listResources: () => every("resources", (params) => client.listResources(params)),
      listTemplates: () => every("resourceTemplates", (params) => client.listResourceTemplates(params)),
      listPrompts: () => every("prompts", (params) => client.listPrompts(params)),
      readResource: (uri) => client.readResource({ uri }),
      getPrompt: (name, args) => client.getPrompt({ name, arguments: args }),
      complete: (params) => client.complete(params as never),
      setLogLevel: (level) => client.setLoggingLevel(level as never),
      follow: (uri) =>
        revision === modern
          ? client.listen({ resourcesListChanged: true, resourceSubscriptions: [uri] })
          : client.subscribeResource({ uri }),
      close: () => client.close(),
    };
  };

function optionsAt(place: Place, key: string, wire: Wire): { requestInit: RequestInit; fetch: typeof fetch } {
  return { requestInit: { headers: { authorization: `Bearer ${key}` } }, fetch: wire.tapped(place.fetch) };
}

/** Every page of a list. */
async function every(member: string, list: (params?: { cursor: string }) => Promise<Json>): Promise<Json[]> {
  const items: Json[] = [];
  for (let cursor: string | undefined; ; ) {
    const page = await list(cursor === undefined ? undefined : { cursor });
    items.push(...page[member]);
    cursor = page.nextCursor;
    if (cursor === undefined) return items;
  }
}

export const clients: readonly ClientKind[] = [
  { label: "SDK v1 over HTTP+SSE, 2024-11-05", revision: "2024-11-05", connect: sdk1("2024-11-05") },
  { label: "SDK v1, 2025-03-26", revision: "2025-03-26", connect: sdk1("2025-03-26") },
  { label: "SDK v1, 2025-06-18", revision: "2025-06-18", connect: sdk1("2025-06-18") },
  { label: "SDK v2, 2025-06-18", revision: "2025-06-18", connect: sdk2("2025-06-18") },
  { label: "SDK v1, 2025-11-25", revision: "2025-11-25", hasTasks: true, connect: sdk1("2025-11-25") },
  { label: "SDK v2, 2025-11-25", revision: "2025-11-25", connect: sdk2("2025-11-25") },
  { label: "SDK v2, 2026-07-28", revision: "2026-07-28", hasTasks: true, connect: sdk2("2026-07-28") },
];
