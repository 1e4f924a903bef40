/**
 * What every part stands on: the outside world as values (clock, randomness, the one guarded way out), refusals
 * (`Problem`), secrets in memory (`Hidden`) and at rest (`Seal`, `KeyedHash`), ids and owners. It knows nothing of MCP,
 * OAuth endpoints, tables or routes.
 */
export { parseAllowList } from "./address.ts";
export { readBounded } from "./bounded-body.ts";
export { canonicalJson, fingerprint } from "./canonical-json.ts";
export { isSigningKey, privateKeyJwt } from "./client-key.ts";
export { Clock } from "./clock.ts";
export { type FaultPoint, faultPoints } from "./fault-points.ts";
export type { Gone } from "./gone.ts";
export { type OutboundOptions, openOutbound } from "./guarded.ts";
export { KeyedHash, sha256 } from "./hash.ts";
export { Hidden } from "./hidden.ts";
export { newId, newSecret } from "./ids.ts";
export { JsonFault } from "./json-fault.ts";
export { type Log, type LogLevel, openLog } from "./log.ts";
export { type OAuthOptions, oauthOptions, proving } from "./oauth-client.ts";
export type {
  AnswerBody,
  EgressPolicy,
  Outbound,
  OutboundAnswer,
  OutboundFetchInit,
  OutboundRequest,
} from "./outbound.ts";
export { OutboundError, type OutboundFault, outboundFailure } from "./outbound-error.ts";
export { accountLabel, type Owner, type OwnerMode, sameOwner } from "./owner.ts";
export { type Fields, Problem, type ProblemDetails, type ProblemKind, problemStatus } from "./problem.ts";
export { ProofKey } from "./proof-key.ts";
export { type Prover, proveWith } from "./prover.ts";
export {
  type DataKey,
  dataKeyId,
  type KeyRing,
  Seal,
  type SealContext,
  SealFault,
  sealedHeader,
} from "./seal.ts";
export { Serials } from "./serials.ts";
export { type Settings, type ToolPinPolicy, toolPinPolicies } from "./settings.ts";
export {
  isRawNumber,
  type Json,
  type JsonObject,
  parseStrictJson,
  stringifyJson,
} from "./strict-json.ts";
export { sameTls, Tls, type TlsSettings } from "./tls.ts";
export type { Vouched } from "./vouched.ts";
export { systemTime, systemWorld, type World } from "./world.ts";
