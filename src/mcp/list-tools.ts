import type { JsonObject } from "../base/index.ts";
import type { Client } from "./era.ts";
import { code, Refusal } from "./refusal.ts";

const PAGE = 1_000;
/** How long a modern client may keep the list; what changes underneath is decided anew at every call. */
const TTL_MS = 10_000;

/** Something listed: what it is ordered by, and as clients of each era see it. */
interface Listed {
  name: string;
  modern: unknown;
  legacy: unknown;
}

/**
 * One page of what the caller may use, in the order of names; `member` is the list's name in the result. Throws `Refusal`
 * -32602 for a cursor that is not ours.
 */
export function listPage(
  client: Client,
  entries: readonly Listed[],
  cursor: unknown,
  member = "tools",
): JsonObject {
  const after = cursor === undefined ? undefined : readCursor(cursor);
  const from = after === undefined ? 0 : entries.findIndex((entry) => entry.name > after);
  const page = from < 0 ? [] : entries.slice(from, from + PAGE);
  const items = page.map((entry) => entry[client.era]);
  const last = page.at(-1);
  const result: JsonObject = { [member]: items as JsonObject[] };
  if (last && entries.at(-1) !== last)
    result.nextCursor = Buffer.from(`after ${last.name}`).toString("base64url");
  // 2026-07-28 "Caching": the list depends on who asks, so it is never public (MC-17).
  if (client.era === "modern") Object.assign(result, { ttlMs: TTL_MS, cacheScope: "private" });
  return result;
}

function readCursor(cursor: unknown): string {
  const text = typeof cursor === "string" ? Buffer.from(cursor, "base64url").toString("utf8") : "";
  if (text.startsWith("after ")) return text.slice("after ".length);
  throw new Refusal(code.invalidParams, "The cursor is not one of ours. List from the start.", {
    status: 200,
  });
}
