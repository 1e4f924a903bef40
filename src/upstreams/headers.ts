import { Problem } from "../base/index.ts";

const MAX_VALUE = 8192;

/** Ours to set, or for one connection only (RFC 9110 §7.6.1): never configured and never forwarded. */
const reserved = new Set([
  "host",
  "connection",
  "keep-alive",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "expect",
  "content-length",
  "content-type",
  "content-encoding",
  "accept",
  "accept-encoding",
  "last-event-id",
  "forwarded",
  "cookie",
  "set-cookie",
]);
const reservedPrefixes = ["mcp-", "proxy-", "sec-"];

/** Carry credentials that callers present to us (contract section 1); another server must never see them. */
const ours = new Set(["authorization", "cookie", "set-cookie", "x-api-key", "x-goog-api-key", "origin"]);

/**
 * Checks a header that is sent to an upstream and returns its name in lower case. Throws `Problem` 400
 * (`invalid_header`, `reserved_header`) naming `param`.
 */
export function checkHeader(name: string, value: string, param: string): string {
  const lower = checkHeaderName(name, param);
  if (!isHeaderValue(value)) {
    throw new Problem("invalid", "invalid_header", "A header value is one line of visible ASCII.", { param });
  }
  return lower;
}

/** The same for a header of the caller's request that is passed on. */
export function checkForwardedHeader(name: string): string {
  const param = "allowed_extra_headers";
  const lower = checkHeaderName(name, param);
  if (!isForwardable(lower)) throw reservedHeader(name, param);
  return lower;
}

/** Whether a header of the caller's request, its name in lower case, may ever go on to an upstream. */
export function isForwardable(lower: string): boolean {
  return !isReserved(lower) && !ours.has(lower) && !lower.startsWith("x-bf-");
}

/** RFC 9110 §5.5: visible ASCII, spaces and tabs inside; CR, LF and NUL would end or split the field. 8 KB at most. */
export function isHeaderValue(value: string): boolean {
  return value.length <= MAX_VALUE && /^[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?$/.test(value);
}

/** The name in lower case. Throws as `checkHeader` does. */
export function checkHeaderName(name: string, param: string): string {
  const lower = name.toLowerCase();
  if (lower === "__proto__" || !/^[!#$%&'*+\-.^_`|~0-9a-z]+$/.test(lower)) {
    // RFC 9110 §5.1: a field name is a token.
    throw new Problem("invalid", "invalid_header", "A header name is letters, digits and hyphens.", {
      param,
    });
  }
  if (isReserved(lower)) throw reservedHeader(name, param);
  return lower;
}

function isReserved(lower: string): boolean {
  return reserved.has(lower) || reservedPrefixes.some((prefix) => lower.startsWith(prefix));
}

function reservedHeader(name: string, param: string): Problem {
  return new Problem("invalid", "reserved_header", `${name} is set by the gateway itself. Leave it out.`, {
    param,
  });
}
