import type { JsonObject } from "../base/index.ts";
import type { RelayCall, RelayFailure } from "./call.ts";
import type { Answered } from "./exchange.ts";
import type { RpcError } from "./message.ts";

/** One call, once, with the headers that authorize it. */
export interface Attempt {
  call: RelayCall;
  /** Sets the static headers of the upstream and those of the credential. */
  authorize(headers: Record<string, string>): void;
  /** Which credential, and its generation; empty when there is none. */
  credential: string;
}

export type Attempted =
  | { outcome: "result"; result: JsonObject }
  | { outcome: "error"; error: RpcError }
  | { outcome: "failed"; code: RelayFailure; retryable: boolean }
  /** The upstream does not accept the credential; it did nothing. */
  | { outcome: "rejected" }
  /** The upstream speaks the other era; it did nothing. */
  | { outcome: "other_era" };

type Refused = Extract<Answered, { kind: "refused" }>;

/** What both eras make of a status that no JSON-RPC error explains; undefined when the era decides. */
export function refusal(answer: Refused): Attempted | undefined {
  const { status } = answer;
  if (status === 401) return { outcome: "rejected" };
  if (status === 403) {
    // RFC 6750 §3.1: a challenge says that another token would help. Without one, this account may not.
    const challenged = /\bbearer\b/i.test(String(answer.headers["www-authenticate"] ?? ""));
    return challenged
      ? { outcome: "rejected" }
      : { outcome: "failed", code: "upstream_refused", retryable: false };
  }
  if (status === 429 || status === 503) {
    return { outcome: "failed", code: "upstream_unreachable", retryable: true };
  }
  if (status >= 500) return { outcome: "failed", code: "upstream_unreachable", retryable: false };
  // Redirects are never followed with a credential (UP-14).
  if (status < 400) return { outcome: "failed", code: "upstream_protocol", retryable: false };
  return undefined;
}
