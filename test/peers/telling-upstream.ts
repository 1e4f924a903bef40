import { randomUUID } from "node:crypto";
import type { ServerResponse } from "node:http";
import {
  answer,
  type Era,
  type Exchange,
  type ScriptedTool,
  type ScriptedUpstream,
  startScriptedUpstream,
} from "./scripted-upstream.ts";

const META = "io.modelcontextprotocol/";
const LISTS = { tools: "toolsListChanged", prompts: "promptsListChanged", resources: "resourcesListChanged" };

interface Stream {
  /** The bearer token it was opened with; "" without one. */
  token: string;
  res: ServerResponse;
  /** 2026-07-28: of the request; what was asked for. */
  id?: string | number | null;
  wanted?: Record<string, unknown>;
}

type Definition = Record<string, unknown> & { name: string };

/** A fake MCP upstream of either era that has prompts and resources and tells of changes, to whoever listens, when the test says so. */
export class TellingUpstream {
  readonly peer: ScriptedUpstream;
  capabilities: Record<string, unknown> = {
    tools: { listChanged: true },
    prompts: { listChanged: true },
    resources: { listChanged: true, subscribe: true },
  };
  prompts: Definition[] = [{ name: "greet" }];
  resources: Definition[] = [
    { name: "Readme", uri: "file:///readme.md" },
    { name: "Other", uri: "file:///other.md" },
  ];
  /** Open standing streams. */
  readonly streams = new Set<Stream>();
  /** Older era: what is subscribed to, as `token uri`. */
  readonly subscribed = new Set<string>();

  static async start(era: Era = "modern", tools?: ScriptedTool[]): Promise<TellingUpstream> {
    return new TellingUpstream(await startScriptedUpstream({ era, tools }));
  }

  private constructor(peer: ScriptedUpstream) {
    this.peer = peer;
    peer.on("subscriptions/listen", (exchange) => this.#listen(exchange));
    peer.on("GET", (exchange) => this.#stand(exchange));
    peer.on("initialize", (exchange) => this.#initialize(exchange));
    peer.on("server/discover", (exchange) => this.#discover(exchange));
    peer.on("prompts/list", (exchange) => this.#result({ prompts: this.prompts })(exchange));
    peer.on("resources/list", (exchange) => this.#result({ resources: this.resources })(exchange));
    peer.on("resources/templates/list", (exchange) => this.#result({ resourceTemplates: [] })(exchange));
    for (const method of ["resources/subscribe", "resources/unsubscribe"])
      peer.on(method, (exchange) => this.#subscribe(exchange, method === "resources/subscribe"));
  }

  get url(): string {
    return this.peer.url;
  }

  /** Whether somebody who presented this token hears of changes of this resource. */
  isFollowed(uri: string, token = ""): boolean {
    if (this.peer.era === "legacy") return this.subscribed.has(`${token} ${uri}`);
    return [...this.streams].some((stream) => stream.token === token && follows(stream, uri));
  }

  /** Whether somebody hears of changes of this list. */
  isWatched(list: keyof typeof LISTS): boolean {
    return [...this.streams].some(({ wanted }) => !wanted || wanted[LISTS[list]] === true);
  }

  /** Says that a resource changed, to those who presented this token. */
  updated(uri: string, token = ""): void {
    for (const stream of this.streams) {
      if (stream.token !== token || (stream.wanted && !follows(stream, uri))) continue;
      if (!stream.wanted && !this.subscribed.has(`${token} ${uri}`)) continue;
      say(stream, "notifications/resources/updated", { uri });
    }
  }

  /** Says that a list changed, to everybody who listens for it. */
  changed(list: keyof typeof LISTS): void {
    for (const stream of this.streams)
      if (!stream.wanted || stream.wanted[LISTS[list]]) say(stream, `notifications/${list}/list_changed`, {});
  }

  /** Whatever it wants to say to everybody who listens. */
  say(method: string, params: Record<string, unknown> = {}): void {
    for (const stream of this.streams) say(stream, method, params);
  }

  async close(): Promise<void> {
    for (const { res } of this.streams) res.destroy();
    await this.peer.close();
  }

  #listen({ request, res, id }: Exchange): void {
    const wanted = request.body?.params?.notifications as Record<string, unknown>;
    const stream = this.#open(tokenOf(request.headers), res, { id, wanted });
    say(stream, "notifications/subscriptions/acknowledged", { notifications: wanted });
  }

  #stand(exchange: Exchange): void {
    const { request, res } = exchange;
    const session = String(request.headers["mcp-session-id"] ?? "");
    if (this.peer.era === "modern") return void answer.http(405)(exchange);
    if (!this.peer.sessions.has(session)) return void answer.http(404)(exchange);
    this.#open(tokenOf(request.headers), res, {});
  }

  #open(token: string, res: ServerResponse, more: Pick<Stream, "id" | "wanted">): Stream {
    res.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" });
    res.flushHeaders();
    const stream: Stream = { token, res, ...more };
    this.streams.add(stream);
    res.on("close", () => this.streams.delete(stream));
    return stream;
  }

  #subscribe(exchange: Exchange, isWanted: boolean): void {
    const { request } = exchange;
    const key = `${tokenOf(request.headers)} ${request.body?.params?.uri}`;
    if (isWanted) this.subscribed.add(key);
    else this.subscribed.delete(key);
    void answer.result({})(exchange);
  }

  #initialize(exchange: Exchange): void {
    if (this.peer.era === "modern") return void this.peer.usually(exchange);
    const session = randomUUID();
    this.peer.sessions.add(session);
    exchange.res.setHeader("mcp-session-id", session);
    const serverInfo = { name: "telling", version: "1.0.0" };
    const { capabilities } = this;
    void answer.result({ protocolVersion: "2025-11-25", capabilities, serverInfo })(exchange);
  }

  #discover(exchange: Exchange): void {
    if (this.peer.era === "legacy") return void this.peer.usually(exchange);
    const { capabilities } = this;
    void this.#result({ supportedVersions: ["2026-07-28"], capabilities })(exchange);
  }

  #result(result: object) {
    return answer.result({ resultType: "complete", ttlMs: 0, cacheScope: "private", ...result });
  }
}

function tokenOf(headers: Record<string, unknown>): string {
  return String(headers.authorization ?? "").replace(/^Bearer /, "");
}

function follows({ wanted }: Stream, uri: string): boolean {
  return ((wanted?.resourceSubscriptions as string[] | undefined) ?? []).includes(uri);
}

function say({ res, id, wanted }: Stream, method: string, params: Record<string, unknown>): void {
  const tagged = wanted ? { ...params, _meta: { [`${META}subscriptionId`]: id } } : params;
  res.write(`event: message\ndata: ${JSON.stringify({ jsonrpc: "2.0", method, params: tagged })}\n\n`);
}
