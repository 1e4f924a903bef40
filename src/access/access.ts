import type { Owner, World } from "../base/index.ts";
import { type Database, EVERYTHING, type Tx } from "../db/index.ts";
import type { Memberships } from "../identity/index.ts";
import type { Upstreams } from "../upstreams/index.ts";
import type { Rules } from "./decide.ts";
import { readGroupConfigs } from "./group-configs.ts";
import { Narrowed } from "./narrow.ts";
import { batchesOf, holdersAmong, holdersOf, readShared, rulesOfKeys, rulesOfPeople } from "./reconcile.ts";
import { type Computed, RuleCache } from "./rule-cache.ts";
import { rulesOfKey, rulesOfUser, type Shared } from "./rules.ts";
import { readUserConfigs } from "./user-configs.ts";
import { judge, type VirtualKey } from "./virtual-key.ts";
import type { VirtualKeys } from "./virtual-keys.ts";
import type { VirtualMcp } from "./virtual-mcp.ts";

/** Who asks, and the key the grant or request came with, whose rules then hold. */
export interface Subject {
  owner: Owner;
  virtualKeyId?: string;
  /** The virtual MCP whose address was used; it narrows the rules. */
  virtualMcp?: VirtualMcp;
}

/** All that an owner may use from now on. */
export interface AccessChange {
  owner: Owner;
  /** Ids of upstreams. */
  allowed: ReadonlySet<string>;
}

/**
 * Told in the transaction of whatever changed it, a batch at a time: credentials outside become `orphaned`, inside again they
 * come back.
 */
export type AccessListener = (tx: Tx, changes: readonly AccessChange[]) => Promise<void>;

export interface AccessParts {
  world: World;
  database: Database;
  upstreams: Upstreams;
  keys: VirtualKeys;
  memberships: Memberships;
}

/** Who may use which upstream and tool, and telling when that changes. */
export class Access {
  /** Filled in app.ts; run inside the transaction of the change. */
  readonly listeners: AccessListener[] = [];
  readonly #world: World;
  readonly #database: Database;
  readonly #upstreams: Upstreams;
  readonly #keys: VirtualKeys;
  readonly #memberships: Memberships;
  readonly #rules = new RuleCache();
  readonly #narrowed = new Narrowed();
  #version = -1;

  constructor(parts: AccessParts) {
    this.#world = parts.world;
    this.#database = parts.database;
    this.#upstreams = parts.upstreams;
    this.#keys = parts.keys;
    this.#memberships = parts.memberships;
    parts.database.changes.listen(({ topic, key }) => {
      if (topic === "virtual_key") this.#rules.dropKey(key);
      else if (topic === "user" || topic === "access") this.#rules.drop(`user ${key}`);
      else if (topic === "upstream" || topic === EVERYTHING) this.#drop();
    });
  }

  /** The rules of a subject, from memory once asked. A key that is gone or may not be used has none. */
  rulesFor(subject: Subject): Promise<Rules> {
    const { virtualMcp } = subject;
    const rules = this.#rulesOf(subject);
    return virtualMcp === undefined ? rules : rules.then((own) => this.#narrowed.of(own, virtualMcp));
  }

  /** The same without waiting, where they were asked for before; undefined: `rulesFor` has to look. */
  known(subject: Subject): Rules | undefined {
    if (subject.virtualMcp !== undefined || this.#version !== this.#upstreams.version) return undefined;
    const known = this.#rules.get(nameOf(subject));
    return known && this.#now() < known.validUntil ? known.rules : undefined;
  }

  /** Until when the rules that were asked for last hold by themselves: a key that expires takes its part with it. Milliseconds. */
  validUntil(subject: Subject): number {
    return this.#rules.get(nameOf(subject))?.validUntil ?? Number.POSITIVE_INFINITY;
  }

  async #rulesOf(subject: Subject): Promise<Rules> {
    if (this.#version !== this.#upstreams.version) this.#drop();
    const name = nameOf(subject);
    const now = this.#now();
    const known = this.#rules.get(name);
    if (known && now < known.validUntil) return known.rules;
    const { epoch } = this.#rules;
    const computed = await this.#compute(subject, now);
    this.#rules.set(name, computed, epoch);
    return computed.rules;
  }

  async #compute({ owner, virtualKeyId }: Subject, now: number): Promise<Computed> {
    const upstreams = this.#upstreams.all();
    const keyId = virtualKeyId ?? (owner.mode === "vk" ? owner.id : undefined);
    if (keyId !== undefined) {
      const key = await this.#keys.find(keyId);
      if (!key || !judge(key, now).ok) return forEver(nothing, [keyId]);
      return { ...forEver(rulesOfKey(key.configs, upstreams), [keyId]), validUntil: validUntil([key]) };
    }
    // A flow's credentials serve nobody, an administrator's discovery credential only lists tools.
    if (owner.mode !== "user" && owner.mode !== "session") return forEver(nothing);
    if (owner.mode === "session") return forEver(rulesOfUser([], [], upstreams));
    const all = await this.#keys.ofUser(owner.id);
    const keys = usable(all, now);
    const { db } = this.#database;
    const own = (await readUserConfigs(db, [owner.id])).get(owner.id) ?? [];
    const groups = [...(await readGroupConfigs(db, [...(await this.#memberships.of(owner.id))])).values()];
    return {
      rules: rulesOfUser([...own, ...groups.flat()], keys, upstreams),
      validUntil: validUntil(keys),
      keyIds: all.map(({ id }) => id),
    };
  }

  /** To be called in the transaction that created, changed or deleted a key. */
  async keyChanged(tx: Tx, before: VirtualKey | undefined, after: VirtualKey | undefined): Promise<void> {
    const key = after ?? before;
    if (!key || this.listeners.length === 0) return;
    const upstreams = await readShared(tx);
    if (key.userId !== undefined) await this.#tellPeople(tx, [key.userId], upstreams);
    else if (after) await this.#tell(tx, "vk", new Map([[after.id, rulesOfKey(after.configs, upstreams)]]));
  }

  /** To be called in the transaction that changed what a person may use by name. */
  async userChanged(tx: Tx, userId: string): Promise<void> {
    if (this.listeners.length > 0) await this.#tellPeople(tx, [userId], await readShared(tx));
  }

  /** To be called in the transaction that changed what these people have by their groups; told is of who has something to lose. */
  async usersChanged(tx: Tx, userIds: readonly string[]): Promise<void> {
    if (this.listeners.length === 0 || userIds.length === 0) return;
    const upstreams = await readShared(tx);
    for (const ids of batchesOf(userIds)) {
      const holders = await holdersAmong(tx, ids);
      if (holders.length > 0) await this.#tellPeople(tx, holders, upstreams);
    }
  }

  /** To be called in the transaction that changed `allow_on_all_virtual_keys` of an upstream. */
  async upstreamChanged(tx: Tx, upstreamId: string): Promise<void> {
    if (this.listeners.length === 0) return;
    const upstreams = await readShared(tx);
    const { users, keys } = await holdersOf(tx, upstreamId);
    for (const ids of batchesOf(users)) await this.#tellPeople(tx, ids, upstreams);
    for (const ids of batchesOf(keys)) await this.#tell(tx, "vk", await rulesOfKeys(tx, ids, upstreams));
  }

  async #tellPeople(tx: Tx, userIds: readonly string[], upstreams: readonly Shared[]): Promise<void> {
    const now = this.#now();
    const given = { upstreams, usable: (keys: readonly VirtualKey[]) => usable(keys, now) };
    await this.#tell(tx, "user", await rulesOfPeople(this.#database, tx, userIds, given));
  }

  async #tell(tx: Tx, mode: "user" | "vk", rules: ReadonlyMap<string, Rules>): Promise<void> {
    const changes = [...rules].map(
      ([id, { upstreams }]): AccessChange => ({ owner: { mode, id }, allowed: new Set(upstreams.keys()) }),
    );
    for (const listener of this.listeners) await listener(tx, changes);
  }

  #now(): number {
    return this.#world.now().getTime();
  }

  #drop(): void {
    this.#version = this.#upstreams.version;
    this.#rules.dropAll();
  }
}

/** A key brings its own rules, whoever it acts as. */
function nameOf({ owner, virtualKeyId }: Subject): string {
  return virtualKeyId ? `key ${virtualKeyId}` : `${owner.mode} ${owner.id}`;
}

const nothing: Rules = { upstreams: new Map() };

/** Rules that hold until something is told. */
function forEver(rules: Rules, keyIds: readonly string[] = []): Computed {
  return { rules, validUntil: Number.POSITIVE_INFINITY, keyIds };
}

function usable(keys: readonly VirtualKey[], now: number): VirtualKey[] {
  return keys.filter((key) => judge(key, now).ok);
}

function validUntil(keys: readonly VirtualKey[]): number {
  return Math.min(...keys.map((key) => key.expiresAt ?? Number.POSITIVE_INFINITY));
}
