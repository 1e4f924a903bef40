/**
 * Who calls: principals, people and their dashboard sessions, passwords and management API tokens, the credential a
 * request presents, the guard of the management routes, and the first administrator. Virtual keys and the tokens we issue
 * live elsewhere; their resolvers are handed over in app.ts, and so are the audit trail and what a person may use by name.
 * What a principal may use is access/'s business.
 */
export { type ApiToken, ApiTokens } from "./api-tokens.ts";
export { conflictingCredentials, type Presented, presentedCredential } from "./credentials.ts";
export { Guard, type KeyResolver } from "./guard.ts";
export { PasswordChanges } from "./password-changes.ts";
export { type PeopleRoutesParts, peopleRoutes } from "./people-routes.ts";
export { actorOf, isAdmin, ownerOf, type Principal } from "./principal.ts";
export type { RecordedLine, Recorder } from "./recorder.ts";
export { route } from "./route.ts";
export { identityRoutes } from "./routes.ts";
export { areaOf } from "./scopes.ts";
export { endEverySession, Sessions, type SignedIn } from "./sessions.ts";
export { Setup } from "./setup.ts";
export {
  type McpConfigBody,
  type McpConfigView,
  mcpConfigBody,
  type ResolvedConfigs,
  type UserConfigs,
} from "./user-body.ts";
export type { User } from "./user-rows.ts";
export { type AlsoUser, type UserListener, Users } from "./users.ts";
