import { isAbsolute } from "node:path";
import { z } from "zod";
import type { Hidden } from "../base/index.ts";
import { checkPrivateKey } from "./client-key.ts";
import { checkExchange } from "./exchange-definition.ts";
import { checkUrl, invalid, misplaced } from "./invalid.ts";
import { shippedProfiles } from "./profiles.ts";
import { keepSecret } from "./redaction.ts";
import {
  authMethods,
  grantTypes,
  type OAuthSettings,
  requestedTokenTypes,
  subjectTokenTypes,
  type Upstream,
} from "./upstream.ts";

export const address = z.string().min(1).max(2048);

/** `oauth_config` of contract section 7. */
export const oauthConfig = z.strictObject({
  client_id: z.string().min(1).max(2048).nullish(),
  client_secret: z.string().max(4096).nullish(),
  grant_type: z.enum(grantTypes).nullish(),
  token_endpoint_auth_method: z.enum(authMethods).nullish(),
  /** PEM or a JWK, as text or as the object it is. */
  private_key: z.union([z.string().max(16_384), z.record(z.string().max(64), z.unknown())]).nullish(),
  private_key_id: z.string().min(1).max(256).nullish(),
  authorize_url: address.nullish(),
  token_url: address.nullish(),
  registration_url: address.nullish(),
  revocation_url: address.nullish(),
  // RFC 6749 §3.3: scope-token.
  scopes: z
    .array(z.string().regex(/^[\x21\x23-\x5b\x5d-\x7e]{1,256}$/, "a scope has no spaces or quotes"))
    .max(100)
    .nullish(),
  resource: z.string().max(2048).nullish(),
  redirect: z.enum(["own", "shared"]).nullish(),
  profile: z
    .string()
    .max(40)
    .refine(
      (provider) => shippedProfiles().has(provider),
      "no profile has this name; see docs/guide/providers.md",
    )
    .nullish(),
  dpop: z.boolean().nullish(),
  /** What is shown for a token of the gateway's own: a workload's JWT, or an identity assertion that is exchanged first. */
  assertion: z.string().max(16_384).nullish(),
  assertion_file: z.string().min(1).max(4096).nullish(),
  subject_token_type: z.enum(subjectTokenTypes).nullish(),
  /** Whom the token is for that a caller's own is exchanged for, and what it is (RFC 8693 §2.1). */
  audience: z.string().min(1).max(2048).nullish(),
  requested_token_type: z.enum(requestedTokenTypes).nullish(),
  /** Where the identity assertion is exchanged, and who we are there. */
  idp: z
    .strictObject({
      token_url: address,
      client_id: z.string().min(1).max(2048),
      client_secret: z.string().max(4096).nullish(),
    })
    .nullish(),
  /** Read-only, so that what was read can be sent back. */
  redirect_uri: z.string().max(2048).optional(),
});

/** A secret as sent: `keep` is what is stored, `null` none. */
export type GivenSecret = Hidden | "keep" | null;

/** The secrets of an `oauth_config`, beside the settings. */
export interface OAuthSecrets {
  clientSecret: GivenSecret;
  /** Signs client assertions. */
  privateKey: GivenSecret;
  /** Shown for a token of the gateway's own. */
  assertion?: GivenSecret;
  /** Of the client at the identity provider. */
  idpSecret?: GivenSecret;
}

export type OAuthConfig = z.output<typeof oauthConfig>;

/** The kinds of upstream at whose authorization server the gateway is a client. */
export type OAuthType = "oauth" | "per_user_oauth" | "token_exchange";

/** Checks what the schema cannot. `isFromFile`: the operator of the machine says so. Throws `Problem` with the field at fault. */
export function checkOAuth(
  config: OAuthConfig,
  authType: OAuthType,
  previous: Upstream | undefined,
  isFromFile: boolean,
): OAuthSecrets & { oauth: OAuthSettings } {
  const at = "oauth_config.";
  const had = previous?.oauth;
  const assertion = keepSecret(config.assertion, had?.hasAssertion ?? false, `${at}assertion`);
  const hadIdpSecret = had?.idp?.hasClientSecret ?? false;
  const idpSecret = keepSecret(config.idp?.client_secret, hadIdpSecret, `${at}idp.client_secret`);
  const clientSecret = keepSecret(config.client_secret, had?.hasClientSecret ?? false, `${at}client_secret`);
  const privateKey = keepSecret(textOf(config.private_key), had?.hasPrivateKey ?? false, `${at}private_key`);
  if (privateKey !== null && privateKey !== "keep") checkPrivateKey(privateKey.reveal());
  checkClient(config, authType, { clientSecret, privateKey });
  const exchanges = authType === "token_exchange";
  if (exchanges) checkExchange(config, { clientSecret, privateKey });
  else checkAssertion(config, authType, assertion, isFromFile);
  const endpoint = (field: "authorize_url" | "token_url" | "registration_url" | "revocation_url") =>
    config[field] ? checkUrl(config[field], `oauth_config.${field}`).href : undefined;
  return {
    clientSecret,
    privateKey,
    assertion,
    idpSecret,
    oauth: {
      grantType: config.grant_type ?? (exchanges ? "token_exchange" : undefined),
      clientId: config.client_id ?? undefined,
      hasClientSecret: clientSecret !== null,
      ...(privateKey === null ? {} : { hasPrivateKey: true }),
      privateKeyId: config.private_key_id ?? undefined,
      authMethod: config.token_endpoint_auth_method ?? undefined,
      authorizeUrl: endpoint("authorize_url"),
      tokenUrl: endpoint("token_url"),
      registrationUrl: endpoint("registration_url"),
      revocationUrl: endpoint("revocation_url"),
      scopes: config.scopes ?? [],
      resource: checkResource(config.resource),
      redirect: config.redirect ?? "own",
      profile: config.profile ?? undefined,
      dpop: config.dpop ?? undefined,
      ...(assertion === null ? {} : { hasAssertion: true }),
      assertionFile: config.assertion_file ?? undefined,
      subjectTokenType: config.subject_token_type ?? undefined,
      ...(exchanges ? { exchangesCallers: true } : {}),
      audience: config.audience ?? undefined,
      requestedTokenType: config.requested_token_type ?? undefined,
      idp: config.idp
        ? {
            tokenUrl: checkUrl(config.idp.token_url, `${at}idp.token_url`).href,
            clientId: config.idp.client_id,
            hasClientSecret: idpSecret !== null,
          }
        : undefined,
    },
  };
}

/** Which of the two proofs a given client has, and whether that is enough for what it is to do. */
function checkClient(
  config: OAuthConfig,
  authType: OAuthType,
  { clientSecret, privateKey }: OAuthSecrets,
): void {
  const isAlone = config.grant_type === "client_credentials";
  const method = config.token_endpoint_auth_method;
  const proof = clientSecret ?? privateKey;
  if ((proof !== null || isAlone || method) && !config.client_id) {
    const message =
      "A client_secret, a private_key, a token_endpoint_auth_method and client_credentials need a client_id.";
    throw invalid("client_id_required", message, "oauth_config.client_id");
  }
  if (isAlone && authType !== "oauth") {
    const message = "grant_type client_credentials goes with auth_type oauth only. Leave it out.";
    throw invalid("unsupported_field", message, "oauth_config.grant_type");
  }
  const isKey = method === "private_key_jwt" || (!method && clientSecret === null && privateKey !== null);
  const needed = isKey ? "private_key" : "client_secret";
  if ((method || isAlone) && (isKey ? privateKey : clientSecret) === null) {
    const what = method ? `token_endpoint_auth_method ${method}` : "grant_type client_credentials";
    const or = method ? "" : " or a private_key";
    throw invalid("client_secret_required", `${what} needs a ${needed}${or}.`, `oauth_config.${needed}`);
  }
}

/** What a grant shows: needed by the two that do, and of no use to others. */
function checkAssertion(
  config: OAuthConfig,
  authType: OAuthType,
  assertion: GivenSecret,
  isFromFile: boolean,
): void {
  const { grant_type, assertion_file, subject_token_type, idp } = config;
  const shows = grant_type === "jwt_bearer" || grant_type === "token_exchange";
  if (shows && authType !== "oauth")
    throw misplaced(`grant_type ${grant_type}`, "auth_type oauth", "grant_type");
  if (!shows && (assertion !== null || assertion_file))
    throw misplaced("assertion", "grant_type jwt_bearer and token_exchange", "assertion");
  if (config.audience || config.requested_token_type)
    throw misplaced("audience", "auth_type token_exchange", "audience");
  if (grant_type !== "token_exchange" && (idp || subject_token_type))
    throw misplaced("idp", "grant_type token_exchange", "idp");
  // R25: over the network nobody makes the gateway read its machine's files and send them away.
  if (assertion_file && !isFromFile)
    throw misplaced("assertion_file", "an MCP client of the configuration file", "assertion_file");
  if (assertion_file && !isAbsolute(assertion_file))
    throw invalid("invalid_request", "Give the absolute path.", "oauth_config.assertion_file");
  if (!shows) return;
  if ((assertion === null) === !assertion_file) {
    const message =
      "Give either the assertion or, in the configuration file, the assertion_file that holds it.";
    throw invalid("assertion_required", message, "oauth_config.assertion");
  }
  if (grant_type === "token_exchange" && !idp) {
    const message = "token_exchange needs idp: the token_url and the client_id at the identity provider.";
    throw invalid("idp_required", message, "oauth_config.idp");
  }
}

function textOf(key: OAuthConfig["private_key"]): string | null | undefined {
  return typeof key === "object" && key !== null ? JSON.stringify(key) : key;
}

function checkResource(resource: string | null | undefined): string | undefined {
  if (resource === null || resource === undefined || resource === "") return resource ?? undefined;
  // RFC 8707 §2: an absolute URI without a fragment. Kept as written: servers compare it byte by byte.
  const parsed = URL.parse(resource);
  if (!parsed || resource.includes("#"))
    throw invalid("invalid_url", "Give an absolute URI without a fragment.", "oauth_config.resource");
  return resource;
}
