import { randomUUID } from "node:crypto";
import { JsonFault } from "./json-fault.ts";
import { isPlainJson, MAX_PLAIN_KEYS } from "./json-plain.ts";
import { isKey, scanJson } from "./json-scan.ts";

/** A number JavaScript would change (a big integer, `1e400`, `-0`): kept as its source text until it is written again. */
export interface RawNumber {
  readonly rawJSON: string;
}

export type Json = null | boolean | number | string | RawNumber | Json[] | JsonObject;
export type JsonObject = { [key: string]: Json };

export interface JsonLimits {
  /** Bytes of UTF-8. Default 4 MiB. */
  maxBytes?: number;
  /** Arrays and objects inside one another. Default 64. */
  maxDepth?: number;
  /** Members of any one object. Default 10 000. */
  maxKeys?: number;
}

// Node 24 has both; TypeScript's ES2024 library does not name them yet.
const native = JSON as unknown as {
  rawJSON(text: string): RawNumber;
  isRawJSON(value: unknown): value is RawNumber;
};

// ignoreBOM hands the mark over as a character, which JSON.parse then refuses (RFC 8259 §8.1 lets a reader ignore it; R19 does not).
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Reads one JSON value so that every later reader sees the same thing we checked (attack rule R19): what two parsers
 * could read differently is refused, and numbers JavaScript cannot hold survive `stringifyJson` byte for byte.
 * Throws `JsonFault`.
 */
export function parseStrictJson(body: Uint8Array | string, limits: JsonLimits = {}): Json {
  const { maxBytes = 4 * 1024 * 1024, maxDepth = 64, maxKeys = 10_000 } = limits;
  const text = decode(body, maxBytes);
  const plain = typeof body !== "string" && maxKeys >= MAX_PLAIN_KEYS && isPlainJson(body, maxDepth);
  const inexact = plain ? undefined : scanJson(text, maxDepth, maxKeys);
  try {
    return inexact === undefined ? JSON.parse(text) : parseKeeping(text, inexact);
  } catch {
    throw new JsonFault("syntax");
  }
}

/** Writes a value that `parseStrictJson` returned, or any plain one; raw numbers come out as they came in. */
export function stringifyJson(value: unknown): string {
  return JSON.stringify(value);
}

/** Whether a value is a number kept as text; `typeof` says "object" for it. */
export function isRawNumber(value: unknown): value is RawNumber {
  return native.isRawJSON(value);
}

function decode(body: Uint8Array | string, maxBytes: number): string {
  if (typeof body === "string") {
    // No UTF-16 unit takes more than three bytes, so most bodies need no counting.
    if (body.length * 3 > maxBytes && Buffer.byteLength(body) > maxBytes) throw new JsonFault("too_large");
    return body;
  }
  if (body.byteLength > maxBytes) throw new JsonFault("too_large");
  try {
    return utf8.decode(body);
  } catch {
    throw new JsonFault("not_utf8");
  }
}

/**
 * JSON.parse with the numbers at `spans` kept as text. They are parsed as strings nobody outside the process can write
 * and then exchanged: a reviver with `context.source` would take seconds for 4 MB of short numbers.
 */
function parseKeeping(text: string, spans: number[]): Json {
  const raw: RawNumber[] = [];
  let marked = "";
  let from = 0;
  for (let at = 0; at < spans.length; at += 2) {
    const [start, end] = [spans[at]!, spans[at + 1]!];
    if (isKey(text, end)) throw new JsonFault("syntax");
    raw.push(native.rawJSON(text.slice(start, end)));
    marked += `${text.slice(from, start)}"${marker}${raw.length - 1}"`;
    from = end;
  }
  return exchange(JSON.parse(marked + text.slice(from)), raw);
}

const marker = `${randomUUID()}:`;

/** Recursion is bounded by the depth that `scan` allowed. */
function exchange(value: Json, raw: RawNumber[]): Json {
  if (typeof value === "string") {
    return value.startsWith(marker) ? raw[Number(value.slice(marker.length))]! : value;
  }
  if (Array.isArray(value)) {
    for (let at = 0; at < value.length; at++) value[at] = exchange(value[at]!, raw);
  } else if (typeof value === "object" && value !== null) {
    const members = value as JsonObject;
    for (const key of Object.keys(members)) members[key] = exchange(members[key]!, raw);
  }
  return value;
}
