import { Hidden, Problem } from "../base/index.ts";
import { checkHeaderName, isHeaderValue } from "./headers.ts";

export const MAX_HEADER_KEYS = 20;

/**
 * The header names that each person fills in, spelled as the administrator did, each once; case does not count. Throws
 * `Problem` 400 (`headers_required`, `invalid_header`, `reserved_header`, `duplicate_header`).
 */
export function checkHeaderKeys(names: readonly string[]): string[] {
  const param = "per_user_header_keys";
  if (names.length === 0) {
    const message = "auth_type per_user_headers needs at least one name in per_user_header_keys.";
    throw new Problem("invalid", "headers_required", message, { param });
  }
  const seen = new Set<string>();
  for (const name of names) {
    const lower = checkHeaderName(name, param);
    if (seen.has(lower)) throw namedTwice(param);
    seen.add(lower);
  }
  return [...names];
}

/**
 * One person's values, by lower-case name. Names that are not declared are dropped. Throws `Problem` 400 that names the
 * fields and never a value (UP-28): `headers_missing`, `invalid_header`, `duplicate_header`. `at`: the field they came in.
 */
export function readHeaderValues(
  declared: readonly string[],
  given: Readonly<Record<string, string>>,
  at: string,
): Record<string, Hidden> {
  const sent = new Map<string, string>();
  const known = new Map(declared.map((name) => [name.toLowerCase(), name]));
  for (const [name, value] of Object.entries(given)) {
    const lower = name.toLowerCase();
    if (!known.has(lower)) continue;
    if (sent.has(lower)) throw namedTwice(`${at}.${known.get(lower)}`);
    sent.set(lower, value);
  }
  const missing = declared.filter((name) => !sent.get(name.toLowerCase()));
  if (missing.length > 0) {
    const message = `Enter a value for ${missing.join(", ")}.`;
    throw new Problem("invalid", "headers_missing", message, { param: `${at}.${missing[0]}` });
  }
  const values: Record<string, Hidden> = {};
  for (const [lower, value] of sent) {
    const name = known.get(lower);
    if (!isHeaderValue(value)) {
      const message = `The value of ${name} cannot be sent: one line of visible ASCII, at most 8 KB, no space at either end.`;
      throw new Problem("invalid", "invalid_header", message, { param: `${at}.${name}` });
    }
    values[lower] = new Hidden(value);
  }
  return values;
}

function namedTwice(param: string): Problem {
  return new Problem("invalid", "duplicate_header", "Name each header once; case does not count.", { param });
}
