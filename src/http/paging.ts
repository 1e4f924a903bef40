import { z } from "zod";

/** `limit` and `offset` of a list, as the contract bounds them. */
export function pageQuery(limits: { max: number; default: number }) {
  return {
    limit: z.coerce.number().int().min(1).max(limits.max).default(limits.default),
    offset: z.coerce.number().int().min(0).max(1_000_000_000).default(0),
  };
}

/** A comma list of known words, as filters take it. */
export function commaList<const W extends string>(words: readonly W[]) {
  return z
    .string()
    .transform((text) => text.split(",").filter((word) => word !== ""))
    .pipe(z.array(z.enum(words)))
    .optional();
}

/** Escapes what `like` would treat as a wildcard; use with `escape '\'`. */
export function likeLiteral(text: string): string {
  return text.replace(/[\\%_]/g, (character) => `\\${character}`);
}
