import { z } from "zod";
import { parseFilter } from "./filter.ts";
import type { Resource } from "./resource.ts";

export const LIST = "urn:ietf:params:scim:api:messages:2.0:ListResponse";
/** More than this a page does not have, whatever was asked (RFC 7644 §3.4.2.4). */
export const MAX_PAGE = 500;
const PAGE = 100;

const text = z.string().max(4096).optional();
const number = z.coerce.number().int().min(-1_000_000_000).max(1_000_000_000);

export const wantedQuery = z.object({ attributes: text, excludedAttributes: text });

/** RFC 7644 §3.4.2: numbers out of range are brought into it. */
export const listQuery = z.object({
  ...wantedQuery.shape,
  filter: text,
  startIndex: number.transform((index) => Math.max(1, index)).default(1),
  count: number.transform((count) => Math.min(MAX_PAGE, Math.max(0, count))).default(PAGE),
  sortBy: z.string().max(256).optional(),
  sortOrder: z.enum(["ascending", "descending"]).default("ascending"),
});
export type ListQuery = z.output<typeof listQuery>;

export function filterOf({ filter }: ListQuery) {
  return filter === undefined || filter.trim() === "" ? undefined : parseFilter(filter);
}

export function listOf(query: Pick<ListQuery, "startIndex">, total: number, resources: readonly Resource[]) {
  return {
    schemas: [LIST],
    totalResults: total,
    startIndex: query.startIndex,
    itemsPerPage: resources.length,
    Resources: resources,
  };
}
