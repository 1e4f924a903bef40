import type { EventEmitter } from "node:events";
import type { Dispatcher } from "undici";

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
}

export interface OutboundRequest {
  method: "GET" | "POST" | "DELETE";
  headers: Record<string, string>;
  body?: string | Uint8Array;
  /** Ends the exchange: an AbortSignal, or an emitter of `abort`, which costs a call less. */
  signal?: AbortSignal | EventEmitter;
  headersTimeoutMs?: number;
  bodyTimeoutMs?: number;
}

/** The one way out of the process (attack rule R1): addresses checked at connect, nothing followed, everything bounded. */
export interface Outbound {
  /** For metadata, tokens and documents: small answers, read whole within the bounds. Throws `OutboundError`. */
  fetch(url: string | URL, init?: OutboundFetchInit): Promise<Response>;
  /** The hot path to an upstream (policy `admin`): the answer's body is a stream, read by the caller within its own bounds. */
  request(url: URL, request: OutboundRequest): Promise<Dispatcher.ResponseData>;
  close(): Promise<void>;
}
