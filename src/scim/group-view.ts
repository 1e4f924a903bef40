import type { Row } from "../db/index.ts";
import type { Resource } from "./resource.ts";
import { GROUP } from "./schemas.ts";
import { versionOf } from "./version.ts";

export interface GroupRow extends Row<"groups"> {
  /** How many people are in. */
  size: number;
}

export interface MemberOf {
  id: string;
  name: string;
}

/** RFC 7643 §4.2. `members` undefined: not wanted. */
export function viewGroup(row: GroupRow, members: readonly MemberOf[] | undefined, base: string): Resource {
  return {
    schemas: [GROUP],
    id: row.id,
    ...(row.external_id === null ? {} : { externalId: row.external_id }),
    displayName: row.name,
    ...(members && members.length > 0
      ? {
          members: members.map(({ id, name }) => ({
            value: id,
            $ref: `${base}/Users/${id}`,
            display: name,
            type: "User",
          })),
        }
      : {}),
    meta: {
      resourceType: "Group",
      created: new Date(row.created_at).toISOString(),
      lastModified: new Date(row.updated_at).toISOString(),
      location: `${base}/Groups/${row.id}`,
      version: versionOfGroup(row),
    },
  };
}

/** Without reading ten thousand members: a change of who is in moves the time, or the number. */
export function versionOfGroup({ id, name, external_id, updated_at, size }: GroupRow): string {
  return versionOf([id, name, external_id, updated_at, Number(size)]);
}
