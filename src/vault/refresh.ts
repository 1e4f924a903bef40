import { newId } from "../base/index.ts";
import type { Row } from "../db/index.ts";
import { BackOff } from "./back-off.ts";
import type { Warm } from "./cache.ts";
import { bindingKey, type Credential } from "./credential.ts";
import { insist } from "./insist.ts";
import { awaitHolder, CLIENT_REFUSED, renewLease, returnLease, takeLease } from "./lease.ts";
import type { ProviderAuthorization, VaultParts } from "./parts.ts";
import { type OAuthSecret, type Redeemed, Redeemer } from "./redeem.ts";
import { RefusedClients } from "./refused-clients.ts";
import { isRenewable, openSecret } from "./secret.ts";
import { failCredential } from "./standing.ts";
import { type Refreshment, storeRefreshed } from "./store-refreshed.ts";

/** `moved`: the row is another one now, read it again. `later`: the provider did not help; not before `refreshAfter`. */
export type Refreshed =
  | { outcome: "moved" }
  | { outcome: "later"; refreshAfter: number; reason?: "client_refused" };

/** One refresh, under its lease. `startedAt`: milliseconds. */
interface Flight {
  credential: Credential;
  row: Row<"credentials">;
  holder: string;
  startedAt: number;
  hasWorked: boolean;
}

/** How long calls wait for the database to take an answer; the answer itself waits longer. */
const STORE_PATIENCE_MS = 5_000;
const STORE_PAUSE_MS = 1_000;

/**
 * Refreshes a credential once, however many calls wait: one flight in this process, one lease holder on all replicas.
 * The provider's answer is stored before it is used, and only if the generation is still the one that was refreshed.
 */
export class Refresher {
  readonly #parts: VaultParts;
  readonly #redeemer: Redeemer;
  readonly #backOff: BackOff;
  readonly #refused: RefusedClients;
  readonly #flights = new Map<string, Promise<Refreshed>>();
  /** Who waits for another replica, by binding. */
  readonly #wakers = new Map<string, () => void>();

  constructor(parts: VaultParts) {
    this.#parts = parts;
    this.#redeemer = new Redeemer(parts);
    this.#backOff = new BackOff(parts.world);
    this.#refused = new RefusedClients(parts);
  }

  /** `hasWorked`: the upstream is known to have taken this access token. */
  refresh({ credential }: Pick<Warm, "credential">, hasWorked: boolean): Promise<Refreshed> {
    const key = `${bindingKey(credential.owner, credential.upstreamId, credential.account)}:${credential.generation}`;
    const running = this.#flights.get(key);
    if (running) return running;
    const flight = this.#lead(credential, hasWorked).finally(() => this.#flights.delete(key));
    this.#flights.set(key, flight);
    return flight;
  }

  /** Resolves when none is under way: a call that gave up leaves its refresh behind, and the answer must still be stored. */
  async idle(): Promise<void> {
    while (this.#flights.size > 0) await Promise.allSettled(this.#flights.values());
  }

  /** A binding changed: who waits for it looks at once. */
  wake(key: string): void {
    this.#wakers.get(key)?.();
  }

  async #lead(credential: Credential, hasWorked: boolean): Promise<Refreshed> {
    const holder = newId(this.#parts.world, "lease");
    const startedAt = this.#now();
    const row = await takeLease(this.#parts, credential, holder, startedAt);
    if (!row) return awaitHolder(this.#parts, credential, this.#wakers);
    this.#parts.world.reach("refresh.1.lease_taken");
    const flight = { credential, row, holder, startedAt, hasWorked };
    try {
      return await this.#exchange(flight);
    } catch (error) {
      // Where this fails too, the lease runs out by itself.
      await this.#later(flight, { reason: "failed", isLost: true }).catch(() => undefined);
      throw error;
    }
  }

  async #exchange(flight: Flight): Promise<Refreshed> {
    const { row, credential, holder, startedAt, hasWorked } = flight;
    const { upstreamId } = credential;
    let fault: string | undefined;
    const secret = openSecret(this.#parts.seal, credential, row.sealed, (reason) => {
      fault = reason;
    });
    // Sealed with a key that is missing here: nothing that a person could mend.
    if (fault === "unknown_key") return this.#later(flight, { reason: fault });
    const authorization = await this.#authorization(upstreamId);
    if (authorization === "later") return this.#later(flight, { reason: "registering_again" });
    if (secret?.kind !== "oauth" || !isRenewable(secret) || !belongs(authorization, credential, secret)) {
      await failCredential(this.#parts, credential, "authorization_changed", holder);
      return { outcome: "moved" };
    }
    const pause = this.#refused.pauseFor(upstreamId, authorization);
    if (pause > 0) return this.#refuse(flight, pause);
    this.#parts.world.reach("refresh.2.token_sent");
    const redeemed = await this.#redeemer.redeem({
      upstreamId,
      authorization,
      secret,
      hasWorked,
      isUnanswered: isUnanswered(row, startedAt),
      issuedAt: secret.issuedAt,
      goOn: () => renewLease(this.#parts, credential, holder),
    });
    this.#parts.world.reach("refresh.3.answer_received");
    return this.#settle(flight, { secret, authorization }, redeemed);
  }

  async #settle(
    flight: Flight,
    { secret, authorization }: { secret: OAuthSecret; authorization: ProviderAuthorization },
    redeemed: Redeemed,
  ): Promise<Refreshed> {
    const { credential, holder } = flight;
    switch (redeemed.outcome) {
      case "token": {
        this.#backOff.forget(credential.id);
        this.#refused.forget(credential.upstreamId);
        const { token, spent } = redeemed;
        return this.#store({ credential, old: secret, token, holder, spent });
      }
      case "refused":
        // RFC 6749 §5.2: the person must authorize again; a generation that moved meanwhile is left alone.
        await failCredential(this.#parts, credential, redeemed.reason, holder);
        return { outcome: "moved" };
      case "client_refused":
        return this.#refuse(flight, await this.#refused.note(credential.upstreamId, authorization));
      case "later":
        return this.#later(flight, redeemed);
      case "moved":
        return redeemed;
    }
  }

  /** What is recorded; a registration of ours that has ended is made again first. */
  async #authorization(upstreamId: string): Promise<ProviderAuthorization | "later" | undefined> {
    const { oauth } = this.#parts;
    const recorded = await oauth.recorded({ id: upstreamId });
    if (recorded || !oauth.registerAgain) return recorded;
    const done = await oauth.registerAgain(upstreamId, undefined);
    return done === "later" ? "later" : oauth.recorded({ id: upstreamId });
  }

  /** The answer is not let go of because the database is away for a moment: it cannot be had a second time. */
  async #store(refreshment: Refreshment): Promise<Refreshed> {
    const { credential } = refreshment;
    const stored = insist(this.#parts.world, credential, () => storeRefreshed(this.#parts, refreshment));
    const moved = stored.then((): Refreshed => ({ outcome: "moved" }));
    const { promise: late, resolve } = Promise.withResolvers<Refreshed>();
    const timer = setTimeout(
      () => resolve({ outcome: "later", refreshAfter: this.#now() + STORE_PAUSE_MS }),
      STORE_PATIENCE_MS,
    );
    try {
      return await Promise.race([moved, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** The credential is kept as it is: it works again as soon as an administrator has mended the client. */
  async #refuse({ credential, holder, startedAt }: Flight, pauseMs: number): Promise<Refreshed> {
    const refreshAfter = this.#now() + pauseMs;
    const reason = CLIENT_REFUSED;
    await returnLease(this.#parts, credential, holder, { refreshAfter, answered: startedAt, reason });
    return { outcome: "later", refreshAfter, reason };
  }

  /** Transient: the credential stays active; the pause doubles, with jitter, and a `Retry-After` is honoured. */
  async #later(
    { credential, holder, startedAt }: Flight,
    { reason, retryAfterMs, isLost }: { reason: string; retryAfterMs?: number; isLost?: boolean },
  ): Promise<Refreshed> {
    const refreshAfter = this.#now() + this.#backOff.next(credential.id, retryAfterMs);
    const { id, upstreamId } = credential;
    this.#parts.world.log.warn("credential.refresh_postponed", {
      credential: id,
      upstream: upstreamId,
      reason,
      retryAfterMs,
      answer_lost: isLost || undefined,
    });
    const answered = isLost ? undefined : startedAt;
    await returnLease(this.#parts, credential, holder, { refreshAfter, answered });
    return { outcome: "later", refreshAfter };
  }

  #now(): number {
    return this.#parts.world.now().getTime();
  }
}

/** An earlier refresh of this generation began, and nobody knows what came of it. */
function isUnanswered(row: Row<"credentials">, startedAt: number): boolean {
  const { refresh_started_at: first } = row;
  return first !== null && first !== startedAt && first >= (row.last_refreshed_at ?? 0);
}

/** A refresh token goes only to the issuer and registration it came from (MCP authorization, server binding; UP-18). */
function belongs(
  authorization: ProviderAuthorization | undefined,
  credential: Credential,
  secret: OAuthSecret,
): authorization is ProviderAuthorization {
  if (!authorization || authorization.server.token_endpoint === undefined) return false;
  if (credential.oauthConfigId !== undefined && credential.oauthConfigId !== authorization.configId)
    return false;
  return secret.issuer === undefined || secret.issuer === authorization.issuer;
}
