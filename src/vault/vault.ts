import { type Hidden, type Owner, type ProofKey, proveWith, type World } from "../base/index.ts";
import type { Change, Db, FlowState, Tx } from "../db/index.ts";
import { type AccountLabels, AccountLabelsCache } from "./account-labels.ts";
import { DEFAULT, findDefault, labelsOf, type Place } from "./accounts.ts";
import { adoptCredentials } from "./adopt.ts";
import { CredentialCache, type Warm } from "./cache.ts";
import {
  bindingKey,
  type Credential,
  type NeedsUserReason,
  type NewSecret,
  type Opened,
} from "./credential.ts";
import { type HeaderDemand, headerNames, requireHeaders } from "./header-rows.ts";
import {
  type Account,
  type Held,
  type HeldData,
  holdSecret,
  otherAccount,
  peekHeld,
  releaseAbandoned,
  releaseHeld,
  takeHeld,
} from "./held.ts";
import { type OpenedUpstream, OwnTokens } from "./own-tokens.ts";
import { type Binding, findRow, type VaultParts } from "./parts.ts";
import { type PutCredential, putCredential, type Stored } from "./put.ts";
import { Refresher } from "./refresh.ts";
import { changeAccount, type Relabelled } from "./relabel.ts";
import { findAbandoned, removeCredential, removeOwner, removeUpstream } from "./removal.ts";
import { disownSecret, handleRevocations } from "./revocation.ts";
import { isRenewable, openSecret, readCredential, secretOf } from "./secret.ts";
import { demandReauth, expireNow, failCredential, setOwnerAccess } from "./standing.ts";
import { type Wanted, wantScopes } from "./wanted-scopes.ts";
import { warmOf } from "./warm.ts";

type Loaded = { warm: Warm; reason?: undefined } | { warm?: undefined; reason: NeedsUserReason };

/** A credential that the upstream refused this soon after it was renewed will not get better by renewing it again. */
const JUST_RENEWED_MS = 60_000;
/** Rounds of "somebody changed it, read again" before the caller is asked to come back. */
const ROUNDS = 8;

/** The credentials of all owners. See the folder's door. */
export class Vault {
  /** Told after the commit that gave an owner (never `flow`) a usable credential. */
  readonly connected: ((owner: Owner, upstreamId: string) => void)[] = [];
  readonly #parts: VaultParts;
  readonly #cache = new CredentialCache();
  readonly #refresher: Refresher;
  readonly #ownTokens: OwnTokens;
  readonly #given = new Map<string, Binding>();
  readonly #labels: AccountLabelsCache;

  constructor(parts: VaultParts) {
    this.#parts = parts;
    this.#labels = new AccountLabelsCache(parts.database.db);
    this.#refresher = new Refresher(parts);
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
    const loaded = current ? { warm: current } : await this.#read(credential);
    if (loaded.warm?.credential.generation !== credential.generation) return this.#drop(key);
    const { secret } = loaded.warm;
    const renewedAt = credential.lastRefreshedAt ?? 0;
    if (isRenewable(secret) && this.#now() - renewedAt > JUST_RENEWED_MS)
      await expireNow(this.#parts, credential);
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
  async dropAbandoned(): Promise<void> {
    await releaseAbandoned(this.#parts);
    for (const id of await findAbandoned(this.#parts)) {
      await this.#parts.database.transaction((tx) => this.dropOwner(tx, { mode: "flow", id }));
    }
  }

  /** Everything at an upstream, before its row is deleted or without. Returns how many credentials that was. */
  dropUpstream(tx: Tx, upstreamId: string): Promise<number> {
    return removeUpstream(this.#parts, tx, upstreamId);
  }

  /** Orphans what lies outside `allowedUpstreamIds` and ends its pending flows; brings back what lies inside. */
  setAccess(tx: Tx, owner: Owner, allowedUpstreamIds: ReadonlySet<string>): Promise<void> {
    return setOwnerAccess(this.#parts, tx, owner, allowedUpstreamIds);
  }

  /** Every credential of an upstream must be given again. `reason` is a word of ours. */
  needsReauth(tx: Tx, upstreamId: string, reason: string): Promise<void> {
    return demandReauth(this.#parts, tx, upstreamId, reason);
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
      const { warm, reason } = await this.#cache.load(key, () => this.#read(place));
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
      const refreshed = await this.#refresher.refresh(warm);
      if (refreshed.outcome === "moved") {
        // Another replica may have moved it without our having heard yet. A reading under way is newer: it is joined.
        if (this.#cache.find(key) === warm) this.#cache.drop(key);
        continue;
      }
      warm.refreshAfter = refreshed.refreshAfter;
      if (this.#usable(warm, notGeneration)) return ready(warm, this.#parts.world);
      return { outcome: "unavailable", retryAfterMs: Math.max(0, refreshed.refreshAfter - this.#now()) };
    }
    return { outcome: "unavailable" };
  }

  async #read({ owner, upstreamId, account }: Place & { account?: string }): Promise<Loaded> {
    const { db } = this.#parts.database;
    const row = await (account === undefined
      ? findDefault(db, { owner, upstreamId })
      : findRow(db, { owner, upstreamId, account }));
    if (!row) return { reason: "missing" };
    if (row.orphaned === 1) return { reason: "orphaned" };
    if (row.status !== "active") return { reason: row.status };
    let fault: string | undefined;
    const secret = openSecret(this.#parts.seal, { id: row.id, owner, upstreamId }, row.sealed, (reason) => {
      fault = reason;
    });
    if (secret?.kind === row.kind) return { warm: warmOf(row, secret) };
    // Attack rule R11: an alarm and a person who connects again, never a crash and never another value.
    this.#parts.world.log.error("credential.undecryptable", {
      credential: row.id,
      upstream: row.upstream_id,
      fault,
    });
    // A key that is missing from the configuration may come back; only what is damaged is given up.
    if (fault !== "unknown_key") await failCredential(this.#parts, readCredential(row), "undecryptable");
    return { reason: row.kind === "oauth" ? "needs_reauth" : "needs_update" };
  }

  /** Fresh, or still valid while its refresh has to wait; and not the generation that was just refused. */
  #usable({ credential, refreshAt, refreshAfter }: Warm, notGeneration: number | undefined): boolean {
    if (credential.generation === notGeneration) return false;
    const now = this.#now();
    if (now < refreshAt) return true;
    return now < refreshAfter && now < (credential.expiresAt ?? 0);
  }

  #announceLater(binding: Binding): void {
    this.#given.set(bindingKey(binding.owner, binding.upstreamId, DEFAULT), binding);
  }

  #changed({ topic, key }: Change): void {
    if (topic !== "credential") return;
    if (key.startsWith("upstream:")) {
      this.#labels.clear();
      this.#cache.dropUpstream(key.slice("upstream:".length));
      return;
    }
    this.#labels.drop(key);
    this.#drop(key);
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

function ready({ credential, secret, key }: Warm, world: World): Opened {
  if (key && secret.kind === "oauth") return bound(credential, secret.accessToken, key, world);
  return {
    outcome: "ready",
    credential,
    authorize: (headers) => {
      if (secret.kind === "oauth") headers.authorization = `Bearer ${secret.accessToken.reveal()}`;
      else
        for (const [name, value] of Object.entries(secret.headers))
          headers[name.toLowerCase()] = value.reveal();
    },
  };
}

/** RFC 9449 §7: a token that is bound to a key. The proof is made when the request is sent, for what it is then. */
function bound(credential: Credential, accessToken: Hidden, key: ProofKey, world: World): Opened {
  return {
    outcome: "ready",
    credential,
    authorize: (headers) => {
      const token = accessToken.reveal();
      headers.authorization = `DPoP ${token}`;
      proveWith(headers, {
        prove: (request) => key.proof(world, { ...request, token }),
        heed: (origin, nonce) => key.heed(origin, nonce),
      });
    },
  };
}
