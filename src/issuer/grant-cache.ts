import { type KeyedHash, type Owner, sha256, type World } from "../base/index.ts";
import { type Change, type Database, EVERYTHING } from "../db/index.ts";

/** Who an access token speaks for. */
export interface GrantPrincipal {
  grantId: string;
  clientRowId: string;
  clientName: string;
  owner: Owner;
  /** The grant was made with this key: its rules govern. */
  virtualKeyId?: string;
  /** `<base>/mcp` or `<base>/mcp/<slug>`. */
  resource: string;
  scope: string;
  /** When the token stops, milliseconds since 1970. */
  expiresAt: number;
}

export type Authenticated =
  | { ok: true; grant: GrantPrincipal }
  | { ok: false; reason: "unknown" | "expired" };

const MAX_ENTRIES = 10_000;

/** Access tokens, looked up by keyed hash and kept in memory until something they depend on changes. */
export class GrantCache {
  readonly #parts: { world: World; database: Database; hash: KeyedHash };
  /** By a digest of the token that is cheaper than the keyed hash; it is written nowhere. */
  readonly #entries = new Map<string, GrantPrincipal>();
  readonly #lastOf = new WeakMap<object, { token: string; digest: string }>();
  readonly #used = new Map<string, number>();
  /** Rises with every drop, so that a load that began before it is not kept. */
  #version = 0;

  constructor(parts: { world: World; database: Database; hash: KeyedHash }) {
    this.#parts = parts;
    parts.database.changes.listen((change) => this.#drop(change));
  }

  /** A token that is not ours, revoked, or of a disabled key or person is `unknown`. */
  async authenticate(token: string): Promise<Authenticated> {
    const now = this.#parts.world.now().getTime();
    const digest = sha256(token);
    const grant = this.#entries.get(digest) ?? (await this.#load(token, digest, now));
    if (!grant) return { ok: false, reason: "unknown" };
    if (grant.expiresAt <= now) return { ok: false, reason: "expired" };
    this.#used.set(grant.grantId, now);
    return { ok: true, grant };
  }

  /**
   * The grant of a valid token that was seen before, without waiting; undefined: `authenticate` has to look. `connection`:
   * the one it came on, which keeps the digest of the token it brought last as long as it is open.
   */
  known(token: string, connection?: object): GrantPrincipal | undefined {
    const grant = this.#entries.get(connection ? this.#digest(token, connection) : sha256(token));
    const now = this.#parts.world.now().getTime();
    if (!grant || grant.expiresAt <= now) return undefined;
    this.#used.set(grant.grantId, now);
    return grant;
  }

  #digest(token: string, connection: object): string {
    const last = this.#lastOf.get(connection);
    if (last?.token === token) return last.digest;
    const digest = sha256(token);
    this.#lastOf.set(connection, { token, digest });
    return digest;
  }

  /** Writes when grants were last used; jobs.ts calls it now and then, and once at the end. */
  async flush(): Promise<void> {
    for (const [id, at] of [...this.#used]) {
      await this.#parts.database.db
        .updateTable("grants")
        .set({ last_used_at: at })
        .where("id", "=", id)
        .where((or) => or.or([or("last_used_at", "is", null), or("last_used_at", "<", at)]))
        .execute();
      // Used again meanwhile it is written next time; so is what could not be written now.
      if (this.#used.get(id) === at) this.#used.delete(id);
    }
  }

  async #load(token: string, digest: string, now: number): Promise<GrantPrincipal | undefined> {
    const version = this.#version;
    const row = await this.#parts.database.db
      .selectFrom("tokens")
      .innerJoin("grants", "grants.id", "tokens.grant_id")
      .leftJoin("virtual_keys", "virtual_keys.id", "grants.virtual_key_id")
      .leftJoin("users", "users.id", "grants.owner_id")
      .select(["grants.id", "client_row_id", "client_name", "owner_mode", "owner_id", "virtual_key_id"])
      .select(["resource", "scope", "tokens.expires_at", "grants.ends_at", "grants.status"])
      .select(["virtual_keys.is_active as key_active", "virtual_keys.expires_at as key_expires_at"])
      .select("users.is_active as user_active")
      .where("tokens.hash", "=", this.#parts.hash.of("access_token", token))
      .where("tokens.kind", "=", "access")
      .executeTakeFirst();
    if (row?.status !== "active") return undefined;
    if (row.virtual_key_id !== null && row.key_active !== 1) return undefined;
    if (row.owner_mode === "user" && row.user_active !== 1) return undefined;
    const grant: GrantPrincipal = {
      grantId: row.id,
      clientRowId: row.client_row_id,
      clientName: row.client_name,
      owner: { mode: row.owner_mode, id: row.owner_id },
      virtualKeyId: row.virtual_key_id ?? undefined,
      resource: row.resource,
      scope: row.scope,
      expiresAt: Math.min(row.expires_at, row.ends_at, row.key_expires_at ?? Number.POSITIVE_INFINITY),
    };
    if (version === this.#version && grant.expiresAt > now) this.#keep(digest, grant);
    return grant;
  }

  #keep(digest: string, grant: GrantPrincipal): void {
    if (this.#entries.size >= MAX_ENTRIES) {
      const oldest = this.#entries.keys().next().value;
      if (oldest !== undefined) this.#entries.delete(oldest);
    }
    this.#entries.set(digest, grant);
  }

  #drop({ topic, key }: Change): void {
    const isAll = topic === EVERYTHING;
    if (topic !== "grant" && topic !== "virtual_key" && topic !== "user" && !isAll) return;
    this.#version += 1;
    if (isAll) this.#entries.clear();
    for (const [digest, grant] of this.#entries) {
      const hit =
        (topic === "grant" && grant.grantId === key) ||
        (topic === "virtual_key" && grant.virtualKeyId === key) ||
        (topic === "user" && grant.owner.mode === "user" && grant.owner.id === key);
      if (hit) this.#entries.delete(digest);
    }
  }
}
