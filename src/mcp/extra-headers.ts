import type { HeaderReader } from "../http/index.ts";
import { isPlainHeaderValue } from "../relay/index.ts";
import { isForwardable } from "../upstreams/index.ts";

/**
 * The headers of the client's request that the upstream's `allowed_extra_headers` (lower case) let through. Left out: what
 * must never go on, whatever an older definition says; what is for this connection alone; what is no plain value.
 */
export function extraHeaders(
  allowed: readonly string[],
  sent: HeaderReader,
): Record<string, string> | undefined {
  if (allowed.length === 0) return undefined;
  // RFC 9110 §7.6.1: what `Connection` names ends at the first hop.
  const hop = new Set((sent.get("connection") ?? "").split(",").map((name) => name.trim().toLowerCase()));
  const headers: Record<string, string> = {};
  for (const name of allowed) {
    const value = sent.get(name);
    if (value !== null && !hop.has(name) && isForwardable(name) && isPlainHeaderValue(value))
      headers[name] = value;
  }
  return headers;
}
