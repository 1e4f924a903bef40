import { decide, type Rules } from "../access/index.ts";
import { type JsonObject, Problem } from "../base/index.ts";
import type { Started } from "../connect/index.ts";
import { adminHeaderKeys, isConnectable, type Upstream } from "../upstreams/index.ts";
import { type Credential, waitsForScopes } from "../vault/index.ts";
import type { Caller } from "./caller.ts";
import type { McpParts } from "./parts.ts";
import { code } from "./refusal.ts";
import type { Reply } from "./reply.ts";

/** Whose account is missing where. */
export interface Wanted {
  caller: Caller;
  rules: Rules;
  upstream: Upstream;
  /** Label of the account that was asked for; without one the default. */
  account?: string;
  /** Why it is asked for; absent: there is no usable one. */
  reason?: string;
}

/** The link, and what is said with it. */
export interface AuthRequired {
  link: Started;
  /** The object `mcp_auth_required` of contract section 5; its `message` is what a person reads. */
  required: JsonObject & { message: string };
}

/** Makes the link of a missing credential and says what it is for. Touches the database, never an upstream. */
export class AuthRequests {
  readonly #parts: Pick<McpParts, "connect" | "upstreams" | "vault">;

  constructor(parts: Pick<McpParts, "connect" | "upstreams" | "vault">) {
    this.#parts = parts;
  }

  /** The pending link while five minutes remain, else a new one; or why there can be none now. */
  async make(wanted: Wanted): Promise<AuthRequired | Problem> {
    const { caller, upstream, account } = wanted;
    try {
      const link = await this.#parts.connect.start(caller.owner, upstream, account, { by: caller.actor });
      const required: AuthRequired["required"] = {
        ...describe(upstream, link, wanted.reason),
        also_required: await this.#alsoRequired(wanted),
      };
      if (account !== undefined) required.account = account;
      return { link, required };
    } catch (error) {
      // A store that does not answer says nothing about the account.
      if (error instanceof Problem && error.kind !== "unavailable") return error;
      throw error;
    }
  }

  /** The names of the caller's other upstreams that wait for an account, in the order of names. */
  async #alsoRequired({ caller, rules, upstream }: Wanted): Promise<string[]> {
    const others = this.#parts.upstreams
      .all()
      .filter((other) => isConnectable(other) && other.id !== upstream.id && decide(rules, other));
    return (await waiting(this.#parts, caller, others)).map((other) => other.name);
  }
}

/** Those of `upstreams` for which the caller has no usable credential and could get one. One query, or none. */
export async function waiting(
  { vault }: Pick<McpParts, "vault">,
  caller: Caller,
  upstreams: readonly Upstream[],
): Promise<Upstream[]> {
  if (upstreams.length === 0) return [];
  const ids = upstreams.map(({ id }) => id);
  const statuses = await vault.statuses(caller.owner, ids);
  return upstreams.filter(({ id }) => isWaiting(statuses.get(id)));
}

/** The same for one upstream and the account that was asked for. */
export async function isWaitingFor(
  parts: Pick<McpParts, "vault">,
  { caller, upstream, account, reason }: Omit<Wanted, "rules">,
): Promise<boolean> {
  if (reason === "insufficient_scope") return isNarrow(await heldBy(parts, { caller, upstream, account }));
  if (account === undefined) return (await waiting(parts, caller, [upstream])).length > 0;
  return isWaiting(await parts.vault.find(caller.owner, upstream.id, account));
}

async function heldBy(
  { vault }: Pick<McpParts, "vault">,
  { caller, upstream, account }: Omit<Wanted, "rules">,
): Promise<Credential | undefined> {
  if (account !== undefined) return vault.find(caller.owner, upstream.id, account);
  return (await vault.statuses(caller.owner, [upstream.id])).get(upstream.id);
}

/** Still without what its upstream wants. */
function isNarrow(credential: Credential | undefined): boolean {
  return isWaiting(credential) || waitsForScopes(credential!);
}

/** An orphaned binding is the administrator's to mend, not the person's. */
export function isWaiting(credential: { status: string; orphaned: boolean } | undefined): boolean {
  return credential === undefined || (credential.status !== "active" && !credential.orphaned);
}

/** The plain refusal of contract section 5: nothing a link could mend. */
export function withdrawn({ name }: Upstream): string {
  return `Access to ${name} was withdrawn. An administrator must restore it before it can be used again.`;
}

/** The same where one credential serves everybody: no person's own stands in for it, and no person can mend it. */
export function administratorMissing({ name }: Upstream, reason?: string): string {
  if (reason === "insufficient_scope")
    return `${name} wants more permissions for this than its shared account has: an administrator must authorize it again.`;
  return `${name} cannot be used now: an administrator must connect its shared account again.`;
}

export function noLink(problem: Problem): Reply {
  const error = { code: code.internal, message: problem.message, data: { code: problem.code } };
  return { error, problem };
}

function describe(upstream: Upstream, link: Started, reason: string | undefined) {
  const common = {
    kind: link.kind,
    mcp_client_id: upstream.id,
    mcp_client_name: upstream.name,
    session_id: link.flowId,
  };
  const begin = `Authentication required for ${upstream.name}. Open this URL to`;
  if (link.kind === "oauth" && reason === "insufficient_scope") {
    const message = `${upstream.name} wants more permissions for this. Open this URL to allow them: ${link.url}`;
    return { ...common, message, authorize_url: link.url };
  }
  if (link.kind === "oauth") {
    return { ...common, message: `${begin} connect your account: ${link.url}`, authorize_url: link.url };
  }
  return {
    ...common,
    message: `${begin} submit the required headers: ${link.url}`,
    submit_url: link.url,
    required_header_keys: [...upstream.perUserHeaderKeys],
    admin_header_keys: adminHeaderKeys(upstream),
  };
}
