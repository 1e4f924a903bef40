import type { Rules } from "../access/index.ts";
import { type JsonObject, Problem } from "../base/index.ts";
import { metaKey, type Relayed } from "../relay/index.ts";
import { AskUser } from "./ask-user.ts";
import { isObject } from "./body.ts";
import type { Caller } from "./caller.ts";
import type { Catalog, Entry } from "./catalog.ts";
import { type Client, digestOf } from "./era.ts";
import { failureReply, upstreamError } from "./failures.ts";
import { readFilters } from "./filters.ts";
import { checkParamHeaders, paramHeaders } from "./param-headers.ts";
import type { McpParts } from "./parts.ts";
import { code, Refusal } from "./refusal.ts";
import { complete, type NotificationSink, type Reply, type ServerInfo } from "./reply.ts";
import { RequestStates } from "./request-state.ts";
import { inputRequired } from "./upstream-input.ts";

/** One `tools/call` of a proved caller. */
export interface ToolCall {
  caller: Caller;
  client: Client;
  params: JsonObject;
  headers: Headers;
  signal: AbortSignal;
  requestId: string;
  onNotification?: NotificationSink;
}

/** Calls one identity may have under way at once (MC-26). */
const MAX_IN_FLIGHT = 256;

/** Calls tools: decides, relays, and puts what comes back into the client's words. */
export class ToolCalls {
  readonly #parts: McpParts;
  readonly #catalog: Catalog;
  readonly #self: ServerInfo;
  readonly #states: RequestStates;
  readonly #askUser: AskUser;
  readonly #inFlight = new Map<string, number>();

  constructor(parts: McpParts, catalog: Catalog, self: ServerInfo) {
    this.#parts = parts;
    this.#catalog = catalog;
    this.#self = self;
    this.#states = new RequestStates(parts.world, parts.seal);
    this.#askUser = new AskUser(parts, this.#states, self);
  }

  /** Throws `Refusal`, and `Problem` when the caller has too many calls under way. */
  async call(call: ToolCall): Promise<Reply> {
    const { caller, client, params } = call;
    const args = params.arguments;
    if (typeof params.name !== "string" || (args !== undefined && !isObject(args))) {
      throw new Refusal(code.invalidParams, 'Send "name" as a string and "arguments" as an object.');
    }
    const rules = await this.#parts.access.rulesFor(caller);
    const entry = this.#catalog.find(params.name, rules, readFilters(call.headers));
    if (!entry) return this.#unknown(call, params.name);
    if (client.era === "modern") checkParamHeaders(entry.paramHeaders, args, call.headers);
    return await this.#counted(caller, () => this.#relay(call, entry, args, rules));
  }

  async #counted(caller: Caller, work: () => Promise<Reply>): Promise<Reply> {
    const count = this.#inFlight.get(caller.binding) ?? 0;
    if (count >= MAX_IN_FLIGHT) {
      const message = `${MAX_IN_FLIGHT} calls are under way already. Wait for some to end.`;
      throw new Problem("too_many", "too_many_calls", message, { retryAfter: 1 });
    }
    this.#inFlight.set(caller.binding, count + 1);
    try {
      return await work();
    } finally {
      const left = (this.#inFlight.get(caller.binding) ?? 1) - 1;
      if (left > 0) this.#inFlight.set(caller.binding, left);
      else this.#inFlight.delete(caller.binding);
    }
  }

  async #relay(call: ToolCall, entry: Entry, args: JsonObject | undefined, rules: Rules): Promise<Reply> {
    const started = performance.now();
    const { caller, client } = call;
    const { params, response } = this.#upstreamParams(call, entry, args);
    const relayed = await this.#parts.relay.call({
      owner: entry.upstream.perUser ? caller.owner : undefined,
      upstream: entry.upstream,
      method: "tools/call",
      params,
      client,
      paramHeaders: paramHeaders(entry.paramHeaders, args),
      signal: call.signal,
      onNotification: this.#notifications(call),
    });
    this.#report(call, entry, relayed, performance.now() - started);
    switch (relayed.outcome) {
      case "result":
        return this.#result(call, entry, relayed.result, args);
      case "error":
        return upstreamError(client, this.#self, entry, relayed.error);
      case "failed":
        return failureReply(entry, relayed, call.requestId);
      case "needs_user": {
        const digest = digestOf(entry.name, args);
        return await this.#askUser.answer({
          caller,
          client,
          rules,
          entry,
          reason: relayed.reason,
          digest,
          response,
        });
      }
    }
  }

  /** The parameters under the upstream's own tool name; what belongs to our own question is taken out. */
  #upstreamParams(
    { caller, params, client }: ToolCall,
    { name, tool }: Entry,
    args: JsonObject | undefined,
  ): { params: JsonObject; response?: unknown } {
    const sent: JsonObject = { ...params, name: tool };
    if (
      client.era === "legacy" ||
      (params.requestState === undefined && params.inputResponses === undefined)
    ) {
      return { params: sent };
    }
    const responses = isObject(params.inputResponses) ? params.inputResponses : undefined;
    if (params.inputResponses !== undefined && !responses) {
      throw new Refusal(code.invalidParams, 'Send "inputResponses" as an object.');
    }
    if (params.requestState === undefined) return { params: sent };
    const state = this.#states.open(caller, digestOf(name, args), params.requestState);
    delete sent.requestState;
    if (state.upstream !== undefined) return { params: { ...sent, requestState: state.upstream } };
    if (state.answers === "upstream") return { params: sent };
    delete sent.inputResponses;
    return { params: sent, response: responses?.auth };
  }

  /** 2026-07-28: no log messages unless this request asked for them. */
  #notifications({ client, params, onNotification }: ToolCall): NotificationSink | undefined {
    if (!onNotification || client.era === "legacy") return onNotification;
    const meta = isObject(params._meta) ? params._meta : {};
    if (meta[metaKey.logLevel] !== undefined) return onNotification;
    if (meta.progressToken === undefined) return undefined;
    return (notification) =>
      notification.method === "notifications/progress" ? onNotification(notification) : undefined;
  }

  #result(call: ToolCall, entry: Entry, result: JsonObject, args: JsonObject | undefined): Reply {
    if (result.resultType !== "input_required") return { result: complete(call.client, this.#self, result) };
    const wrap = (upstream: string | undefined) =>
      this.#states.wrap(call.caller, digestOf(entry.name, args), { upstream, answers: "upstream" });
    return inputRequired(call.client, this.#self, entry, result, wrap);
  }

  /** ID-30: what is not allowed looks like what does not exist. */
  #unknown({ caller, requestId }: ToolCall, name: string): never {
    const { actor, owner } = caller;
    const detail = { tool: name.slice(0, 256) };
    this.#parts.audit.note({ event: "call.denied", actor, owner, requestId, detail });
    throw new Refusal(code.invalidParams, "Unknown tool. List the tools to see what can be called.", {
      status: 200,
    });
  }

  #report({ caller, requestId }: ToolCall, entry: Entry, relayed: Relayed, durationMs: number): void {
    const outcome = relayed.outcome === "failed" ? relayed.code : relayed.outcome;
    this.#parts.onCall({ upstream: entry.upstream.name, tool: entry.tool, outcome, durationMs });
    const { actor, owner } = caller;
    const detail = { tool: entry.tool, outcome };
    this.#parts.audit.note({
      event: "call.made",
      actor,
      owner,
      upstreamId: entry.upstream.id,
      requestId,
      detail,
    });
  }
}
