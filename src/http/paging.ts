import { type ZodType, z } from "zod";

/** `limit` and `offset` of a list, as the contract bounds them. */
export function pageQuery(limits: { max: number; default: number }) {
  return {
    limit: z.coerce.number().int().min(1).max(limits.max).default(limits.default),
    offset: z.coerce.number().int().min(0).max(1_000_000_000).default(0),
  };
}

/** What a list answers: a page of rows under their name, and where it stands in the whole. */
export function pageAnswer<R extends ZodType>(name: string, row: R) {
  const count = z.int().min(0);
  return z.object({
    [name]: z.array(row),
    count,
    total_count: count,
    limit: z.int().min(1),
    offset: count,
  });
}

/** A comma list of known words, as filters take it. */
export function commaList<const W extends string>(words: readonly W[]) {
  return z
    .string()
    .meta({ pattern: `^,*(?:(?:${words.join("|")})(?:,+|$))*$` })
    .transform((text) => text.split(",").filter((word) => word !== ""))
    .pipe(z.array(z.enum(words)))
    .optional();
}

/** Escapes what `like` would treat as a wildcard; use with `escape '\'`. */
export function likeLiteral(text: string): string {
  return text.replace(/[\\%_]/g, (character) => `\\${character}`);
}
