/**
 * The servers we stand in front of: their definitions, what discovery and registration found out about them, and how
 * they are doing. Speaking MCP to them is relay/'s business (the tool probe is handed over in app.ts), people's
 * credentials are vault/'s and connect/'s, and who may use which is access/'s.
 */
export {
  type AdministrationParts,
  administratorOwner,
  type DiscoveryFlow,
  discoveryOwner,
  type KeyConfigs,
} from "./administration-parts.ts";
export { type Challenge, readChallenge } from "./challenge.ts";
export { ConfigurationFault } from "./configuration-fault.ts";
export {
  checkDefinition,
  type Definition,
  type DefinitionBody,
  type DefinitionPatch,
  definitionBody,
  definitionPatch,
} from "./definition.ts";
export { definitionsFromMcpServers, mcpServersBody, reconcileFile } from "./from-file.ts";
export { checkForwardedHeader, checkHeader, isForwardable } from "./headers.ts";
export { type DiscoveryTarget, UpstreamOAuth, type UpstreamOAuthParts } from "./oauth.ts";
export type { ClientSource } from "./oauth-records.ts";
export { checkHeaderKeys, readHeaderValues } from "./per-user-headers.ts";
export { type PlainTokenAnswer, plainTokenAnswer } from "./plain-token-answer.ts";
export type { Profile, ProviderFacts, RevocationCall, TokenRules } from "./profile.ts";
export { Profiles, type ServerSigns, shippedProfiles } from "./profiles.ts";
export { redacted } from "./redaction.ts";
export type { RegisteredAgain } from "./register-again.ts";
export { type AuthMethod, clientAuthentication } from "./registration.ts";
export {
  type RevocationHttpRequest,
  type RevocationTokens,
  revocationRequest,
} from "./revocation-request.ts";
export { upstreamRoutes } from "./routes.ts";
export type { HeaderTarget, HeaderVerifier } from "./sample-headers.ts";
export { upstreamSealedColumns } from "./sealed-columns.ts";
export { type StdioCommand, stdioCommands } from "./stdio.ts";
export { tlsOf, tlsText } from "./tls-rows.ts";
export { type FeatureProbe, ToolLists, type ToolListsParts, type ToolProbe } from "./tool-lists.ts";
export type { ToolChange } from "./tool-versions.ts";
export {
  type AuthType,
  adminHeaderKeys,
  authorizationMoved,
  type Era,
  type Failure,
  type FeatureDefinition,
  type Features,
  type GrantType,
  isConnectable,
  type OAuthSettings,
  obtainsOwnToken,
  type Source,
  sameHeaderKeys,
  sharedOwner,
  type ToolDefinition,
  type ToolNews,
  type Upstream,
  type UpstreamListener,
  type UpstreamState,
} from "./upstream.ts";
export type { IdentityProvider, UpstreamAuthorization } from "./upstream-authorization.ts";
export { type Also, Upstreams, type UpstreamsParts } from "./upstreams.ts";
export type { KeyConfigView } from "./view.ts";
export { shownChanges } from "./visible-text.ts";
