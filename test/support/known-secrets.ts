import { Hidden, KeyedHash } from "../../src/base/index.ts";
import { marker } from "./marked.ts";

/**
 * Secrets that do not carry the marker: words that a test wrote itself. Whatever the gateway takes for a secret passes
 * through `Hidden`, or through the keyed hash under which it is looked up; both are watched from here on, and the values
 * are looked for exactly as the marker is.
 */
const known = new Map<string, string>();
/** Told of each as it is remembered; for another process, which may be killed at any moment. */
export const onSecret: ((value: string, what: string) => void)[] = [];

/** Shorter ones are no secrets but words ("x", "wrong", "alice"), which stand in other places by right. */
const SHORTEST = 8;
const MOST_KNOWN = 20_000;
/** What is hashed for other reasons than being secret. */
const OPEN_PURPOSES = new Set(["client_id", "mcp_request"]);

const reveal = Hidden.prototype.reveal;
Hidden.prototype.reveal = function (this: Hidden): string {
  const value = reveal.call(this);
  remember(value, "a hidden value");
  return value;
};

const of = KeyedHash.prototype.of;
KeyedHash.prototype.of = function (this: KeyedHash, purpose: string, value: string): string {
  if (!OPEN_PURPOSES.has(purpose)) remember(value, purpose);
  return of.call(this, purpose, value);
};

function remember(value: string, what: string): void {
  // Where a database is on this machine; the URL of a server may have a password in it.
  if (value.startsWith("sqlite:")) return;
  if (known.size >= MOST_KNOWN || value.length < SHORTEST || known.has(value) || value.includes(marker))
    return;
  known.set(value, what);
  for (const tell of onSecret) tell(value, what);
}

/** One more, learned elsewhere. */
export function learnSecret(value: string, what: string): void {
  remember(value, what);
}

/** With what they are; never to be printed. */
export function knownSecrets(): ReadonlyMap<string, string> {
  return known;
}
