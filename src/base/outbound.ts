import type { IncomingHttpHeaders } from "node:http";
import type { Gone } from "./gone.ts";
import type { Tls } from "./tls.ts";

/**
 * Who named the address. `admin`: an administrator, or metadata reached from an administrator's address; the exact
 * host:port pairs of POSTERN_OUTBOUND_ALLOW may be private. `stranger`: a client document named by anybody; only
 * POSTERN_CIMD_ALLOW counts.
 */
export type EgressPolicy = "admin" | "stranger";

export interface OutboundFetchInit {
  method?: string;
  headers?: Record<string, string> | Headers;
  body?: string | URLSearchParams | Uint8Array | null;
  signal?: AbortSignal;
  policy?: EgressPolicy;
  /** Decoded body bytes read before the answer is refused. Default 1 MiB. */
  maxBytes?: number;
  /** Milliseconds for the whole exchange, body included. Default 10 000. */
  timeoutMs?: number;
  /** Hops followed, each checked again; only for GET without credentials. Default 0: a redirect is returned as it is. */
  redirects?: 0 | 1 | 2;
  /** Counts for requests to its own origin, hop by hop; other origins are spoken to as usual. */
  tls?: Tls;
}

export interface OutboundRequest {
  method: "GET" | "POST" | "DELETE";
  headers: Record<string, string>;
  body?: string | Uint8Array;
  /** Ends the exchange, also in the middle of the answer. */
  signal?: Gone;
  headersTimeoutMs?: number;
  bodyTimeoutMs?: number;
  /** Counts for requests to its own origin; others are spoken to as usual. */
  tls?: Tls;
  /** The answer is a stream that stays open for long: on connections of its own, so that calls keep theirs. */
  standing?: boolean;
}

/** The body of an answer, read once: whole, in pieces, or not at all. */
export interface AnswerBody extends AsyncIterable<Uint8Array> {
  /** All of it; at once where it has come. Throws `OutboundError` `too_large` beyond `maxBytes`, and what the connection throws. */
  bytes(maxBytes: number): Uint8Array | Promise<Uint8Array>;
  /** Reads on for nobody, so that the connection can be used again; what is more or lasts longer ends it. */
  discard(limits: { bytes: number; ms: number }): void;
  /** Ends the connection: nothing of this answer can be taken for the next one's. */
  destroy(): void;
}

export interface OutboundAnswer {
  statusCode: number;
  /** Names in lower case. */
  headers: IncomingHttpHeaders;
  body: AnswerBody;
}

/** The one way out of the process (attack rule R1): addresses checked at connect, nothing followed, everything bounded. */
export interface Outbound {
  /** For metadata, tokens and documents: small answers, read whole within the bounds. Throws `OutboundError`. */
  fetch(url: string | URL, init?: OutboundFetchInit): Promise<Response>;
  /** The hot path to an upstream (policy `admin`): the answer's body is read by the caller within its own bounds. */
  request(url: URL, request: OutboundRequest): Promise<OutboundAnswer>;
  /** Whether the operator's list for administrators names exactly this host and port. */
  isNamed(url: URL): boolean;
  /** A TLS configuration counts no more: its connections end as soon as nothing is under way on them. */
  drop(tls: Tls): void;
  close(): Promise<void>;
}
