import type { SealedColumn } from "../db/index.ts";

/** Both live an hour at most, and a row does not say whose it is: a rotation leaves them to end. */
export const mcpSealedColumns: readonly SealedColumn[] = [
  { table: "replica_messages", column: "sealed", key: "id", reads: [] },
  { table: "finished_tasks", column: "sealed", key: "id", reads: [] },
];
