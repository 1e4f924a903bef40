import { JsonFault } from "./json-fault.ts";
import { JsonKeys } from "./json-keys.ts";
import { survives } from "./json-number.ts";

/** What JSON is told apart by, in UTF-8 as in UTF-16. */
export const code = {
  quote: 0x22,
  minus: 0x2d,
  zero: 0x30,
  nine: 0x39,
  colon: 0x3a,
  openArray: 0x5b,
  backslash: 0x5c,
  closeArray: 0x5d,
  openObject: 0x7b,
  closeObject: 0x7d,
} as const;

/** Every number kept as text costs microseconds; a body of nothing else would hold the process for seconds. */
const maxInexact = 10_000;

/**
 * Checks what JSON.parse does not, in one pass; the grammar itself is left to JSON.parse, which runs afterwards on the
 * same text. Returns where the numbers are that JavaScript would change: start, end, start, …
 */
export function scanJson(text: string, maxDepth: number, maxKeys: number): number[] | undefined {
  try {
    return scan(text, onlyKeys.start(text, maxDepth, maxKeys));
  } finally {
    onlyKeys.end();
  }
}

/** One for all texts: a scan runs to its end before another begins. */
const onlyKeys = new JsonKeys();

function scan(text: string, keys: JsonKeys): number[] | undefined {
  let inexact: number[] | undefined;
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (unit === code.quote) {
      const end = stringEnd(text, at + 1);
      if (end < 0) return inexact;
      if (isKey(text, end + 1)) keys.add(at + 1, end);
      at = end;
    } else if (unit === code.openObject || unit === code.openArray) {
      keys.open();
    } else if (unit === code.closeObject || unit === code.closeArray) {
      keys.close();
    } else if (unit === code.minus || (unit >= code.zero && unit <= code.nine)) {
      const end = numberEnd(text, at + 1);
      if (!survives(text, at, end)) {
        inexact ??= [];
        if (inexact.push(at, end) > 2 * maxInexact) throw new JsonFault("too_large");
      }
      at = end - 1;
    }
  }
  return inexact;
}

/** The index of the closing quote, or -1. */
function stringEnd(text: string, from: number): number {
  let end = from;
  for (const near = Math.min(from + 24, text.length); end < near; end++) {
    const unit = text.charCodeAt(end);
    if (unit === code.quote) return end;
    if (unit === code.backslash) end++;
  }
  for (end = text.indexOf('"', end); end >= 0; end = text.indexOf('"', end + 1)) {
    let first = end;
    while (first > from && text.charCodeAt(first - 1) === code.backslash) first--;
    if ((end - first) % 2 === 0) return end;
  }
  return -1;
}

/** Whether the string that ends before `from` is an object's key. */
export function isKey(text: string, from: number): boolean {
  let at = from;
  let unit = text.charCodeAt(at);
  while (unit === 0x20 || unit === 0x0a || unit === 0x0d || unit === 0x09) unit = text.charCodeAt(++at);
  return unit === code.colon;
}

function numberEnd(text: string, from: number): number {
  let at = from;
  for (; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    const part = (unit >= code.zero && unit <= code.nine) || unit === 0x2e || unit === 0x2b;
    if (!part && unit !== code.minus && unit !== 0x65 && unit !== 0x45) break;
  }
  return at;
}
