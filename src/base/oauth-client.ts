import { allowInsecureRequests, customFetch } from "oauth4webapi";
import type { ProofKey } from "./proof-key.ts";
import type { Tls } from "./tls.ts";
import type { World } from "./world.ts";

const MAX_BYTES = 256 * 1024;
const TIMEOUT_MS = 10_000;

/** What every call of `oauth4webapi` gets as its options. */
export interface OAuthOptions {
  [customFetch]: (url: string, options: OAuthFetchOptions) => Promise<Response>;
  [allowInsecureRequests]: boolean;
}

interface OAuthFetchOptions {
  method: string;
  headers: Record<string, string>;
  body?: unknown;
  signal?: AbortSignal;
}

/**
 * Options for a call of `oauth4webapi` towards `server` (the endpoint or the issuer): through the guarded way out as an
 * administrator's address, 256 KiB and 10 seconds at most, no redirect followed (attack case UP-14). `tls`: the upstream's;
 * it counts where the server has the same origin. `key`: the token is bound to it, and each request proves it (RFC 9449 §5).
 */
export function oauthOptions(world: World, server: string | URL, tls?: Tls, key?: ProofKey): OAuthOptions {
  return {
    [customFetch]: async (url, options) => {
      const { method, headers, signal } = options;
      const target = new URL(url);
      const response = await world.outbound.fetch(target, {
        method,
        headers: key ? { ...headers, dpop: key.proof(world, { method, url: target }) } : headers,
        body: options.body as string | URLSearchParams | null | undefined,
        signal,
        policy: "admin",
        maxBytes: MAX_BYTES,
        timeoutMs: TIMEOUT_MS,
        redirects: 0,
        tls,
      });
      key?.heed(target.origin, response.headers.get("dpop-nonce"));
      return response;
    },
    // Plain http passes the library here and only here: the guard admits it for allow-listed host:port pairs alone.
    [allowInsecureRequests]: URL.parse(String(server))?.protocol === "http:",
  };
}

/**
 * Sends a token request, and once more when the server wants its nonce in the proof (RFC 9449 §8): made anew, because nothing
 * that proves a client may be sent twice. Without a key it is sent once.
 */
export async function proving(key: ProofKey | undefined, send: () => Promise<Response>): Promise<Response> {
  const response = await send();
  return key && (await wantsNonce(response)) ? send() : response;
}

async function wantsNonce(response: Response): Promise<boolean> {
  if (!response.headers.has("dpop-nonce") || (response.status !== 400 && response.status !== 401))
    return false;
  const answer: unknown = await response
    .clone()
    .json()
    .catch(() => undefined);
  return (
    typeof answer === "object" && answer !== null && "error" in answer && answer.error === "use_dpop_nonce"
  );
}
