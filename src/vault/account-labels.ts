import type { Owner } from "../base/index.ts";
import type { Db } from "../db/index.ts";

/** Labels by upstream id, of every upstream of which an owner has two accounts or more; the default one first. */
export type AccountLabels = ReadonlyMap<string, readonly string[]>;

const CAPACITY = 20_000;

/** Who has several accounts of an upstream, in memory once asked; a change makes it be read again. */
export class AccountLabelsCache {
  readonly #db: Db;
  readonly #entries = new Map<string, Promise<AccountLabels>>();

  constructor(db: Db) {
    this.#db = db;
  }

  of(owner: Owner): Promise<AccountLabels> {
    const key = `${owner.mode}:${owner.id}`;
    const known = this.#entries.get(key);
    if (known) return known;
    const reading = readLabels(this.#db, owner);
    this.#entries.set(key, reading);
    reading.catch(() => {
      if (this.#entries.get(key) === reading) this.#entries.delete(key);
    });
    if (this.#entries.size > CAPACITY) this.#entries.delete(this.#entries.keys().next().value!);
    return reading;
  }

  /** `key`: of the change topic `credential`, `mode:id:upstream:account`. */
  drop(key: string): void {
    this.#entries.delete(key.split(":", 2).join(":"));
  }

  clear(): void {
    this.#entries.clear();
  }
}

async function readLabels(db: Db, owner: Owner): Promise<AccountLabels> {
  const rows = await db
    .selectFrom("credentials")
    .select(["upstream_id", "account"])
    .where("owner_mode", "=", owner.mode)
    .where("owner_id", "=", owner.id)
    .orderBy("is_default", "desc")
    .orderBy("account")
    .execute();
  const labels = new Map<string, string[]>();
  for (const { upstream_id, account } of rows) {
    const list = labels.get(upstream_id);
    if (list) list.push(account);
    else labels.set(upstream_id, [account]);
  }
  for (const [upstreamId, list] of labels) if (list.length < 2) labels.delete(upstreamId);
  return labels;
}
