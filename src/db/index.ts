/**
 * Data at rest, on SQLite or Postgres: opening and migrating, the tables, single-use flows, the outbox, and telling
 * other replicas what changed. What a row means belongs to the folder that owns it; this folder only keeps the rules
 * that hold for all of them.
 */
export { type Change, Changes } from "./changes.ts";
export { type Flow, type FlowData, type FlowKey, type FlowState, Flows, type NewFlow } from "./flows.ts";
export type { Values } from "./insert-many.ts";
export { openKeyedHash, WrongKey } from "./instance.ts";
export { type Database, type Db, openDatabase, type Tx } from "./open.ts";
export { type Deliverer, type Delivery, Outbox, type Settled } from "./outbox.ts";
export { sweep } from "./sweep.ts";
export type { FlowKind, NewRow, Row, Tables } from "./tables.ts";
