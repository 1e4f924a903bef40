import type { RunningGateway } from "../support/gateway.ts";

// biome-ignore lint/suspicious/noExplicitAny: an answer is looked at freely; the expectations are the types.
type Json = Record<string, any>;

/** What came back on `/mcp`. */
export interface Received {
  status: number;
  headers: Headers;
  text: string;
  /** The JSON-RPC answer: the body, or the last event of a stream. */
  message: Json;
}

export interface CallOptions {
  era?: "modern" | "legacy";
  signal?: AbortSignal;
  id?: string | number;
}

/** Somebody with a key, and an account of their own at the hostile upstream. */
export class Caller {
  readonly key: string;
  readonly marker: string;
  readonly #url: string;
  #session: Promise<string> | undefined;
  #last = 0;

  constructor(url: string, key: string, marker: string) {
    this.#url = url;
    this.key = key;
    this.marker = marker;
  }

  /** Calls a tool, as a client of either era. */
  call(name: string, args: Json = {}, options: CallOptions = {}): Promise<Received> {
    return this.request("tools/call", { name, arguments: args }, options);
  }

  async request(method: string, params: Json, options: CallOptions = {}): Promise<Received> {
    this.#last += 1;
    const { era = "modern", signal, id = this.#last } = options;
    const sent = era === "modern" ? { ...params, _meta: { ..._meta, ...params._meta } } : params;
    const message = { jsonrpc: "2.0", id, method, params: sent };
    const headers =
      era === "modern" ? modernHeaders(method, params) : { "mcp-session-id": await this.session() };
    const response = await this.#post(message, headers, signal);
    const text = await response.text();
    return { status: response.status, headers: response.headers, text, message: answerIn(text) };
  }

  /** Its session as an older client. */
  session(): Promise<string> {
    this.#session ??= (async () => {
      const params = {
        protocolVersion: "2025-11-25",
        capabilities: {},
        clientInfo: { name: "c", version: "1" },
      };
      const response = await this.#post({ jsonrpc: "2.0", id: "init", method: "initialize", params }, {});
      await response.text();
      return response.headers.get("mcp-session-id")!;
    })();
    return this.#session;
  }

  /** The next older call opens another. */
  forgetSession(): void {
    this.#session = undefined;
  }

  async notify(method: string, params: Json): Promise<void> {
    await this.#post({ jsonrpc: "2.0", method, params }, { "mcp-session-id": await this.session() });
  }

  #post(message: Json, headers: Record<string, string>, signal?: AbortSignal): Promise<Response> {
    return fetch(`${this.#url}/mcp`, {
      method: "POST",
      body: JSON.stringify(message),
      signal,
      headers: {
        authorization: `Bearer ${this.key}`,
        "content-type": "application/json",
        accept: "application/json, text/event-stream",
        ...headers,
      },
    });
  }
}

const META = "io.modelcontextprotocol/";
const _meta = { [`${META}protocolVersion`]: "2026-07-28", [`${META}clientCapabilities`]: {} };

function modernHeaders(method: string, { name, uri }: Json): Record<string, string> {
  const named = method === "resources/read" ? uri : name;
  return {
    "mcp-protocol-version": "2026-07-28",
    "mcp-method": method,
    ...(named !== undefined && { "mcp-name": named }),
  };
}

function answerIn(text: string): Json {
  return JSON.parse(text.startsWith("event:") ? text.trimEnd().split("\ndata: ").at(-1)! : text);
}

/** What every answer of the hostile upstream to a caller holds, and no answer to another. */
const markerOf = (caller: string) => `account-of-${caller}-5e2f`;

/** A new caller with a key for every upstream, connected to the one that wants an account. */
export async function callerOf(
  gateway: RunningGateway,
  name: string,
  account: { id: string; header: string },
): Promise<Caller> {
  const mcp_configs = ["evil", "good"].map((upstream) => ({
    mcp_client_name: upstream,
    tools_to_execute: ["*"],
  }));
  const made = await gateway.admin<{ virtual_key: { value: string } }>(
    "POST",
    "/api/governance/virtual-keys",
    {
      name,
      mcp_configs,
    },
  );
  const key = made.virtual_key.value;
  const send = async (method: string, path: string, body: unknown): Promise<Json> => {
    const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
    const response = await fetch(gateway.url + path, { method, headers, body: JSON.stringify(body) });
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
    return (await response.json()) as Json;
  };
  const marker = markerOf(name);
  const { session_id } = await send("POST", "/api/mcp/sessions", { mcp_client_id: account.id });
  const headers = { [account.header]: marker };
  await send("PUT", `/api/mcp/per-user-headers/flows/${session_id}`, { headers });
  return new Caller(gateway.url, key, marker);
}
