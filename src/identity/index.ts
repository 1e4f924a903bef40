/**
 * Who calls: principals, people and their dashboard sessions, passwords and management API tokens, the credential a
 * request presents, the guard of the management routes, and the first administrator. Virtual keys and the tokens we issue
 * live elsewhere; their resolvers are handed over in app.ts, and so are the audit trail and what a person may use by name.
 * What a principal may use is access/'s business.
 */
export { type ApiToken, ApiTokens } from "./api-tokens.ts";
export { conflictingCredentials, type Presented, presentedCredential } from "./credentials.ts";
export { Departed } from "./departed.ts";
export type { AttachedVirtualMcp, GroupGifts } from "./group-body.ts";
export type { Member } from "./group-rows.ts";
export {
  type Group,
  type GroupListener,
  type GroupPatch,
  Groups,
  type NewGroup,
  shownMoves,
} from "./groups.ts";
export { Guard, type KeyResolver } from "./guard.ts";
export { type Assertion, Identities, type Identity } from "./identities.ts";
export { JwtIdentities, type JwtIdentity, type JwtProof } from "./jwt-identities.ts";
export { LocalSignIn } from "./local-sign-in.ts";
export {
  looksAfter,
  personOf,
  ServiceAccounts,
  unknownServiceAccount,
} from "./machine-accounts.ts";
export { Memberships } from "./memberships.ts";
export { PasswordChanges } from "./password-changes.ts";
export { type PeopleRoutesParts, peopleRoutes } from "./people-routes.ts";
export { actorOf, actorWithJwt, isAdmin, ownerOf, type Principal } from "./principal.ts";
export { aboutUser, type RecordedLine, type Recorder } from "./recorder.ts";
export { localPath } from "./return-to.ts";
export { route } from "./route.ts";
export { identityRoutes } from "./routes.ts";
export { areaOf } from "./scopes.ts";
export { identitySealedColumns } from "./sealed-columns.ts";
export {
  type EndedSession,
  endEverySession,
  Sessions,
  type SignedIn,
  type SignIn,
  type SignInMethod,
  type StartedSession,
} from "./sessions.ts";
export { Setup } from "./setup.ts";
export { recordRefusal, type SignInParts, startSession } from "./sign-in.ts";
export type { SignInProvider } from "./sign-in-pages.ts";
export {
  type McpConfigBody,
  type McpConfigView,
  mcpConfigBody,
  type ResolvedConfigs,
  type UserConfigs,
} from "./user-body.ts";
export type { User } from "./user-rows.ts";
export { type AlsoUser, nameTaken, type UserListener, Users } from "./users.ts";
