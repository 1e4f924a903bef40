import type { Rules } from "../access/index.ts";
import { type Gone, type JsonObject, Problem } from "../base/index.ts";
import type { Started } from "../connect/index.ts";
import type { NeedsUserReason } from "../vault/index.ts";
import {
  AuthRequests,
  type AuthRequired,
  administratorMissing,
  isWaitingFor,
  noLink,
  withdrawn,
} from "./auth-required.ts";
import { isObject } from "./body.ts";
import type { Caller } from "./caller.ts";
import type { Target } from "./catalog.ts";
import type { ClientBehaviours } from "./client-behaviour.ts";
import type { Client } from "./era.ts";
import { exchangeRefused } from "./exchange-refused.ts";
import type { McpParts } from "./parts.ts";
import { reachOf } from "./reach.ts";
import { code } from "./refusal.ts";
import { type Reply, type ServerInfo, toolFailure } from "./reply.ts";
import type { RequestStates } from "./request-state.ts";

export interface MissingCredential {
  caller: Caller;
  client: Client;
  rules: Rules;
  entry: Target;
  /** Label of the account that was asked for; without one the default. */
  account?: string;
  /** `insufficient_scope`: there is one, and the upstream wants its person to allow more. */
  reason: NeedsUserReason | "insufficient_scope";
  /** Of the call, for the `requestState`. */
  digest: string;
  /** What the previous round came to, if this is a repeated call. */
  round?: Round;
  signal: Gone;
}

/** A repeated call: what the person did with the link, and how often it was waited for them. */
export interface Round {
  response: unknown;
  waited: number;
}

/** How long one repeated call waits for a person who is at the page; nobody waits ten seconds (goal 4). */
const WAIT_MS = 8_000;
const LOOK_MS = 400;
/** The official client repeats a call ten times at most. */
const MAX_WAITS = 6;

/** Answers a call whose credential only a person can give (contract section 5). */
export class AskUser {
  readonly #parts: McpParts;
  readonly #states: RequestStates;
  readonly #self: ServerInfo;
  readonly #behaviours: ClientBehaviours;
  readonly #requests: AuthRequests;

  constructor(parts: McpParts, states: RequestStates, self: ServerInfo, behaviours: ClientBehaviours) {
    this.#parts = parts;
    this.#states = states;
    this.#self = self;
    this.#behaviours = behaviours;
    this.#requests = new AuthRequests(parts);
  }

  /** The answer; undefined when the person connected while it was waited for them, and the call can be made. */
  async answer(missing: MissingCredential): Promise<Reply | undefined> {
    const { caller, client, entry, reason, round } = missing;
    const { upstream } = entry;
    if (upstream.exchanged) return exchangeRefused(client, this.#self, upstream, reason);
    if (upstream.shared) return toolFailure(client, this.#self, administratorMissing(upstream, reason));
    if (reason === "orphaned") return toolFailure(client, this.#self, withdrawn(upstream));
    const accepted = round !== undefined && (round.waited > 0 || actionOf(round) === "accept");
    if (accepted && (await this.#connected(missing))) return undefined;
    const made = await this.#requests.make({ ...missing, upstream });
    if (made instanceof Problem) return noLink(made);
    // MRTR: `accept` says that the page is open, not that it is done. Nobody is asked twice; the client comes back by itself.
    if (accepted && round.waited < MAX_WAITS) return this.#comeBack(missing, made, round.waited + 1);
    const { reach } = reachOf(client, this.#behaviours);
    // After a no, or a page left open for long, asking again would be a loop. The link stays in the text.
    if (round === undefined || (!accepted && !refused(round))) {
      if (reach === "input_required") return this.#inputRequired(missing, made);
      if (reach === "url_error") return urlError(made, asked(made.link, upstream.name, reason));
    }
    this.#parts.world.log.debug("call.connect_offered", { upstream: upstream.name, actor: caller.actor });
    const { required } = made;
    return {
      ...toolFailure(client, this.#self, required.message, { mcp_auth_required: required }),
      required,
    };
  }

  /** 2026-07-28 MRTR: the client opens the page and repeats the call with the state. */
  #inputRequired(missing: MissingCredential, { link, required }: AuthRequired): Reply {
    const { name } = missing.entry.upstream;
    const params = { mode: "url", message: asked(link, name, missing.reason), url: link.url };
    const inputRequests = { auth: { method: "elicitation/create", params } };
    return this.#again(missing, { inputRequests, _meta: { mcp_auth_required: required } }, 0);
  }

  #comeBack(missing: MissingCredential, { required }: AuthRequired, waited: number): Reply {
    return this.#again(missing, { _meta: { mcp_auth_required: required } }, waited);
  }

  #again({ caller, digest }: MissingCredential, said: JsonObject, waited: number): Reply {
    const requestState = this.#states.wrap(caller, digest, { answers: "gateway", waited });
    return { result: { resultType: "input_required", ...said, requestState } };
  }

  /** Whether the account is there, now or within the time that may be waited; false at once when the client is gone. */
  async #connected({ caller, entry, account, reason, signal }: MissingCredential): Promise<boolean> {
    const { waitMs = WAIT_MS } = this.#parts;
    const until = performance.now() + waitMs;
    for (;;) {
      if (!(await isWaitingFor(this.#parts, { caller, upstream: entry.upstream, account, reason })))
        return true;
      if (signal.aborted || performance.now() + LOOK_MS > until) return false;
      await pause(LOOK_MS, signal);
    }
  }
}

function asked({ kind }: Started, name: string, reason: MissingCredential["reason"]): string {
  if (reason === "insufficient_scope") return `Allow ${name} more than before, then the call can go on.`;
  const what = kind === "headers" ? `Submit your header values for ${name}` : `Connect your ${name} account`;
  return `${what}, then the call can go on.`;
}

function actionOf({ response }: Round): unknown {
  return isObject(response) ? response.action : undefined;
}

function refused(round: Round): boolean {
  return actionOf(round) === "decline" || actionOf(round) === "cancel";
}

/** 2025-11-25 elicitation, "URL Elicitation Required Error". */
function urlError({ link, required }: AuthRequired, message: string): Reply {
  const elicitations = [{ mode: "url", elicitationId: link.flowId, url: link.url, message }];
  const data = { elicitations, mcp_auth_required: required };
  return { error: { code: code.urlElicitationRequired, message: required.message, data } };
}

/** Waits, less long when the client goes. */
export function pause(ms: number, signal: Gone): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
  });
}
