import type { Rules } from "../access/index.ts";
import type { JsonObject } from "../base/index.ts";
import type { AccountTools } from "./account-tools.ts";
import { accountFor } from "./accounts.ts";
import { calledByPage } from "./apps.ts";
import { AskUser, pause } from "./ask-user.ts";
import { isObject } from "./body.ts";
import { refuseUnknown, reportCall } from "./call-report.ts";
import { CallsUnderWay } from "./calls-under-way.ts";
import type { Catalog, Entry, Target } from "./catalog.ts";
import type { ClientBehaviours } from "./client-behaviour.ts";
import type { ConnectTools, View } from "./connect-tools.ts";
import { extraHeaders } from "./extra-headers.ts";
import { failureReply, upstreamError } from "./failures.ts";
import { readFilters } from "./filters.ts";
import { awaitFirstRead } from "./first-read.ts";
import { levelOf, wanted } from "./hearing.ts";
import type { HeldAt } from "./held-call.ts";
import { HeldCalls } from "./held-calls.ts";
import { LogLevels } from "./log-levels.ts";
import type { Mailbox } from "./mailbox.ts";
import { becomesTask, NewTasks, speaksOfTasks, withoutStatus } from "./new-tasks.ts";
import { checkParamHeaders, paramHeaders } from "./param-headers.ts";
import type { McpParts } from "./parts.ts";
import { PlainNames } from "./plain-names.ts";
import { code, Refusal } from "./refusal.ts";
import { asError, complete, type Reply, type ServerInfo } from "./reply.ts";
import { type RequestState, RequestStates } from "./request-state.ts";
import { selfAt } from "./self.ts";
import type { TaskNewsDesk } from "./task-news.ts";
import { digestFor, type ToolCall } from "./tool-call.ts";
import { askClient, inputResponses, pagesRequired } from "./upstream-asks.ts";
import { canBeAsked, inputRequired } from "./upstream-input.ts";
import { upstreamParams } from "./upstream-params.ts";

/** Tools that are not in the catalogue, because they are somebody's own. */
export interface OtherTools {
  connect: ConnectTools;
  accounts: AccountTools;
}

/** How often a newer upstream may ask an older client for more, and how soon it is asked again what it only wants repeated. */
const MAX_ROUNDS = 8;
const REPEAT_MS = 500;

/** Calls tools: decides, relays, and puts what comes back into the client's words. */
export class ToolCalls {
  readonly #parts: McpParts;
  readonly #catalog: Catalog;
  readonly #self: ServerInfo;
  readonly #states: RequestStates;
  readonly #askUser: AskUser;
  readonly #others: OtherTools;
  readonly #held: HeldCalls;
  readonly #plain: PlainNames;
  readonly #underWay = new CallsUnderWay();
  readonly levels: LogLevels;
  readonly #tasks: NewTasks;

  constructor(
    parts: McpParts,
    catalog: Catalog,
    self: ServerInfo,
    behaviours: ClientBehaviours,
    others: OtherTools,
    { mailbox, news }: { mailbox: Mailbox; news: TaskNewsDesk },
  ) {
    this.#parts = parts;
    this.#catalog = catalog;
    this.levels = new LogLevels(parts);
    this.#self = self;
    this.#states = new RequestStates(parts.world, parts.seal);
    this.#askUser = new AskUser(parts, this.#states, self, behaviours);
    this.#others = others;
    this.#held = new HeldCalls(parts.world, mailbox);
    this.#plain = new PlainNames(parts.upstreams);
    this.#tasks = new NewTasks(parts, self, news);
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
    const name = this.#plain.full(caller, params.name);
    const entry =
      this.#catalog.find(name, rules, filters) ??
      (await this.#others.accounts.find(name, view)) ??
      this.#ofPage(params.name, view);
    if (!entry) return this.#connect(call, params.name, view);
    if (client.era === "modern" && call.outer === undefined)
      checkParamHeaders(entry.paramHeaders, args, call.headers);
    this.#underWay.enter(caller.binding);
    try {
      return await this.#run(call, entry, args, rules);
    } finally {
      this.#underWay.leave(caller.binding);
    }
  }

  /**
   * A request that is no call of a tool, on the same way: its target was resolved and allowed. What would be a tool's
   * failed result is a JSON-RPC error here. Throws as `call` does.
   */
  async carry(call: ToolCall, target: Target, args: JsonObject | undefined, rules: Rules): Promise<Reply> {
    this.#underWay.enter(call.caller.binding);
    try {
      return asError(await this.#run(call, target, args, rules));
    } finally {
      this.#underWay.leave(call.caller.binding);
    }
  }

  /** A client of 2026-07-28 that an older upstream may ask something is answered by rounds, its call held meanwhile. */
  #run(call: ToolCall, entry: Target, args: JsonObject | undefined, rules: Rules): Promise<Reply> {
    const { caller, client, params } = call;
    if (client.era === "legacy") return this.#relay(call, entry, args, rules);
    if (params.requestState !== undefined) {
      const { held } = this.#states.open(caller, digestFor(call, entry, args), params.requestState);
      const { inputResponses: sent = {} } = params;
      if (held && !isObject(sent)) {
        throw new Refusal(code.invalidParams, 'Send "inputResponses" as an object.');
      }
      if (held) return this.#held.resume(call, held, sent as JsonObject);
    }
    const waits = entry.upstream.era !== "modern" && entry.about === undefined && canBeAsked(client);
    if (!waits) return this.#relay(call, entry, args, rules);
    const wrap = (at: HeldAt) => this.#wrap(call, entry, args, { held: at });
    return this.#held.run(call, wrap, (watched) => this.#relay(watched, entry, args, rules));
  }

  #wrap(
    call: ToolCall,
    target: Target,
    args: JsonObject | undefined,
    state: Omit<RequestState, "answers">,
  ): string {
    const digest = digestFor(call, target, args);
    return this.#states.wrap(call.caller, digest, { ...state, answers: "upstream" });
  }

  /** `again`: the person connected while the call waited; it is not waited a second time. */
  async #relay(
    call: ToolCall,
    entry: Target,
    args: JsonObject | undefined,
    rules: Rules,
    again = false,
  ): Promise<Reply> {
    const started = performance.now();
    const { caller, client } = call;
    const { params, round } = upstreamParams(this.#states, call, entry, args);
    const prepared = speaksOfTasks(entry, params)
      ? this.#tasks.prepare(call, entry, params, rules)
      : undefined;
    const account = accountFor(entry, call);
    const logLevel = levelOf(call, this.levels);
    const relayed = await this.#parts.relay.call({
      owner: entry.upstream.perUser ? caller.owner : undefined,
      vouched: caller.vouched,
      account,
      caller: caller.binding,
      upstream: entry.upstream,
      method: entry.method ?? "tools/call",
      params: prepared?.params ?? params,
      client,
      paramHeaders: paramHeaders(entry.paramHeaders, args),
      extraHeaders: extraHeaders(entry.upstream.allowedExtraHeaders, call.headers),
      tasks: prepared?.tasks ?? entry.about !== undefined,
      session: entry.about?.session,
      followsTask: prepared?.follows,
      progressToken: prepared?.progressToken,
      signal: call.signal,
      logLevel,
      onNotification: prepared?.tasks ? withoutStatus(wanted(call, logLevel)) : wanted(call, logLevel),
      onRequest: call.ask && ((request) => askClient(call, entry, request)),
    });
    reportCall(
      this.#parts,
      call,
      entry,
      account === undefined ? relayed : { account, ...relayed },
      performance.now() - started,
    );
    entry.about?.learned?.(relayed);
    switch (relayed.outcome) {
      case "result":
        if (prepared && entry.about === undefined && becomesTask(prepared, relayed))
          return await this.#tasks.answer(call, entry, relayed, rules, (...told) =>
            reportCall(this.#parts, call, ...told),
          );
        return call.ask && client.era === "legacy" && relayed.result.resultType === "input_required"
          ? await this.#askOlder(call, entry, relayed.result, args, rules)
          : this.#result(call, entry, relayed.result, args);
      case "error":
        return (
          pagesRequired(client, entry, relayed.error, () => this.#wrap(call, entry, args, {})) ??
          upstreamError(client, this.#self, entry, relayed.error)
        );
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
          digest: digestFor(call, entry, args),
          round: again ? undefined : round,
          signal: call.signal,
        });
        return reply ?? (await this.#relay(call, entry, args, rules, true));
      }
    }
  }

  #result(call: ToolCall, entry: Target, result: JsonObject, args: JsonObject | undefined): Reply {
    if (result.resultType !== "input_required") {
      const named = entry.received ? entry.received(result) : result;
      return { result: complete(call.client, selfAt(this.#self, call.caller), named) };
    }
    const wrap = (upstream: string | undefined) => this.#wrap(call, entry, args, { upstream });
    return inputRequired(call.client, this.#self, entry, result, wrap);
  }

  /** A newer upstream wants more of an older client: it is asked, and the call repeated with what it said. */
  async #askOlder(
    call: ToolCall,
    entry: Target,
    result: JsonObject,
    args: JsonObject | undefined,
    rules: Rules,
  ): Promise<Reply> {
    const rounds = (call.answered?.rounds ?? 0) + 1;
    const { inputRequests, requestState } = result;
    if (rounds > MAX_ROUNDS) return this.#result(call, entry, result, args);
    const answered: NonNullable<ToolCall["answered"]> = { rounds };
    if (typeof requestState === "string") answered.requestState = requestState;
    if (isObject(inputRequests) && Object.keys(inputRequests).length > 0) {
      answered.inputResponses = await inputResponses(this.#parts.world, call, entry, inputRequests);
      if (!answered.inputResponses) return this.#result(call, entry, result, args);
    } else await pause(REPEAT_MS, call.signal);
    return this.#relay({ ...call, answered }, entry, args, rules);
  }

  /** Ours come before what a page may mean. */
  #ofPage(name: string, view: View): Entry | undefined {
    if (this.#others.connect.find(name, view)) return undefined;
    return calledByPage(this.#catalog, name, view.rules, view.filters);
  }

  async #connect(call: ToolCall, name: string, view: View): Promise<Reply> {
    const { connect } = this.#others;
    const upstream = connect.find(name, view);
    if (upstream) return connect.call(upstream, view, call.requestId);
    const full = this.#plain.full(call.caller, name);
    return (await awaitFirstRead(this.#parts, full, view, call.signal))
      ? this.call(call)
      : refuseUnknown(this.#parts, call, name);
  }
}
