import type { Owner, World } from "../base/index.ts";
import { type Database, EVERYTHING, type Tx } from "../db/index.ts";
import type { Upstream, Upstreams } from "../upstreams/index.ts";
import { type AllowedTools, type Rules, toolSet, unite } from "./decide.ts";
import { readKeys } from "./key-rows.ts";
import { Narrowed } from "./narrow.ts";
import { readUserConfigs } from "./user-configs.ts";
import { judge, type KeyConfig, type VirtualKey } from "./virtual-key.ts";
import type { VirtualKeys } from "./virtual-keys.ts";
import type { VirtualMcp } from "./virtual-mcp.ts";

/** Who asks, and the key the grant or request came with, whose rules then hold. */
export interface Subject {
  owner: Owner;
  virtualKeyId?: string;
  /** The virtual MCP whose address was used; it narrows the rules. */
  virtualMcp?: VirtualMcp;
}

/**
 * Told in the transaction of whatever changed it: `allowedUpstreamIds` is all the owner may use from now on. Credentials
 * outside become `orphaned`, inside again they come back.
 */
export type AccessListener = (tx: Tx, owner: Owner, allowedUpstreamIds: ReadonlySet<string>) => Promise<void>;

export interface AccessParts {
  world: World;
  database: Database;
  upstreams: Upstreams;
  keys: VirtualKeys;
}

const MOST_ENTRIES = 20_000;

/** Who may use which upstream and tool, and telling when that changes. */
export class Access {
  /** Filled in app.ts; run inside the transaction of the change. */
  readonly listeners: AccessListener[] = [];
  readonly #world: World;
  readonly #database: Database;
  readonly #upstreams: Upstreams;
  readonly #keys: VirtualKeys;
  readonly #rules = new Map<string, Computed>();
  readonly #narrowed = new Narrowed();
  #version = -1;
  #epoch = 0;

  constructor(parts: AccessParts) {
    this.#world = parts.world;
    this.#database = parts.database;
    this.#upstreams = parts.upstreams;
    this.#keys = parts.keys;
    parts.database.changes.listen(({ topic }) => {
      if (topic === "virtual_key" || topic === "upstream" || topic === "user" || topic === EVERYTHING)
        this.#drop();
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
    const epoch = this.#epoch;
    const computed = await this.#compute(subject, now);
    if (epoch === this.#epoch) {
      if (this.#rules.size >= MOST_ENTRIES) this.#rules.clear();
      this.#rules.set(name, computed);
    }
    return computed.rules;
  }

  async #compute({ owner, virtualKeyId }: Subject, now: number): Promise<Computed> {
    const upstreams = this.#upstreams.all();
    const keyId = virtualKeyId ?? (owner.mode === "vk" ? owner.id : undefined);
    if (keyId !== undefined) {
      const key = await this.#keys.find(keyId);
      if (!key || !judge(key, now).ok) return { rules: nothing, validUntil: Number.POSITIVE_INFINITY };
      return { rules: rulesOfKey(key.configs, upstreams), validUntil: validUntil([key]) };
    }
    if (owner.mode !== "user" && owner.mode !== "session") {
      // A flow's credentials serve nobody, an administrator's discovery credential only lists tools.
      return { rules: nothing, validUntil: Number.POSITIVE_INFINITY };
    }
    if (owner.mode === "session")
      return { rules: rulesOfUser([], [], upstreams), validUntil: Number.POSITIVE_INFINITY };
    const keys = usable(await this.#keys.ofUser(owner.id), now);
    const own = (await readUserConfigs(this.#database.db, [owner.id])).get(owner.id) ?? [];
    return { rules: rulesOfUser(own, keys, upstreams), validUntil: validUntil(keys) };
  }

  /** To be called in the transaction that created, changed or deleted a key. */
  async keyChanged(tx: Tx, before: VirtualKey | undefined, after: VirtualKey | undefined): Promise<void> {
    const key = after ?? before;
    if (!key || this.listeners.length === 0) return;
    const upstreams = await readUpstreams(tx);
    if (key.userId !== undefined) await this.#tellUser(tx, key.userId, upstreams);
    else if (after) await this.#tell(tx, { mode: "vk", id: after.id }, rulesOfKey(after.configs, upstreams));
  }

  /** To be called in the transaction that changed what a person may use by name. */
  async userChanged(tx: Tx, userId: string): Promise<void> {
    if (this.listeners.length > 0) await this.#tellUser(tx, userId, await readUpstreams(tx));
  }

  /** To be called in the transaction that changed `allow_on_all_virtual_keys` of an upstream. */
  async upstreamChanged(tx: Tx, upstreamId: string): Promise<void> {
    if (this.listeners.length === 0) return;
    const upstreams = await readUpstreams(tx);
    const holders = await tx
      .selectFrom("credentials")
      .select(["owner_mode", "owner_id"])
      .where("upstream_id", "=", upstreamId)
      .where("owner_mode", "in", ["user", "vk"])
      .union(
        tx
          .selectFrom("flows")
          .select((expression) => [
            expression.ref("owner_mode").$notNull().as("owner_mode"),
            expression.ref("owner_id").$notNull().as("owner_id"),
          ])
          .where("upstream_id", "=", upstreamId)
          .where("ended_at", "is", null)
          .where("owner_mode", "in", ["user", "vk"]),
      )
      .execute();
    for (const { owner_mode, owner_id } of holders) {
      if (owner_mode === "user") await this.#tellUser(tx, owner_id, upstreams);
      else await this.#tellKey(tx, owner_id, upstreams);
    }
  }

  async #tellUser(tx: Tx, userId: string, upstreams: readonly Shared[]): Promise<void> {
    const keys = usable(await readKeys(tx, { userId }), this.#now());
    const own = (await readUserConfigs(tx, [userId])).get(userId) ?? [];
    await this.#tell(tx, { mode: "user", id: userId }, rulesOfUser(own, keys, upstreams));
  }

  async #tellKey(tx: Tx, keyId: string, upstreams: readonly Shared[]): Promise<void> {
    const [key] = await readKeys(tx, { ids: [keyId] });
    if (key) await this.#tell(tx, { mode: "vk", id: keyId }, rulesOfKey(key.configs, upstreams));
  }

  async #tell(tx: Tx, owner: Owner, rules: Rules): Promise<void> {
    const allowed = new Set(rules.upstreams.keys());
    for (const listener of this.listeners) await listener(tx, owner, allowed);
  }

  #now(): number {
    return this.#world.now().getTime();
  }

  #drop(): void {
    this.#epoch += 1;
    this.#version = this.#upstreams.version;
    this.#rules.clear();
  }
}

/** A key brings its own rules, whoever it acts as. */
function nameOf({ owner, virtualKeyId }: Subject): string {
  return virtualKeyId ? `key ${virtualKeyId}` : `${owner.mode} ${owner.id}`;
}

/** Rules and until when they hold: a key that expires takes its part with it. */
interface Computed {
  rules: Rules;
  validUntil: number;
}

const nothing: Rules = { upstreams: new Map() };

function usable(keys: readonly VirtualKey[], now: number): VirtualKey[] {
  return keys.filter((key) => judge(key, now).ok);
}

function validUntil(keys: readonly VirtualKey[]): number {
  return Math.min(...keys.map((key) => key.expiresAt ?? Number.POSITIVE_INFINITY));
}

/** What matters of an upstream here. */
type Shared = Pick<Upstream, "id" | "allowOnAllVirtualKeys">;

/** Its own rows, and what is allowed on all keys; a row of its own wins, also when it narrows. */
function rulesOfKey(configs: readonly KeyConfig[], upstreams: readonly Shared[]): Rules {
  const known = new Set(upstreams.map((upstream) => upstream.id));
  const allowed = sharedWithAll(upstreams);
  for (const { upstreamId, tools } of configs) {
    // No tools at all is no access: there is nothing to connect an account for.
    if (tools.length === 0) allowed.delete(upstreamId);
    else if (known.has(upstreamId)) allowed.set(upstreamId, toolSet(tools));
  }
  return { upstreams: allowed };
}

/** What is allowed on all keys, what is theirs by name, and whatever any key of theirs allows. */
function rulesOfUser(
  own: readonly KeyConfig[],
  keys: readonly VirtualKey[],
  upstreams: readonly Shared[],
): Rules {
  const known = new Set(upstreams.map((upstream) => upstream.id));
  const allowed = sharedWithAll(upstreams);
  for (const { upstreamId, tools } of [own, ...keys.map((key) => key.configs)].flat()) {
    if (tools.length > 0 && known.has(upstreamId))
      allowed.set(upstreamId, unite(allowed.get(upstreamId), toolSet(tools)));
  }
  return { upstreams: allowed };
}

function sharedWithAll(upstreams: readonly Shared[]): Map<string, AllowedTools> {
  return new Map(
    upstreams.filter((upstream) => upstream.allowOnAllVirtualKeys).map((upstream) => [upstream.id, "*"]),
  );
}

/** Inside the transaction, because the memory still shows what was before it. */
async function readUpstreams(tx: Tx): Promise<Shared[]> {
  const rows = await tx.selectFrom("upstreams").select(["id", "allow_on_all_virtual_keys"]).execute();
  return rows.map((row) => ({ id: row.id, allowOnAllVirtualKeys: row.allow_on_all_virtual_keys === 1 }));
}
