/**
 * The keys that sealed values hang on: random data keys in the database, each wrapped by a key-encryption key of a
 * provider (environment or file, Vault or OpenBao, AWS KMS); rotating both while the gateway serves. Sealing itself is
 * `Seal` in base; what a value is sealed for is said by whoever stores it.
 */
export { type AwsKmsOptions, awsKms } from "./aws-kms.ts";
export { DataKeys, type DataKeysParts } from "./data-keys.ts";
export { isPosterns } from "./key-rows.ts";
export { LocalKeys } from "./local.ts";
export {
  type Overview,
  type OverviewParts,
  overviewOf,
  removable,
  type Verified,
  verifyAll,
} from "./overview.ts";
export { type KeyProvider, KeyProviderDown } from "./provider.ts";
export { type Rotated, type RotateOptions, type RotateParts, rotateKeys, type Step } from "./rotate.ts";
export { type VaultTransitOptions, vaultTransit } from "./vault-transit.ts";
