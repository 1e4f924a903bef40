import type { SealContext } from "../base/index.ts";
import type { Tables } from "./tables.ts";

/** Where sealed values lie. Each folder names its own, so that a rotation can seal them anew. */
export interface SealedColumn {
  table: keyof Tables;
  column: string;
  /** The primary key. */
  key: string;
  /** Further columns that `context` reads. */
  reads: readonly string[];
  /** What a value is sealed for, as whoever seals it says. Absent: values live an hour at most, and are left to end. */
  context?(row: Readonly<Record<string, string>>): SealContext;
}

/** The values of this folder. `instance` is last: its value tells at the start whether the key fits. */
export const databaseSealedColumns: readonly SealedColumn[] = [
  {
    table: "flows",
    column: "sealed",
    key: "id",
    reads: ["kind"],
    context: ({ id, kind }) => ["flows", kind!, id!],
  },
  {
    table: "outbox",
    column: "sealed",
    key: "id",
    reads: ["kind"],
    context: ({ id, kind }) => ["outbox", id!, kind!],
  },
  {
    table: "instance",
    column: "sealed",
    key: "name",
    reads: [],
    context: ({ name }) => ["instance", name!],
  },
];
