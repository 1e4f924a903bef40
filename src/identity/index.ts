/**
 * Who calls: principals, people and their dashboard sessions, the credential a request presents, the guard of the
 * management routes, and the first administrator. Virtual keys and the tokens we issue live elsewhere; their resolvers
 * are handed over in app.ts. What a principal may use is access/'s business.
 */
export { conflictingCredentials, type Presented, presentedCredential } from "./credentials.ts";
export { Guard, type KeyResolver } from "./guard.ts";
export { actorOf, isAdmin, ownerOf, type Principal } from "./principal.ts";
export { identityRoutes, route } from "./routes.ts";
export { Sessions, type SignedIn } from "./sessions.ts";
export { Setup } from "./setup.ts";
export { type AlsoUser, type User, type UserListener, Users } from "./users.ts";
