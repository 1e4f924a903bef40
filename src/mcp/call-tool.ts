import type { Rules } from "../access/index.ts";
import type { Gone } from "../base/index.ts";
import { type JsonObject, Problem } from "../base/index.ts";
import type { HeaderReader } from "../http/index.ts";
import { metaKey, type Relayed } from "../relay/index.ts";
import type { AccountTools } from "./account-tools.ts";
import { accountFor } from "./accounts.ts";
import { AskUser, type Round } from "./ask-user.ts";
import { isObject, type Message } from "./body.ts";
import type { Caller } from "./caller.ts";
import type { Catalog, Entry } from "./catalog.ts";
import type { ClientBehaviours } from "./client-behaviour.ts";
import type { ConnectTools, View } from "./connect-tools.ts";
import { type Client, digestOf } from "./era.ts";
import { extraHeaders } from "./extra-headers.ts";
import { failureReply, upstreamError } from "./failures.ts";
import { readFilters } from "./filters.ts";
import { checkParamHeaders, paramHeaders } from "./param-headers.ts";
import type { McpParts } from "./parts.ts";
import { code, Refusal } from "./refusal.ts";
import { complete, type NotificationSink, type Reply, type ServerInfo } from "./reply.ts";
import { RequestStates } from "./request-state.ts";
import { selfAt } from "./self.ts";
import { inputRequired } from "./upstream-input.ts";

/** One `tools/call` of a proved caller. */
export interface ToolCall {
  caller: Caller;
  client: Client;
  params: JsonObject;
  headers: HeaderReader;
  signal: Gone;
  requestId: string;
  onNotification?: NotificationSink;
}

/** Tools that are not in the catalogue, because they are somebody's own. */
export interface OtherTools {
  connect: ConnectTools;
  accounts: AccountTools;
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
  readonly #others: OtherTools;
  readonly #inFlight = new Map<string, number>();

  constructor(
    parts: McpParts,
    catalog: Catalog,
    self: ServerInfo,
    behaviours: ClientBehaviours,
    others: OtherTools,
  ) {
    this.#parts = parts;
    this.#catalog = catalog;
    this.#self = self;
    this.#states = new RequestStates(parts.world, parts.seal);
    this.#askUser = new AskUser(parts, this.#states, self, behaviours);
    this.#others = others;
  }

  /** Throws `Refusal`, and `Problem` when the caller has too many calls under way. */
  async call(call: ToolCall): Promise<Reply> {
    const { caller, client, params } = call;
    const args = params.arguments;
    if (typeof params.name !== "string" || (args !== undefined && !isObject(args))) {
      throw new Refusal(code.invalidParams, 'Send "name" as a string and "arguments" as an object.');
    }
    const { access } = this.#parts;
    const rules = access.known(caller) ?? (await access.rulesFor(caller));
    const filters = readFilters(call.headers);
    const view = { caller, client, rules, filters };
    const entry =
      this.#catalog.find(params.name, rules, filters) ??
      (await this.#others.accounts.find(params.name, view));
    if (!entry) return this.#connect(call, params.name, view);
    if (client.era === "modern") checkParamHeaders(entry.paramHeaders, args, call.headers);
    this.#enter(caller.binding);
    try {
      return await this.#relay(call, entry, args, rules);
    } finally {
      this.#leave(caller.binding);
    }
  }

  #enter(binding: string): void {
    const count = this.#inFlight.get(binding) ?? 0;
    if (count >= MAX_IN_FLIGHT) {
      const message = `${MAX_IN_FLIGHT} calls are under way already. Wait for some to end.`;
      throw new Problem("too_many", "too_many_calls", message, { retryAfter: 1 });
    }
    this.#inFlight.set(binding, count + 1);
  }

  #leave(binding: string): void {
    const left = (this.#inFlight.get(binding) ?? 1) - 1;
    if (left > 0) this.#inFlight.set(binding, left);
    else this.#inFlight.delete(binding);
  }

  /** `again`: the person connected while the call waited; it is not waited a second time. */
  async #relay(
    call: ToolCall,
    entry: Entry,
    args: JsonObject | undefined,
    rules: Rules,
    again = false,
  ): Promise<Reply> {
    const started = performance.now();
    const { caller, client } = call;
    const { params, round } = this.#upstreamParams(call, entry, args);
    const account = accountFor(entry, call);
    const relayed = await this.#parts.relay.call({
      owner: entry.upstream.perUser ? caller.owner : undefined,
      account,
      upstream: entry.upstream,
      method: "tools/call",
      params,
      client,
      paramHeaders: paramHeaders(entry.paramHeaders, args),
      extraHeaders: extraHeaders(entry.upstream.allowedExtraHeaders, call.headers),
      signal: call.signal,
      onNotification: wanted(call),
    });
    this.#report(
      call,
      entry,
      account === undefined ? relayed : { account, ...relayed },
      performance.now() - started,
    );
    switch (relayed.outcome) {
      case "result":
        return this.#result(call, entry, relayed.result, args);
      case "error":
        return upstreamError(client, this.#self, entry, relayed.error);
      case "failed":
        return failureReply(entry, relayed, call.requestId);
      case "needs_user": {
        const reply = await this.#askUser.answer({
          caller,
          client,
          rules,
          entry,
          account,
          reason: relayed.reason,
          digest: digestOf(entry.name, args),
          round: again ? undefined : round,
          signal: call.signal,
        });
        return reply ?? (await this.#relay(call, entry, args, rules, true));
      }
    }
  }

  /** The parameters under the upstream's own tool name; what belongs to our own question is taken out. */
  #upstreamParams(
    { caller, params, client }: ToolCall,
    { name, tool }: Entry,
    args: JsonObject | undefined,
  ): { params: JsonObject; round?: Round } {
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
    return { params: sent, round: { response: responses?.auth, waited: state.waited ?? 0 } };
  }

  #result(call: ToolCall, entry: Entry, result: JsonObject, args: JsonObject | undefined): Reply {
    if (result.resultType !== "input_required")
      return { result: complete(call.client, selfAt(this.#self, call.caller), result) };
    const wrap = (upstream: string | undefined) =>
      this.#states.wrap(call.caller, digestOf(entry.name, args), { upstream, answers: "upstream" });
    return inputRequired(call.client, this.#self, entry, result, wrap);
  }

  async #connect(call: ToolCall, name: string, view: View): Promise<Reply> {
    const { connect } = this.#others;
    const upstream = connect.find(name, view);
    return upstream ? connect.call(upstream, view, call.requestId) : this.#unknown(call, name);
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
    const { actor, owner, virtualMcp } = caller;
    const detail: JsonObject = { tool: entry.tool, outcome };
    if (virtualMcp) detail.virtual_mcp = virtualMcp.slug;
    if (relayed.account !== undefined) detail.account = relayed.account;
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

/** Whether anything can come before the answer: older clients are sent what there is, 2026-07-28 ones what they asked for. */
export function mayNotify(client: Client, { params }: Pick<Message, "params">): boolean {
  if (client.era === "legacy") return true;
  const meta = params?._meta;
  return isObject(meta) && (meta[metaKey.logLevel] !== undefined || meta.progressToken !== undefined);
}

/** 2026-07-28: no log messages unless this request asked for them. */
function wanted({ client, params, onNotification }: ToolCall): NotificationSink | undefined {
  if (!onNotification || client.era === "legacy") return onNotification;
  const meta = isObject(params._meta) ? params._meta : {};
  if (meta[metaKey.logLevel] !== undefined) return onNotification;
  if (meta.progressToken === undefined) return undefined;
  return (notification) =>
    notification.method === "notifications/progress" ? onNotification(notification) : undefined;
}
