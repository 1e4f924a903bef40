import type { Tables } from "../tables.ts";

/** What a first start leaves empty: it makes keys, reads the file and prints a set-up link, but no people and no consents. */
const telling: readonly (keyof Tables)[] = [
  "users",
  "upstreams",
  "virtual_keys",
  "credentials",
  "clients",
  "api_tokens",
];

/** Whether a database holds something that somebody would miss. `count`: more than 0 when a table has rows. */
export function holdsSomething(tables: ReadonlySet<string>, count: (table: string) => number): boolean {
  return telling.some((table) => tables.has(table) && count(table) > 0);
}
