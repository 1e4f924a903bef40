import * as oauth from "oauth4webapi";
import { newId, OutboundError, oauthOptions, ProofKey, proving } from "../base/index.ts";
import type { NewRow, Row, Tx } from "../db/index.ts";
import { askForOwn } from "./ask-for-own.ts";
import type { Warm } from "./cache.ts";
import { bindingKey, type Credential } from "./credential.ts";
import { awaitHolder, returnLease, takeLease } from "./lease.ts";
import { findById, findRow, noteBinding, type ProviderAuthorization, type VaultParts } from "./parts.ts";
import { disownSecret } from "./revocation.ts";
import { isRenewable, openSecret, type Secret, sealSecret } from "./secret.ts";
import { failCredential } from "./standing.ts";
import { readTokenAnswer, type Token, type TokenAnswer } from "./token-answer.ts";

/** `moved`: the row is another one now, read it again. `later`: the provider did not help; not before `refreshAfter`. */
export type Refreshed = { outcome: "moved" } | { outcome: "later"; refreshAfter: number };

type OAuthSecret = Extract<Secret, { kind: "oauth" }>;

const FIRST_BACKOFF_MS = 1_000;
const LONGEST_BACKOFF_MS = 60_000;
const MOST_REMEMBERED = 10_000;
/** How often the row may change under a late answer before it is given up. */
const LATE_ROUNDS = 5;

type LateColumns = Partial<NewRow<"credentials">> & { sealed: Uint8Array };

/**
 * Refreshes a credential once, however many calls wait: one flight in this process, one lease holder on all replicas.
 * The provider's answer is stored before it is used, and only if the generation is still the one that was refreshed.
 */
export class Refresher {
  readonly #parts: VaultParts;
  readonly #flights = new Map<string, Promise<Refreshed>>();
  readonly #failures = new Map<string, number>();

  constructor(parts: VaultParts) {
    this.#parts = parts;
  }

  refresh(warm: Warm): Promise<Refreshed> {
    const { credential } = warm;
    const key = `${bindingKey(credential.owner, credential.upstreamId, credential.account)}:${credential.generation}`;
    const running = this.#flights.get(key);
    if (running) return running;
    const flight = this.#lead(credential).finally(() => this.#flights.delete(key));
    this.#flights.set(key, flight);
    return flight;
  }

  async #lead(credential: Credential): Promise<Refreshed> {
    const holder = newId(this.#parts.world, "lease");
    const row = await takeLease(this.#parts, credential, holder);
    if (!row) return awaitHolder(this.#parts, credential);
    try {
      return await this.#exchange(row, credential, holder);
    } catch (error) {
      await this.#backOff(credential, holder, undefined);
      throw error;
    }
  }

  async #exchange(row: Row<"credentials">, credential: Credential, holder: string): Promise<Refreshed> {
    const secret = openSecret(this.#parts.seal, credential, row.sealed);
    const authorization = await this.#parts.oauth.recorded({ id: credential.upstreamId });
    if (secret?.kind !== "oauth" || !isRenewable(secret) || !belongs(authorization, credential, secret)) {
      await failCredential(this.#parts, credential, "authorization_changed", holder);
      return { outcome: "moved" };
    }
    const answer = await this.#ask(authorization, secret);
    switch (answer.outcome) {
      case "token":
        this.#failures.delete(credential.id);
        await this.#store(credential, secret, answer.token, holder);
        return { outcome: "moved" };
      case "refused":
        // RFC 6749 §5.2: the person must authorize again; a generation that moved meanwhile is left alone.
        await failCredential(this.#parts, credential, reasonOf(answer.error, secret), holder);
        return { outcome: "moved" };
      case "unavailable":
        return this.#backOff(credential, holder, answer);
    }
  }

  async #ask(authorization: ProviderAuthorization, secret: OAuthSecret): Promise<TokenAnswer> {
    const { server, client, clientAuth, resource, facts, tls } = authorization;
    if (secret.grant) return askForOwn(this.#parts.world, authorization);
    const endpoint = (server.refresh_endpoint as string | undefined) ?? server.token_endpoint!;
    const target = { ...server, token_endpoint: endpoint };
    // RFC 9449 §5: a refresh token of ours is bound to the key of the tokens that came with it.
    const key = secret.proofKey && ProofKey.open(secret.proofKey);
    const options = {
      ...oauthOptions(this.#parts.world, endpoint, tls, key),
      // RFC 8707 §2.2: the token is for this upstream only.
      additionalParameters: resource === undefined ? undefined : { resource },
    };
    const token = secret.refreshToken!.reveal();
    try {
      const response = await proving(key, () =>
        oauth.refreshTokenGrantRequest(target, client, clientAuth, token, options),
      );
      const now = this.#parts.world.now().getTime();
      return await readTokenAnswer(server, client, response, now, "refresh", facts?.token, key);
    } catch (error) {
      if (error instanceof OutboundError) return { outcome: "unavailable", reason: error.reason };
      throw error;
    }
  }

  async #store(credential: Credential, old: OAuthSecret, token: Token, holder: string): Promise<void> {
    const now = this.#parts.world.now().getTime();
    // RFC 6749 §6: without a new refresh token the old one stays.
    const secret: OAuthSecret = {
      ...old,
      accessToken: token.accessToken,
      refreshToken: token.refreshToken ?? old.refreshToken,
      proofKey: token.proofKey,
      issuedAt: now,
    };
    const columns = {
      sealed: sealSecret(this.#parts.seal, credential, secret),
      expires_at: token.expiresAt ?? null,
      ...(token.scopes ? { scopes_json: JSON.stringify(token.scopes) } : {}),
      refresh_holder: null,
      refresh_until: null,
      refresh_after: null,
      last_refreshed_at: now,
      updated_at: now,
    };
    await this.#parts.database.transaction(async (tx) => {
      const stored = await tx
        .updateTable("credentials")
        .set({ ...columns, generation: credential.generation + 1 })
        .where("id", "=", credential.id)
        .where("generation", "=", credential.generation)
        .where("refresh_holder", "=", holder)
        .executeTakeFirst();
      if (stored.numUpdatedRows > 0n) return noteBinding(this.#parts, tx, credential);
      await this.#storeLate(tx, credential, old, columns, secret);
    });
  }

  /**
   * The row moved while we waited. One that still holds the refresh token we spent takes the answer, whatever became of
   * its standing: nobody may use an orphaned row, but when access returns it must not hold a dead token (ID-23). One that
   * was replaced keeps what it has, which may share our grant. One that is gone wants nothing any more (ID-27).
   */
  async #storeLate(
    tx: Tx,
    credential: Credential,
    spent: OAuthSecret,
    columns: LateColumns,
    secret: OAuthSecret,
  ): Promise<void> {
    for (let round = 0; round < LATE_ROUNDS; round++) {
      const row = (await findById(tx, credential.id)) ?? (await findRow(tx, credential));
      if (!row) break;
      if (row.id !== credential.id) return;
      const held = openSecret(this.#parts.seal, credential, row.sealed);
      if (held?.kind !== "oauth" || !holdsSame(held, spent)) return;
      const stored = await tx
        .updateTable("credentials")
        .set({ ...columns, generation: row.generation + 1 })
        .where("id", "=", row.id)
        .where("generation", "=", row.generation)
        .executeTakeFirst();
      // It may have another label by now.
      const binding = { ...credential, account: row.account };
      if (stored.numUpdatedRows > 0n) return noteBinding(this.#parts, tx, binding);
    }
    const { id: credentialId, owner, upstreamId, oauthConfigId } = credential;
    const disowned = { credentialId, owner, upstreamId, oauthConfigId, secret };
    await disownSecret(this.#parts, tx, disowned, credential.subject ?? null);
  }

  /** Transient: the credential stays active; the pause doubles, with jitter, and a `Retry-After` is honoured. */
  async #backOff(
    credential: Credential,
    holder: string,
    answer: { reason: string; retryAfterMs?: number } | undefined,
  ): Promise<Refreshed> {
    const failures = (this.#failures.get(credential.id) ?? 0) + 1;
    if (this.#failures.size > MOST_REMEMBERED) this.#failures.clear();
    this.#failures.set(credential.id, failures);
    const pause = Math.min(LONGEST_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** (failures - 1));
    const jittered = pause * (0.5 + this.#parts.world.random(1)[0]! / 512);
    const now = this.#parts.world.now().getTime();
    const refreshAfter = now + Math.ceil(Math.max(jittered, answer?.retryAfterMs ?? 0));
    await returnLease(this.#parts, credential, holder, refreshAfter);
    const { id, upstreamId } = credential;
    this.#parts.world.log.warn("credential.refresh_postponed", {
      credential: id,
      upstream: upstreamId,
      ...answer,
    });
    return { outcome: "later", refreshAfter };
  }
}

function holdsSame(held: OAuthSecret, spent: OAuthSecret): boolean {
  return (
    held.accessToken.reveal() === spent.accessToken.reveal() &&
    held.refreshToken?.reveal() === spent.refreshToken?.reveal()
  );
}

/** RFC 6749 §5.2, RFC 8707 §2. Another word of the provider's does not reach the wire. */
const REFUSALS = new Set([
  "invalid_grant",
  "invalid_client",
  "unauthorized_client",
  "invalid_request",
  "invalid_scope",
  "unsupported_grant_type",
  "invalid_target",
]);

function reasonOf(error: string, { grant }: OAuthSecret): string {
  return `${grant ? "token" : "refresh"}_${REFUSALS.has(error) ? error : "refused"}`;
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
