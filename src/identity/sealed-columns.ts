import type { SealedColumn } from "../db/index.ts";

/** For a rotation of the keys: what is sealed here, and what for. */
export const identitySealedColumns: readonly SealedColumn[] = [
  {
    table: "dashboard_sessions",
    column: "sealed",
    key: "id",
    reads: ["user_id"],
    context: ({ id, user_id }) => ["dashboard_sessions", id!, user_id!],
  },
  {
    table: "totp_secrets",
    column: "sealed",
    key: "user_id",
    reads: [],
    context: ({ user_id }) => ["totp_secrets", user_id!],
  },
];
