/**
 * SCIM 2.0 (RFC 7643, RFC 7644): what an identity provider says of people and groups, done to the accounts and groups of this gateway;
 * its routes, resources, filters and patches. What an account is, and what ends with it, is identity's business; what a group gives,
 * access's. Where sign-in providers stand is handed over in app.ts.
 */
export { type ScimConfig, scimConfig } from "./config.ts";
export type { IdentityRule } from "./parts.ts";
export { scimRoutes } from "./routes.ts";
