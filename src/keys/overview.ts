import { type DataKey, SealFault, sealedHeader } from "../base/index.ts";
import type { SealedColumn } from "../db/index.ts";
import type { DataKeys } from "./data-keys.ts";
import { type KeyRow, readKeys } from "./key-rows.ts";
import type { KeyProvider } from "./provider.ts";
import { countSealed, eachSealed, type ResealParts } from "./reseal.ts";

export interface OverviewParts extends ResealParts {
  keys: DataKeys;
  providers: readonly KeyProvider[];
  direct: readonly Uint8Array[];
}

/** A data key, and how many values in the database are sealed with it. What clients hold is not counted. */
export interface DataKeyState {
  id: string;
  state: KeyRow["state"];
  direct: boolean;
  provider: string;
  wrappedBy: string;
  createdAt: number;
  retiredAt: number | null;
  values: number;
}

/** A configured key-encryption key. */
export interface WrappingKey {
  provider: string;
  id: string;
  /** The one that wraps; the others only unwrap. */
  wraps: boolean;
  /** What would be lost without it: data keys, and values it sealed itself. */
  dataKeys: number;
  values: number;
}

export interface Overview {
  wrapping: WrappingKey[];
  data: DataKeyState[];
}

/** What is configured, what is in the database, and what needs what. */
export async function overviewOf(parts: OverviewParts): Promise<Overview> {
  const rows = await readKeys(parts.database.db);
  const counts = await countSealed(parts.database.db, parts.columns);
  const valuesOf = (key: DataKey) => counts.get(sealedHeader(key).toString("hex")) ?? 0;
  const data = rows.map((row) => ({
    id: row.id,
    state: row.state,
    direct: row.direct === 1,
    provider: row.provider,
    wrappedBy: row.wrapped_by,
    createdAt: row.created_at,
    retiredAt: row.retired_at,
    values: valuesOf(parts.keys.bytesOf(row)),
  }));
  const wrapping = parts.providers.flatMap((provider, place) =>
    [provider.key, ...provider.older].map((id, index) => ({
      provider: provider.type,
      id,
      wraps: place === 0 && index === 0,
      dataKeys: data.filter((key) => key.provider === provider.type && key.wrappedBy === id).length,
      values: directValues(id, data, counts),
    })),
  );
  return { wrapping, data };
}

/** Configured keys that nothing needs any more. */
export function removable({ wrapping }: Overview): WrappingKey[] {
  return wrapping.filter(({ wraps, dataKeys, values }) => !wraps && dataKeys === 0 && values === 0);
}

/** What a configured key sealed itself and no data key keeps open. */
function directValues(id: string, data: readonly DataKeyState[], counts: Map<string, number>): number {
  return data.some((key) => key.direct && key.id === id) ? 0 : (counts.get(`01${id}`) ?? 0);
}

export interface Verified {
  /** How many values open. */
  opened: number;
  /** Those that do not, by table. */
  unreadable: Map<string, number>;
}

/** Opens every value. */
export async function verifyAll(parts: ResealParts, told: (opened: number) => void): Promise<Verified> {
  const verified: Verified = { opened: 0, unreadable: new Map() };
  for (const column of parts.columns) {
    if (!column.context) continue;
    await eachSealed(parts, column, (row) => {
      if (opens(parts, column, row.sealed, row)) verified.opened += 1;
      else verified.unreadable.set(column.table, (verified.unreadable.get(column.table) ?? 0) + 1);
      told(verified.opened);
    });
  }
  return verified;
}

function opens(
  { seal }: ResealParts,
  { context, key }: SealedColumn,
  sealed: Uint8Array,
  row: Record<string, string> & { key: string },
): boolean {
  try {
    seal.open(sealed, context!({ ...row, [key]: row.key })).fill(0);
    return true;
  } catch (error) {
    if (error instanceof SealFault) return false;
    throw error;
  }
}
