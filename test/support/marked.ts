import { randomBytes } from "node:crypto";

/**
 * Stands in every secret that a test run makes: what the scan of everything a gateway leaves behind looks for
 * (secret-scan.ts). In the alphabet of base64url, twelve characters that are nine bytes, so that it can be read in a
 * random value too.
 */
export const marker = "PsT0sEcReT0x";

const MARKER_BYTES = Buffer.from(marker, "base64url");
/** As text, and in random bytes. */
export const markerBytes: readonly Buffer[] = [Buffer.from(marker), MARKER_BYTES];

/** Behind what is cut off for ids (base/serials.ts), at a multiple of three, so that base64url shows it as it is. */
const MARKER_AT = 21;
const SECRET_BYTES = 32;

/** A secret of a test: recognisable, and its own text still readable in it. */
export function marked(text: string): string {
  return `${text}-${marker}`;
}

/** A new secret, never the same twice. */
export function markedSecret(prefix = ""): string {
  return `${prefix}${marker}${randomBytes(23).toString("base64url")}`;
}

/** Randomness for a World: what is long enough to be a secret carries the marker. Ids and nonces are shorter. */
export function markedRandom(bytes: number): Uint8Array {
  const drawn = randomBytes(bytes);
  if (bytes === SECRET_BYTES) MARKER_BYTES.copy(drawn, MARKER_AT);
  return drawn;
}
