import type { JsonObject } from "../base/index.ts";
import { readChallenge } from "../upstreams/index.ts";
import type { RelayCall, RelayFailure, TaskAnswer } from "./call.ts";
import type { Answered } from "./exchange.ts";
import type { RpcError } from "./message.ts";

/** One call, once, with the headers that authorize it. */
export interface Attempt {
  call: RelayCall;
  /** Sets the static headers of the upstream and those of the credential. */
  authorize(headers: Record<string, string>): void;
  /** Which credential, and its generation; empty when there is none. */
  readonly credential: string;
  /** The same credential for another call of the same upstream. */
  with(call: RelayCall): Attempt;
}

export type Attempted =
  | ({ outcome: "result"; result: JsonObject } & TaskAnswer)
  | { outcome: "error"; error: RpcError }
  | { outcome: "failed"; code: RelayFailure; retryable: boolean }
  /** The upstream does not accept the credential; it did nothing. `wants`: what it accepts instead. */
  | { outcome: "rejected"; wants?: Wants }
  /** The upstream speaks the other era; it did nothing. */
  | { outcome: "other_era" };

/** A token with these scopes too (RFC 6750 §3.1), or the same one with its nonce in the proof (RFC 9449 §9). */
export type Wants = { scopes: readonly string[] } | "nonce";

type Refused = Extract<Answered, { kind: "refused" }>;

/** What both eras make of a status that no JSON-RPC error explains; undefined when the era decides. */
export function refusal(answer: Refused): Attempted | undefined {
  const { status } = answer;
  if (status === 401 || status === 403) return unauthorized(status, answer.headers["www-authenticate"]);
  if (status === 429 || status === 503) {
    return { outcome: "failed", code: "upstream_unreachable", retryable: true };
  }
  if (status >= 500) return { outcome: "failed", code: "upstream_unreachable", retryable: false };
  // Redirects are never followed with a credential (UP-14).
  if (status < 400) return { outcome: "failed", code: "upstream_protocol", retryable: false };
  return undefined;
}

function unauthorized(status: 401 | 403, header: string | undefined): Attempted {
  const { error, scopes } = readChallenge(header);
  if (error === "use_dpop_nonce") return { outcome: "rejected", wants: "nonce" };
  // RFC 9449 §7.1: about the proof, often about a clock. Another token would fare no better.
  if (error === "invalid_dpop_proof")
    return { outcome: "failed", code: "upstream_refused", retryable: false };
  if (status === 401) return { outcome: "rejected" };
  // RFC 6750 §3.1: a challenge says that another token would help. Without one, this account may not.
  const isOther = /\b(?:bearer|dpop)\b/i.test(String(header ?? "")) && error !== "insufficient_scope";
  if (isOther) return { outcome: "rejected" };
  return error === "insufficient_scope" && scopes?.length
    ? { outcome: "rejected", wants: { scopes } }
    : { outcome: "failed", code: "upstream_refused", retryable: false };
}
