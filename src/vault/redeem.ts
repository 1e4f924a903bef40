import * as oauth from "oauth4webapi";
import { type Hidden, OutboundError, oauthOptions, ProofKey, proving } from "../base/index.ts";
import { askForOwn } from "./ask-for-own.ts";
import type { ProviderAuthorization, VaultParts } from "./parts.ts";
import { reasonOf, turnAfter } from "./refusals.ts";
import type { Secret } from "./secret.ts";
import { readTokenAnswer, type Token, type TokenAnswer, unanswered } from "./token-answer.ts";

export type OAuthSecret = Extract<Secret, { kind: "oauth" }>;

/** A credential that is about to be renewed, as its row says. */
export interface Redemption {
  upstreamId: string;
  authorization: ProviderAuthorization;
  secret: OAuthSecret;
  /** The newest access token was accepted by the upstream, as far as this replica knows. */
  hasWorked: boolean;
  /** An earlier refresh with the same token was sent, and what came of it is not known. */
  isUnanswered: boolean;
  /** When the tokens were issued; milliseconds since 1970. */
  issuedAt: number;
  /** Before every request after the first. False: it is not ours to send any more. */
  goOn(): Promise<boolean>;
}

/** `refused`: a person must consent again. `later`: the credential stays; `reason` is for the log. */
export type Redeemed =
  | { outcome: "token"; token: Token; spent?: Hidden }
  | { outcome: "refused"; reason: string }
  | { outcome: "later"; reason: string; retryAfterMs?: number; isLost?: boolean }
  | { outcome: "client_refused" }
  | { outcome: "moved" };

/** Exchanges refresh tokens at providers, and decides whose turn it is when one says no. */
export class Redeemer {
  readonly #parts: VaultParts;

  constructor(parts: VaultParts) {
    this.#parts = parts;
  }

  /** Never throws for what a provider does. */
  async redeem(redemption: Redemption): Promise<Redeemed> {
    const { authorization, secret } = redemption;
    const answer = await this.#ask(authorization, secret);
    return this.#judge(redemption, answer);
  }

  async #judge(redemption: Redemption, answer: TokenAnswer): Promise<Redeemed> {
    const { authorization, secret } = redemption;
    if (answer.outcome === "token") return answer;
    if (answer.outcome === "unavailable") return { ...answer, outcome: "later" };
    const turn = turnAfter(answer.error, authorization, secret);
    if (turn === "administrator") return { outcome: "client_refused" };
    if (turn === "registration") return this.#registerAgain(redemption);
    return answer.error === "invalid_grant" && !secret.grant
      ? this.#ended(redemption)
      : { outcome: "refused", reason: reasonOf(answer.error, secret) };
  }

  /** RFC 7591: the provider forgot us. A new registration, and the refresh token once more; it may be bound to the old one. */
  async #registerAgain(redemption: Redemption): Promise<Redeemed> {
    const { upstreamId, authorization, secret } = redemption;
    const { oauth: registrations } = this.#parts;
    const done = (await registrations.registerAgain?.(upstreamId, authorization.version)) ?? "refused";
    if (done === "later") return { outcome: "later", reason: "registering_again" };
    if (done === "refused") return { outcome: "client_refused" };
    const renewed = await registrations.recorded({ id: upstreamId });
    const isSame = renewed?.configId === authorization.configId && renewed.issuer === authorization.issuer;
    if (!isSame) return { outcome: "later", reason: "authorization_changed" };
    if (!(await redemption.goOn())) return { outcome: "moved" };
    const answer = await this.#ask(renewed, secret);
    if (answer.outcome === "token") return answer;
    if (answer.outcome === "unavailable") return { ...answer, outcome: "later" };
    return turnAfter(answer.error, renewed, secret) === "consent"
      ? { outcome: "refused", reason: "client_reregistered" }
      : { outcome: "client_refused" };
  }

  /**
   * RFC 6749 §5.2 `invalid_grant`. The refresh token before is worth one more request while nobody knows that the newest pair
   * ever worked: a provider that went back to an earlier state knows that one.
   */
  async #ended(redemption: Redemption): Promise<Redeemed> {
    const { authorization, secret, hasWorked } = redemption;
    const { previous } = secret;
    if (previous && !hasWorked) {
      if (!(await redemption.goOn())) return { outcome: "moved" };
      const answer = await this.#ask(authorization, { ...secret, ...previous });
      if (answer.outcome === "token") return { ...answer, spent: previous.refreshToken };
      if (answer.outcome === "unavailable") return { ...answer, outcome: "later" };
    }
    return { outcome: "refused", reason: endOf(redemption) };
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
      if (error instanceof OutboundError) return unanswered(error);
      throw error;
    }
  }
}

/** Why a grant that was good is not any more, as far as we can tell. */
function endOf({ authorization, isUnanswered, issuedAt }: Redemption): string {
  const { registeredAgainAt } = authorization;
  if (registeredAgainAt !== undefined && registeredAgainAt > issuedAt) return "client_reregistered";
  // It was sent once already, and what came back for it never reached us.
  if (isUnanswered) return "refresh_answer_lost";
  return "refresh_invalid_grant";
}
