/**
 * Our authorization server, toward MCP clients: discovery documents, registration and client documents, authorize, the
 * consent pages and their submit, tokens, revocation, and the grants that come of it. It leaves who a person is to
 * identity/, keys and rules to access/, upstream credentials to vault/ (a consent's are handed over inside submit), and
 * the round trip to a provider to connect/, which asks `consentGate` first.
 */
export { endStaleGrants } from "./after-restore.ts";
export type { ConsentGate, ConsentPass } from "./consent-gate.ts";
export type { Authenticated, GrantPrincipal } from "./grant-cache.ts";
export { DEVICE_GRANT } from "./grant-names.ts";
export type { OwnGrant } from "./grant-routes.ts";
export { Issuer } from "./issuer.ts";
export {
  enterpriseAuthorizationConfig,
  type MachineTrust,
  machineTrust,
  workloadIdentityConfig,
} from "./machine-config.ts";
export type { IssuerParts, SignedIn } from "./parts.ts";
export { mcpResource, ownResource, serves } from "./resource.ts";
export { issuerSealedColumns } from "./sealed-columns.ts";
