import { allowInsecureRequests, customFetch } from "oauth4webapi";
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
 * it counts where the server has the same origin.
 */
export function oauthOptions(world: World, server: string | URL, tls?: Tls): OAuthOptions {
  return {
    [customFetch]: (url, options) =>
      world.outbound.fetch(url, {
        method: options.method,
        headers: options.headers,
        body: options.body as string | URLSearchParams | null | undefined,
        signal: options.signal,
        policy: "admin",
        maxBytes: MAX_BYTES,
        timeoutMs: TIMEOUT_MS,
        redirects: 0,
        tls,
      }),
    // Plain http passes the library here and only here: the guard admits it for allow-listed host:port pairs alone.
    [allowInsecureRequests]: URL.parse(String(server))?.protocol === "http:",
  };
}
