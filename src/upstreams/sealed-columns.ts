import type { SealContext } from "../base/index.ts";
import type { SealedColumn } from "../db/index.ts";
import { contextOf, managementContext, secretColumns } from "./oauth-records.ts";
import { headersContext } from "./rows.ts";
import { tlsContext } from "./tls-rows.ts";

/** For a rotation of the keys: what is sealed here, and for what. */
export const upstreamSealedColumns: readonly SealedColumn[] = [
  ofUpstream("sealed_headers", headersContext),
  ofUpstream("sealed_tls", tlsContext),
  ...secretColumns.map((column) => ofClient(column, (id, upstream) => contextOf(column, id, upstream))),
  ofClient("sealed_management", (id, upstream) => managementContext({ id, upstream_id: upstream })),
];

function ofUpstream(column: string, context: (id: string) => SealContext): SealedColumn {
  return { table: "upstreams", column, key: "id", reads: [], context: ({ id }) => context(id!) };
}

function ofClient(column: string, context: (id: string, upstreamId: string) => SealContext): SealedColumn {
  return {
    table: "oauth_configs",
    column,
    key: "id",
    reads: ["upstream_id"],
    context: ({ id, upstream_id: upstreamId }) => context(id!, upstreamId!),
  };
}
