import type { Owner } from "../base/index.ts";
import { type Change, type Db, EVERYTHING, type FlowState, type Tx } from "../db/index.ts";
import { type AccountLabels, AccountLabelsCache } from "./account-labels.ts";
import { DEFAULT, findDefault, labelsOf } from "./accounts.ts";
import { adoptCredentials } from "./adopt.ts";
import { RefreshAhead } from "./ahead.ts";
import { CredentialCache, type Warm } from "./cache.ts";
import { bindingKey, type Credential, type NewSecret, type Opened } from "./credential.ts";
import { ready } from "./hand-out.ts";
import { type HeaderDemand, headerNames, requireHeaders } from "./header-rows.ts";
import {
  type Account,
  type Held,
  type HeldData,
  holdSecret,
  otherAccount,
  peekHeld,
  releaseHeld,
  takeHeld,
} from "./held.ts";
import { keepAlive } from "./keep-alive.ts";
import { load } from "./load.ts";
import { type OpenedUpstream, OwnTokens } from "./own-tokens.ts";
import { type Binding, findRow, type VaultParts } from "./parts.ts";
import { type PutCredential, putCredential, type Stored } from "./put.ts";
import { type Refreshed, Refresher } from "./refresh.ts";
import { Rejected } from "./rejected.ts";
import { changeAccount, type Relabelled } from "./relabel.ts";
import { removeCredential, removeOwner, removeUpstream } from "./removal.ts";
import { disownSecret, handleRevocations } from "./revocation.ts";
import { isRenewable, readCredential, secretOf } from "./secret.ts";
import {
  clientChanged,
  demandReauth,
  expireNow,
  failCredential,
  type OwnerAccess,
  setOwnerAccess,
} from "./standing.ts";
import { dropAbandoned, dropOrphaned } from "./sweep.ts";
import { type Wanted, wantScopes } from "./wanted-scopes.ts";
import { Worked } from "./worked.ts";

/** Rounds of "somebody changed it, read again" before the caller is asked to come back. */
const ROUNDS = 8;

/** The credentials of all owners. See the folder's door. */
export class Vault {
  /** Told after the commit that gave an owner (never `flow`) a usable credential. */
  readonly connected: ((owner: Owner, upstreamId: string) => void)[] = [];
  readonly #parts: VaultParts;
  readonly #cache = new CredentialCache();
  readonly #refresher: Refresher;
  readonly #ahead: RefreshAhead;
  readonly #worked: Worked;
  readonly #rejected: Rejected;
  readonly #ownTokens: OwnTokens;
  readonly #given = new Map<string, Binding>();
  readonly #labels: AccountLabelsCache;

  constructor(parts: VaultParts) {
    this.#parts = parts;
    this.#labels = new AccountLabelsCache(parts.database.db);
    this.#refresher = new Refresher(parts);
    this.#worked = new Worked(parts.world);
    this.#rejected = new Rejected(parts.world);
    this.#ahead = new RefreshAhead(parts, this.#cache, (warm) => this.#refresh(warm));
    this.#ownTokens = new OwnTokens(parts);
    handleRevocations(parts);
    parts.database.changes.listen((change) => this.#changed(change));
  }

  /**
   * A credential ready to authorize one request, refreshed before it expires. A warm one costs neither database nor
   * crypto. `account`: its label; without one the default. `notGeneration`: the generation that the upstream has just refused (see `markRejected`).
   */
  async open(
    owner: Owner,
    upstream: OpenedUpstream,
    account: string | undefined = undefined,
    options: { notGeneration?: number } = {},
  ): Promise<Opened> {
    const key = bindingKey(owner, upstream.id, account ?? DEFAULT);
    const warm = this.#cache.find(key);
    if (warm && this.#usable(warm, options.notGeneration)) return ready(warm, this.#parts.world);
    return this.#openCold(key, { owner, upstream, account }, options.notGeneration);
  }

  /** A warm credential, without waiting for anything; undefined: `open` has to look. */
  openWarm(owner: Owner, upstream: { id: string }, account: string | undefined): Opened | undefined {
    const warm = this.#cache.find(bindingKey(owner, upstream.id, account ?? DEFAULT));
    if (!warm || !this.#usable(warm, undefined)) return undefined;
    warm.opened ??= ready(warm, this.#parts.world);
    return warm.opened;
  }

  /** The generation of a binding's credential, 0 when there is none. */
  async generationOf(db: Db | Tx, owner: Owner, upstreamId: string, account = ""): Promise<number> {
    return (await findRow(db, { owner, upstreamId, account }))?.generation ?? 0;
  }

  /** Who has two accounts or more of an upstream; from memory once asked. */
  severalAccounts(owner: Owner): Promise<AccountLabels> {
    return this.#labels.of(owner);
  }

  /** The label of the account that is used when none is named; undefined when the owner has none. */
  async defaultAccount(db: Db | Tx, owner: Owner, upstreamId: string): Promise<string | undefined> {
    return (await findDefault(db, { owner, upstreamId }))?.account;
  }

  /** What an owner has under one label, usable or not. */
  async find(owner: Owner, upstreamId: string, account: string): Promise<Credential | undefined> {
    const row = await findRow(this.#parts.database.db, { owner, upstreamId, account });
    return row && readCredential(row);
  }

  /** The labels of all accounts an owner has at an upstream. */
  labels(db: Db | Tx, owner: Owner, upstreamId: string): Promise<string[]> {
    return labelsOf(db, { owner, upstreamId });
  }

  /** Another label for one account, or makes it the default; see `changeAccount`. */
  changeAccount(tx: Tx, id: string, change: { account?: string; isDefault?: true }): Promise<Relabelled> {
    return changeAccount(this.#parts, tx, id, change);
  }

  /** Stores what a person gave us; see `putCredential`. Undefined: access changed meanwhile, nothing is stored. */
  async put(tx: Tx, given: PutCredential): Promise<Stored | undefined> {
    const stored = await putCredential(this.#parts, tx, given);
    if (stored && given.owner.mode !== "flow") this.#announceLater(given);
    return stored;
  }

  /** The account that this secret would take the place of although it is another one; see `otherAccount` in held.ts. */
  otherAccount(
    db: Db | Tx,
    binding: Binding,
    secret: NewSecret,
    identity?: Owner,
  ): Promise<Account | undefined> {
    return otherAccount(db, binding, secret, identity);
  }

  /** Keeps a secret out of use until its person says whether its account may replace the one before (UP-31). */
  hold(tx: Tx, held: Parameters<typeof holdSecret>[2]): Promise<{ id: string }> {
    return holdSecret(this.#parts, tx, held);
  }

  /** A held secret, closed: `data` has `before` and `now`. */
  peekHeld(id: string): Promise<FlowState<HeldData>> {
    return peekHeld(this.#parts, id);
  }

  /** Takes a held secret out, once; undefined when it was answered, expired or given up. */
  takeHeld(tx: Tx, id: string, outcome: string): Promise<Held | undefined> {
    return takeHeld(this.#parts, tx, id, outcome);
  }

  /** Gives up what is held for a link, and tells the provider. */
  releaseHeld(tx: Tx, linkId: string, outcome: string): Promise<void> {
    return releaseHeld(this.#parts, tx, { linkId }, outcome);
  }

  /** Moves the credentials of a consent flow to the identity it was for; returns the upstream ids that moved. */
  async adopt(tx: Tx, flowId: string, owner: Owner): Promise<string[]> {
    const moved = await adoptCredentials(this.#parts, tx, flowId, owner);
    for (const upstreamId of moved) this.#announceLater({ owner, upstreamId, account: "" });
    return moved;
  }

  /** The upstream answered 401 to this credential. It is renewed at the next open, or lost if renewing did not help. */
  async markRejected(credential: Credential): Promise<void> {
    const key = bindingKey(credential.owner, credential.upstreamId, credential.account);
    const warm = this.#cache.find(key);
    const current = warm && warm.credential.generation === credential.generation ? warm : undefined;
    const isInARow = this.#rejected.note(credential);
    const loaded = current ? { warm: current } : await load(this.#parts, credential);
    if (loaded.warm?.credential.generation !== credential.generation) return this.#drop(key);
    this.#worked.remember(loaded.warm);
    const { secret } = loaded.warm;
    // One that ended on its way there says nothing about the next one, however short it lived.
    const hasEnded = (credential.expiresAt ?? Number.POSITIVE_INFINITY) <= this.#now();
    if (isRenewable(secret) && (hasEnded || !isInARow)) await expireNow(this.#parts, credential);
    else await failCredential(this.#parts, credential, "rejected_by_upstream");
  }

  /** The upstream answered that this credential lacks scopes; see `wantScopes`. */
  wantScopes(credential: Credential, challenged: readonly string[]): Promise<Wanted> {
    return wantScopes(this.#parts, credential, challenged);
  }

  /** Deletes one credential, its binding's pending flows, and tells the provider later. False: there is no such row. */
  async revoke(tx: Tx, credentialId: string, reason: string): Promise<boolean> {
    const removed = await removeCredential(this.#parts, tx, credentialId);
    if (removed) this.#parts.world.log.info("credential.revoked", { credential: credentialId, reason });
    return removed;
  }

  /** Everything an owner has, pending flows included. Returns how many credentials that was. */
  dropOwner(tx: Tx, owner: Owner): Promise<number> {
    return removeOwner(this.#parts, tx, owner);
  }

  /** What was connected during consents that are over, and what nobody confirmed in time; for the sweeper. */
  dropAbandoned(): Promise<void> {
    return dropAbandoned(this.#parts);
  }

  /** What its owner has had no access to for 30 days, its provider told; for the sweeper. */
  dropOrphaned(): Promise<void> {
    return dropOrphaned(this.#parts);
  }

  /** Everything at an upstream, before its row is deleted or without. Returns how many credentials that was. */
  dropUpstream(tx: Tx, upstreamId: string): Promise<number> {
    return removeUpstream(this.#parts, tx, upstreamId);
  }

  /** Orphans what lies outside `allowedUpstreamIds` and ends its pending flows; brings back what lies inside. */
  setAccess(tx: Tx, owner: Owner, allowedUpstreamIds: ReadonlySet<string>): Promise<void> {
    return setOwnerAccess(this.#parts, tx, [{ owner, allowed: allowedUpstreamIds }]);
  }

  /** The same for many at once: a batch of the database's at most. */
  setAccessOf(tx: Tx, changes: readonly OwnerAccess[]): Promise<void> {
    return setOwnerAccess(this.#parts, tx, changes);
  }

  /** Every credential of an upstream must be given again. `reason` is a word of ours. */
  needsReauth(tx: Tx, upstreamId: string, reason: string): Promise<void> {
    return demandReauth(this.#parts, tx, upstreamId, reason);
  }

  /** How the gateway proves itself to an upstream's provider was changed: what was refused may be tried again at once. */
  clientChanged(tx: Tx, upstreamId: string): Promise<void> {
    return clientChanged(this.#parts, tx, upstreamId);
  }

  /** Refreshes what was used lately before any call has to wait for it; for a job, every few seconds. */
  refreshAhead(): Promise<void> {
    return this.#ahead.run();
  }

  /** Refreshes what rests, so that its refresh token does not run out unused; for a job, now and then. */
  keepAlive(): Promise<void> {
    return keepAlive(this.#parts, (warm) => this.#refresh(warm));
  }

  /** Resolves when no refresh ahead of calls is under way. */
  settled(): Promise<void> {
    return this.#ahead.idle();
  }

  /** Begins no refresh ahead of calls any more, and waits for all those under way. */
  async close(): Promise<void> {
    await this.#ahead.close();
    await this.#refresher.idle();
  }

  /** The names that people give values for changed: rows that lack one are `needs_update`, rows that have all serve again. */
  requireHeaders(tx: Tx, demand: HeaderDemand): Promise<void> {
    return requireHeaders(this.#parts, tx, demand);
  }

  /** The names, in lower case, that a binding holds values for; never the values. */
  async headerNames(owner: Owner, upstreamId: string, account = ""): Promise<string[]> {
    const row = await findRow(this.#parts.database.db, { owner, upstreamId, account });
    return row ? [...(headerNames(this.#parts, row) ?? [])] : [];
  }

  /** Queues the provider's revocation of tokens that came too late to be stored for `owner`. */
  disown(tx: Tx, upstreamId: string, secret: NewSecret, owner?: Owner): Promise<void> {
    const { oauthConfigId, subject = null } = secret.kind === "oauth" ? secret : {};
    const disowned = { owner, upstreamId, oauthConfigId, secret: secretOf(secret, this.#now()) };
    return disownSecret(this.#parts, tx, disowned, subject);
  }

  /** What an owner has at these upstreams, by upstream id; of several accounts the default one. */
  async statuses(owner: Owner, upstreamIds: readonly string[]): Promise<Map<string, Credential>> {
    if (upstreamIds.length === 0) return new Map();
    const rows = await this.#parts.database.db
      .selectFrom("credentials")
      .selectAll()
      .where("owner_mode", "=", owner.mode)
      .where("owner_id", "=", owner.id)
      .where("upstream_id", "in", [...upstreamIds])
      .orderBy("is_default")
      .orderBy("account", "desc")
      .execute();
    return new Map(rows.map((row) => [row.upstream_id, readCredential(row)]));
  }

  async #openCold(
    key: string,
    { owner, upstream, account }: { owner: Owner; upstream: OpenedUpstream; account: string | undefined },
    notGeneration: number | undefined,
  ): Promise<Opened> {
    const place = { owner, upstreamId: upstream.id, account };
    for (let round = 0; round < ROUNDS; round++) {
      const { warm, reason } = await this.#cache.load(key, () => load(this.#parts, place));
      if (reason === "missing" && this.#ownTokens.concerns(owner, upstream)) {
        const retryAfterMs = await this.#ownTokens.begin(owner, upstream);
        if (retryAfterMs !== undefined) return { outcome: "unavailable", retryAfterMs };
        continue;
      }
      if (!warm) return { outcome: "needs_user", reason };
      if (this.#usable(warm, notGeneration)) return ready(warm, this.#parts.world);
      const { secret, credential } = warm;
      if (!isRenewable(secret)) {
        await failCredential(
          this.#parts,
          credential,
          secret.kind === "oauth" ? "expired" : "rejected_by_upstream",
        );
        continue;
      }
      const refreshed = await this.#refresh(warm);
      if (refreshed.outcome === "moved") {
        // Another replica may have moved it without our having heard yet. A reading under way is newer: it is joined.
        if (this.#cache.find(key) === warm) this.#cache.drop(key);
        continue;
      }
      warm.refreshAfter = refreshed.refreshAfter;
      if (this.#usable(warm, notGeneration)) return ready(warm, this.#parts.world);
      const { refreshAfter, reason: why } = refreshed;
      const retryAfterMs = Math.max(0, refreshAfter - this.#now());
      return { outcome: "unavailable", retryAfterMs, ...(why && { reason: why }) };
    }
    return { outcome: "unavailable" };
  }

  /** Fresh, or still valid while its refresh has to wait; and not the generation that was just refused. */
  #usable(warm: Warm, notGeneration: number | undefined): boolean {
    const { credential, refreshAt, refreshAfter } = warm;
    if (credential.generation === notGeneration) return false;
    const now = this.#now();
    if (now >= refreshAt && !(now < refreshAfter && now < (credential.expiresAt ?? 0))) return false;
    // Noted here, in memory, because nothing else sees every call.
    if (warm.firstUsedAt === 0) warm.firstUsedAt = now;
    warm.usedAt = now;
    return true;
  }

  #refresh(warm: Warm): Promise<Refreshed> {
    return this.#refresher.refresh(warm, this.#worked.has(warm));
  }

  #announceLater(binding: Binding): void {
    this.#given.set(bindingKey(binding.owner, binding.upstreamId, DEFAULT), binding);
  }

  #changed({ topic, key }: Change): void {
    if (topic === EVERYTHING) {
      this.#labels.clear();
      this.#cache.clear();
    }
    if (topic !== "credential") return;
    if (key.startsWith("upstream:")) {
      this.#labels.clear();
      this.#cache.dropUpstream(key.slice("upstream:".length));
      return;
    }
    this.#labels.drop(key);
    this.#drop(key);
    this.#refresher.wake(key);
    const given = this.#given.get(defaultKey(key));
    if (!given) return;
    this.#given.delete(defaultKey(key));
    for (const listener of this.connected) listener(given.owner, given.upstreamId);
  }

  /** Which account is the default may have changed with any of them. */
  #drop(key: string): void {
    this.#cache.drop(key);
    this.#cache.drop(defaultKey(key));
  }

  #now(): number {
    return this.#parts.world.now().getTime();
  }
}

/** The key of whichever account is the default, from the key of one of them. */
function defaultKey(key: string): string {
  return key.slice(0, key.lastIndexOf(":") + 1) + DEFAULT;
}
