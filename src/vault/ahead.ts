import type { OwnerMode } from "../base/index.ts";
import { DEFAULT } from "./accounts.ts";
import { type CredentialCache, inherit, type Warm } from "./cache.ts";
import { load } from "./load.ts";
import type { VaultParts } from "./parts.ts";
import type { Refreshed } from "./refresh.ts";

/** What was used within this time is expected to be used again. */
const LATELY_MS = 24 * 60 * 60_000;
/** Requests to one provider at once, of each replica. */
const AT_ONCE = 4;
const MOST_WAITING = 20_000;
/** How exactly the database knows of use. */
const USE_KNOWN_MS = 6 * 60 * 60_000;
const USES_AT_ONCE = 200;

/** What a tool list is read with makes nobody wait, and what a consent connected is nobody's yet. */
const SERVES_CALLS: Record<OwnerMode, boolean> = {
  user: true,
  vk: true,
  session: true,
  shared: true,
  discovery: false,
  flow: false,
};

/** A credential of the cache, by its key there. */
type Due = [key: string, warm: Warm];

/**
 * Refreshes what calls used lately, at a random moment shortly before they would have to wait for it. What was used is known
 * from memory, so each replica looks after what it served; whichever's moment comes first does it, and the others hear of it.
 */
export class RefreshAhead {
  readonly #parts: VaultParts;
  readonly #cache: CredentialCache;
  readonly #refresh: (warm: Warm) => Promise<Refreshed>;
  /** One for each provider, so that a slow one holds up nobody else's. */
  readonly #lanes = new Map<string, { waiting: Map<string, Warm>; work: Promise<unknown> }>();
  #isClosed = false;

  constructor(parts: VaultParts, cache: CredentialCache, refresh: (warm: Warm) => Promise<Refreshed>) {
    this.#parts = parts;
    this.#cache = cache;
    this.#refresh = refresh;
  }

  /** Starts what is due; does not wait for providers. Notes use in the database, a few times a day for each credential. */
  async run(): Promise<void> {
    const now = this.#parts.world.now().getTime();
    const used: Warm[] = [];
    for (const [key, warm] of this.#cache.entries()) {
      if (warm.usedAt - warm.notedUseAt > USE_KNOWN_MS) used.push(warm);
      const isDue = now >= warm.aheadAt && now >= warm.refreshAfter && now - warm.usedAt < LATELY_MS;
      if (isDue && warm.usedAt > 0 && SERVES_CALLS[warm.credential.owner.mode]) this.#enqueue(key, warm);
    }
    await this.#noteUse(used);
  }

  /** Resolves when nothing is under way any more. */
  async idle(): Promise<void> {
    while (this.#lanes.size > 0) await Promise.all([...this.#lanes.values()].map(({ work }) => work));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const { waiting } of this.#lanes.values()) waiting.clear();
    await this.idle();
  }

  #enqueue(key: string, warm: Warm): void {
    if (this.#isClosed) return;
    const { secret, credential } = warm;
    const provider = (secret.kind === "oauth" && secret.issuer) || credential.upstreamId;
    const lane = this.#lanes.get(provider);
    if (lane) {
      if (lane.waiting.size < MOST_WAITING) lane.waiting.set(key, warm);
      return;
    }
    const waiting = new Map([[key, warm]]);
    const opened = { waiting, work: Promise.resolve() as Promise<unknown> };
    this.#lanes.set(provider, opened);
    // Not before the round that fills it is over.
    opened.work = Promise.resolve()
      .then(() => Promise.all(Array.from({ length: AT_ONCE }, () => this.#work(waiting))))
      .finally(() => this.#lanes.delete(provider));
  }

  async #work(waiting: Map<string, Warm>): Promise<void> {
    for (const due of waiting) {
      waiting.delete(due[0]);
      // A provider that does not help with one is not asked for the others in this round.
      if (!(await this.#renew(due))) waiting.clear();
    }
  }

  /** False: the provider could not be asked, or did not help. */
  async #renew([key, warm]: Due): Promise<boolean> {
    const { log, now } = this.#parts.world;
    if (warm.secret.kind !== "oauth" || this.#cache.find(key) !== warm) return true;
    try {
      const refreshed = await this.#refresh(warm);
      if (refreshed.outcome === "moved") {
        await this.#reload([key, warm]);
        return true;
      }
      warm.refreshAfter = refreshed.refreshAfter;
      return false;
    } catch (error) {
      const { id: credential, upstreamId: upstream } = warm.credential;
      log.warn("credential.refresh_failed", { credential, upstream, error });
      warm.refreshAfter = now().getTime() + 1_000;
      return false;
    }
  }

  /** It stays warm, and remains known as used as long ago as it was. */
  async #reload([key, before]: Due): Promise<void> {
    if (this.#cache.find(key) === before) this.#cache.drop(key);
    const { owner, upstreamId, account } = before.credential;
    const place = { owner, upstreamId, account: key.endsWith(`:${DEFAULT}`) ? undefined : account };
    const { warm } = await this.#cache.load(key, () => load(this.#parts, place));
    if (warm) inherit(warm, before);
  }

  async #noteUse(used: readonly Warm[]): Promise<void> {
    for (let at = 0; at < used.length; at += USES_AT_ONCE) {
      const some = used.slice(at, at + USES_AT_ONCE);
      const usedAt = this.#parts.world.now().getTime();
      await this.#parts.database.db
        .updateTable("credentials")
        .set({ used_at: usedAt })
        .where(
          "id",
          "in",
          some.map(({ credential }) => credential.id),
        )
        .execute();
      for (const warm of some) warm.notedUseAt = usedAt;
    }
  }
}
