/**
 * My connections: one person's own page of every upstream they may use, what is connected there, and which clients act
 * for them. It stores nothing: credentials are the vault's, the round trips connect/'s, the grants issuer/'s.
 */
export type { ConnectionsParts } from "./parts.ts";
export { connectionRoutes } from "./routes.ts";
