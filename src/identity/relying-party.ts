import type { Settings } from "../base/index.ts";
import { ownOrigins } from "../http/index.ts";

/** For whom a passkey is made: this gateway at one of its configured addresses (WebAuthn §4, Relying Party Identifier). */
export interface RelyingParty {
  id: string;
  origin: string;
}

/**
 * Of the address a request came to. It counts only as the name of one that is configured: a `Host` alone decides nothing.
 * Undefined where the address is an IP address, for which browsers make no passkeys (WebAuthn §5.1.3, step 7).
 */
export function relyingParty(request: Request, settings: Settings): RelyingParty | undefined {
  const host = (request.headers.get("host") ?? new URL(request.url).host).toLowerCase();
  const origin = [...ownOrigins(settings)].find((own) => new URL(own).host === host);
  if (origin === undefined) return undefined;
  const { hostname } = new URL(origin);
  return /^[\d.]+$|^\[/.test(hostname) ? undefined : { id: hostname, origin };
}
