import { code } from "./json-scan.ts";

/** In lower case. */
const exponent = 0x65;
const MAX_DEPTH = 64;
/** Members of one object that are compared with each other. */
export const MAX_PLAIN_KEYS = 16;
/** Bytes of a string that are looked at one by one; beyond, the engine's own search is faster. */
const NEAR = 64;
/** Digits that come back from a double as they went in (json-number.ts). */
const MAX_DIGITS = 15;

/** Keys of the objects that are open, as positions; written over by every text. */
const starts = new Int32Array(MAX_DEPTH * MAX_PLAIN_KEYS);
const ends = new Int32Array(MAX_DEPTH * MAX_PLAIN_KEYS);
const bases = new Int32Array(MAX_DEPTH);

/**
 * Whether `scanJson` would certainly let this body pass, with no number to keep: most are, and bytes are judged several
 * times faster than characters. False says nothing but "look closer". All that counts here is ASCII, which in UTF-8 is no
 * part of anything else.
 */
export function isPlainJson(bytes: Uint8Array, maxDepth: number): boolean {
  const deepest = Math.min(maxDepth, MAX_DEPTH);
  const length = bytes.length;
  let depth = 0;
  let count = 0;
  for (let at = 0; at < length; at++) {
    const byte = bytes[at]!;
    if (byte === code.quote) {
      const end = stringEnd(bytes, at + 1, length);
      if (end < 0) return false;
      if (isKey(bytes, end + 1, length)) {
        if (depth === 0 || !isNewKey(bytes, at + 1, end, bases[depth - 1]!, count)) return false;
        starts[count] = at + 1;
        ends[count++] = end;
      }
      at = end;
    } else if (byte === code.openObject || byte === code.openArray) {
      if (depth === deepest) return false;
      bases[depth++] = count;
    } else if (byte === code.closeObject || byte === code.closeArray) {
      if (depth === 0) return false;
      count = bases[--depth]!;
    } else if (byte === code.minus || (byte >= code.zero && byte <= code.nine)) {
      const end = plainNumberEnd(bytes, at, length);
      if (end < 0) return false;
      at = end - 1;
    }
  }
  return true;
}

/** The index of the closing quote, or -1. */
function stringEnd(bytes: Uint8Array, from: number, length: number): number {
  const near = Math.min(from + NEAR, length);
  let end = from;
  for (; end < near; end++) {
    const byte = bytes[end]!;
    if (byte === code.quote) return end;
    if (byte === code.backslash) end++;
  }
  for (end = bytes.indexOf(code.quote, end); end >= 0; end = bytes.indexOf(code.quote, end + 1)) {
    let first = end;
    while (first > from && bytes[first - 1] === code.backslash) first--;
    if ((end - first) % 2 === 0) return end;
  }
  return -1;
}

function isKey(bytes: Uint8Array, from: number, length: number): boolean {
  let at = from;
  while (
    at < length &&
    (bytes[at] === 0x20 || bytes[at] === 0x0a || bytes[at] === 0x0d || bytes[at] === 0x09)
  )
    at++;
  return at < length && bytes[at] === code.colon;
}

/** Whether no key since `base` reads the same; false too for what has to be unescaped or may be `__proto__`. */
function isNewKey(bytes: Uint8Array, start: number, end: number, base: number, count: number): boolean {
  const length = end - start;
  if (count - base >= MAX_PLAIN_KEYS || length > NEAR || (length === 9 && bytes[start] === 0x5f))
    return false;
  for (let at = start; at < end; at++) if (bytes[at] === code.backslash) return false;
  for (let known = base; known < count; known++) {
    const other = starts[known]!;
    if (ends[known]! - other !== length) continue;
    let same = 0;
    while (same < length && bytes[other + same] === bytes[start + same]) same++;
    if (same === length) return false;
  }
  return true;
}

/** The index after the number, or -1 for one that JavaScript might change. */
function plainNumberEnd(bytes: Uint8Array, from: number, length: number): number {
  if (bytes[from] === code.minus && bytes[from + 1] === code.zero) return -1;
  let at = from + 1;
  for (; at < length; at++) {
    const byte = bytes[at]!;
    if ((byte | 0x20) === exponent) return -1;
    const part = (byte >= code.zero && byte <= code.nine) || byte === 0x2e || byte === 0x2b;
    if (!part && byte !== code.minus) break;
  }
  return at - from > MAX_DIGITS ? -1 : at;
}
