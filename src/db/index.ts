/**
 * Data at rest, on SQLite or Postgres: opening and migrating, the tables, single-use flows, the outbox, and telling
 * other replicas what changed. What a row means belongs to the folder that owns it; this folder only keeps the rules
 * that hold for all of them.
 */
export { endFlowsAfterRestore, restoredFrom } from "./backup/after.ts";
export { BackupFault, type Header as BackupHeader } from "./backup/format.ts";
export { type Restored, type RestoreOptions, restoreBackup } from "./backup/restore.ts";
export { openSnapshot, type Snapshot } from "./backup/snapshot.ts";
export { backedUp, tableOrder } from "./backup/table-order.ts";
export { type Written, writeBackup } from "./backup/write.ts";
export { BATCH_ROWS, deleteInBatches, inBatches, type Matching, oneBatch } from "./batches.ts";
export { type Change, Changes, EVERYTHING } from "./changes.ts";
export { followClock } from "./clock.ts";
export { type Fault, faultOf } from "./faults.ts";
export { type Flow, type FlowData, type FlowKey, type FlowState, Flows, type NewFlow } from "./flows.ts";
export type { Values } from "./insert-many.ts";
export { openKeyedHash, WrongKey } from "./instance.ts";
export type { Leases } from "./leases.ts";
export { NewerSchema } from "./migrate.ts";
export { type Database, type DatabaseOptions, type Db, openDatabase, type Tx } from "./open.ts";
export { type Deliverer, type Delivery, Outbox, type Settled } from "./outbox.ts";
export { databaseSealedColumns, type SealedColumn } from "./sealed-columns.ts";
export { sweep } from "./sweep.ts";
export type { FlowKind, NewRow, Row, Tables } from "./tables.ts";
