import type { SealedColumn } from "../db/index.ts";

/** Counts for 30 seconds after a refresh; a rotation leaves it to end. */
export const issuerSealedColumns: readonly SealedColumn[] = [
  { table: "tokens", column: "sealed_successor", key: "hash", reads: [] },
];
