/**
 * The credentials of people at upstreams: sealed at rest, opened for one outgoing request, refreshed once however many
 * calls wait, moved, orphaned, revoked and told to the provider. Nobody else sees a secret as a value. How a person gives
 * us a credential is connect/'s business; whether somebody may use an upstream is access/'s.
 */

export type { AccountLabels } from "./account-labels.ts";
export { releaseLeases } from "./after-restore.ts";
export { CallerTokens, type Exchanging } from "./caller-tokens.ts";
export {
  bindingKey,
  type Credential,
  type CredentialStatus,
  type NeedsUserReason,
  type NewSecret,
  type Opened,
  waitsForScopes,
} from "./credential.ts";
export type { Account, Held, HeldData } from "./held.ts";
export type { ProviderAuthorization, VaultParts } from "./parts.ts";
export type { PutCredential } from "./put.ts";
export { vaultSealedColumns } from "./secret.ts";
export {
  findSession,
  listSessions,
  type SessionFilter,
  type SessionRow,
  type SessionScope,
} from "./session-list.ts";
export { readTokenAnswer, type Token, type TokenAnswer } from "./token-answer.ts";
export { Vault } from "./vault.ts";
export type { Wanted } from "./wanted-scopes.ts";
