import { decide, type Rules } from "../access/index.ts";
import { type JsonObject, Problem } from "../base/index.ts";
import type { Started } from "../connect/index.ts";
import { adminHeaderKeys } from "../upstreams/index.ts";
import { isObject } from "./body.ts";
import type { Caller } from "./caller.ts";
import type { Entry } from "./catalog.ts";
import type { Client } from "./era.ts";
import type { McpParts } from "./parts.ts";
import { code } from "./refusal.ts";
import { type Reply, type ServerInfo, toolFailure } from "./reply.ts";
import type { RequestStates } from "./request-state.ts";

export interface MissingCredential {
  caller: Caller;
  client: Client;
  rules: Rules;
  entry: Entry;
  reason: "missing" | "needs_reauth" | "needs_update" | "orphaned";
  /** Of the call, for the `requestState`. */
  digest: string;
  /** What the person did with the link of the previous round, if this is a repeated call. */
  response: unknown;
}

/** Answers a call whose credential only a person can give (contract section 5). */
export class AskUser {
  readonly #parts: McpParts;
  readonly #states: RequestStates;
  readonly #self: ServerInfo;

  constructor(parts: McpParts, states: RequestStates, self: ServerInfo) {
    this.#parts = parts;
    this.#states = states;
    this.#self = self;
  }

  async answer(missing: MissingCredential): Promise<Reply> {
    const { caller, client, entry, reason } = missing;
    const { name } = entry.upstream;
    if (reason === "orphaned") {
      const text = `Access to ${name} was withdrawn. An administrator must restore it before it can be used again.`;
      return toolFailure(client, this.#self, text);
    }
    const started = await this.#start(missing);
    if (started instanceof Problem)
      return { error: { code: code.internal, message: started.message, data: { code: started.code } } };
    const required = { ...describe(entry, started), also_required: await this.#alsoRequired(missing) };
    const what =
      started.kind === "headers" ? `Submit your header values for ${name}` : `Connect your ${name} account`;
    const asked = `${what}, then the call can go on.`;
    // The person said no: asking again at once would be a loop. The link stays in the text.
    if (client.opensUrls && !refused(missing.response)) {
      if (client.era === "modern") return this.#inputRequired(missing, started, asked, required);
      if (client.version === "2025-11-25") return elicitationRequired(started, asked, required);
    }
    this.#parts.world.log.debug("call.connect_offered", { upstream: name, actor: caller.actor });
    return toolFailure(client, this.#self, required.message, { mcp_auth_required: required });
  }

  async #start({ caller, entry }: MissingCredential): Promise<Started | Problem> {
    try {
      return await this.#parts.connect.start(caller.owner, entry.upstream, "", { by: caller.actor });
    } catch (error) {
      if (error instanceof Problem) return error;
      throw error;
    }
  }

  /** 2026-07-28 MRTR: the client opens the page and repeats the call with the state. */
  #inputRequired(
    { caller, digest }: MissingCredential,
    { url }: Started,
    message: string,
    required: JsonObject,
  ): Reply {
    const result = {
      resultType: "input_required",
      inputRequests: { auth: { method: "elicitation/create", params: { mode: "url", message, url } } },
      requestState: this.#states.wrap(caller, digest, { answers: "gateway" }),
      _meta: { mcp_auth_required: required },
    };
    return { result };
  }

  /** The names of the caller's other upstreams that wait for an account. */
  async #alsoRequired({ caller, rules, entry }: MissingCredential): Promise<string[]> {
    const others = this.#parts.upstreams
      .all()
      .filter((other) => other.perUser && other.id !== entry.upstream.id && decide(rules, other));
    if (others.length === 0) return [];
    const statuses = await this.#parts.vault.statuses(
      caller.owner,
      others.map((other) => other.id),
    );
    return others.filter((other) => isWaiting(statuses.get(other.id))).map((other) => other.name);
  }
}

/** An orphaned binding is the administrator's to mend, not the person's. */
function isWaiting(credential: { status: string; orphaned: boolean } | undefined): boolean {
  return credential === undefined || (credential.status !== "active" && !credential.orphaned);
}

function refused(response: unknown): boolean {
  return isObject(response) && (response.action === "decline" || response.action === "cancel");
}

function describe({ upstream }: Entry, started: Started) {
  const common = {
    kind: started.kind,
    mcp_client_id: upstream.id,
    mcp_client_name: upstream.name,
    session_id: started.flowId,
  };
  const begin = `Authentication required for ${upstream.name}. Open this URL to`;
  if (started.kind === "oauth") {
    return {
      ...common,
      message: `${begin} connect your account: ${started.url}`,
      authorize_url: started.url,
    };
  }
  return {
    ...common,
    message: `${begin} submit the required headers: ${started.url}`,
    submit_url: started.url,
    required_header_keys: [...upstream.perUserHeaderKeys],
    admin_header_keys: adminHeaderKeys(upstream),
  };
}

/** 2025-11-25 elicitation, "URL Elicitation Required Error". */
function elicitationRequired({ flowId, url }: Started, message: string, required: JsonObject): Reply {
  const elicitations = [{ mode: "url", elicitationId: flowId, url, message }];
  const data = { elicitations, mcp_auth_required: required };
  return { error: { code: code.urlElicitationRequired, message: required.message as string, data } };
}
