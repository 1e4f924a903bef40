import { invalid, misplaced } from "./invalid.ts";
import type { OAuthConfig, OAuthSecrets } from "./oauth-definition.ts";

const AT = "oauth_config.";
/** Of no use where nobody consents and nothing is looked for. */
const FOREIGN = [
  "authorize_url",
  "registration_url",
  "revocation_url",
  "profile",
  "dpop",
  "assertion",
  "assertion_file",
  "idp",
] as const;
/** What a JWT can be (RFC 8693 §3). */
const SUBJECTS = ["access_token", "id_token", "jwt"];

/**
 * Checks the `oauth_config` of `auth_type` token_exchange. The token endpoint is always the administrator's: no upstream may
 * name where its callers' tokens are sent. Throws `Problem` with the field at fault.
 */
export function checkExchange(
  config: OAuthConfig,
  { clientSecret, privateKey }: Pick<OAuthSecrets, "clientSecret" | "privateKey">,
): void {
  for (const field of FOREIGN)
    if (config[field]) throw misplaced(field, "another auth_type than token_exchange", field);
  const { grant_type = "token_exchange", subject_token_type: subject } = config;
  if (grant_type !== "token_exchange" && grant_type !== "jwt_bearer" && grant_type !== null)
    throw misplaced(`grant_type ${grant_type}`, "another auth_type than token_exchange", "grant_type");
  if (!config.token_url)
    throw invalid("token_url_required", needs("the token endpoint that exchanges tokens"), `${AT}token_url`);
  if (!config.client_id) throw invalid("client_id_required", needs("a client_id there"), `${AT}client_id`);
  if (subject && !SUBJECTS.includes(subject))
    throw misplaced(`subject_token_type ${subject}`, "auth_type oauth", "subject_token_type");
  if (grant_type === "jwt_bearer") checkOnBehalfOf(config, clientSecret !== null || privateKey !== null);
}

/** The grant has no other parameters, and nobody may use it who is not a confidential client. */
function checkOnBehalfOf(config: OAuthConfig, isProven: boolean): void {
  for (const field of ["audience", "subject_token_type", "requested_token_type"] as const)
    if (config[field]) throw misplaced(field, "grant_type token_exchange", field);
  if (!isProven)
    throw invalid("client_secret_required", needs("a client_secret or a private_key"), `${AT}client_secret`);
  if ((config.scopes ?? []).length === 0)
    throw invalid("scopes_required", needs("the scopes at the upstream"), `${AT}scopes`);
}

function needs(what: string): string {
  return `auth_type token_exchange needs ${what}.`;
}
