const PREFIX = "=?base64?";
const SUFFIX = "?=";
const CANONICAL_BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
const PLAIN = /^[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?$/;
const MAX_PLAIN = 8192;
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * A body value as the value of `Mcp-Name` or `Mcp-Param-*` (2026-07-28 Streamable HTTP, "Value Encoding"): visible ASCII
 * as it is, anything else, and what looks like the sentinel itself, as `=?base64?…?=`. Line breaks cannot get through.
 */
export function encodeHeaderValue(value: string): string {
  if (PLAIN.test(value) && !isSentinel(value)) return value;
  return PREFIX + Buffer.from(value, "utf8").toString("base64") + SUFFIX;
}

/** Whether a header's value can be sent as it is: one line of visible ASCII (RFC 9110 §5.5), 8 KB at most. */
export function isPlainHeaderValue(value: string): boolean {
  return value.length <= MAX_PLAIN && PLAIN.test(value);
}

/** The body value a header stands for; undefined when the sentinel holds no canonical base64 of UTF-8. */
export function decodeHeaderValue(header: string): string | undefined {
  if (!isSentinel(header)) return header;
  const encoded = header.slice(PREFIX.length, -SUFFIX.length);
  if (!CANONICAL_BASE64.test(encoded)) return undefined;
  try {
    return utf8.decode(Buffer.from(encoded, "base64"));
  } catch {
    return undefined;
  }
}

function isSentinel(value: string): boolean {
  return value.startsWith(PREFIX) && value.endsWith(SUFFIX) && value.length >= PREFIX.length + SUFFIX.length;
}
