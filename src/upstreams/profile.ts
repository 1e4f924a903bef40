import { z } from "zod";

/**
 * What is particular about one provider's authorization servers, as data: the schema of `profiles/<provider>.json`. The
 * few functions that apply it know no provider by name (docs/decisions/0009-provider-profiles.md).
 */

const httpsUrl = z.string().regex(/^https:\/\/[a-z0-9.-]+(\/[^\s?#]*)?$/, "an https URL without query");
/** Where people read: may have a query or fragment. */
const page = z.string().regex(/^https:\/\/\S+$/, "an https URL");
/** `{issuer}` and `{origin}` stand for the issuer that was found, without a slash at the end, and its origin. */
const endpoint = z.union([
  httpsUrl,
  z.string().regex(/^\{(issuer|origin)\}\/[^\s?#]*$/, "https or {issuer}/…"),
]);
/** `*` is one or more labels at the start of the host, or one segment of the path. */
const issuerPattern = z
  .string()
  .regex(
    /^https:\/\/(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)+(\/(\*|[\w.~-]+))*\/?$/,
    "https, `*` only as first label or segment",
  );
/** A product that people run on hosts of their own, known by its paths alone: only addresses of that host may count then. */
const anyHostPattern = z.string().regex(/^https:\/\/\*(\/(\*|[\w.~-]+))+$/);
const member = z.string().regex(/^\w{1,64}$/);
const scope = z.string().regex(/^[\x21\x23-\x5b\x5d-\x7e]{1,256}$/);

/** RFC 6749, 7636, 8707 and 9207 parameters are ours: a profile must not be able to weaken a request. */
const reserved = new Set([
  "response_type",
  "response_mode",
  "client_id",
  "client_secret",
  "redirect_uri",
  "state",
  "nonce",
  "code_challenge",
  "code_challenge_method",
  "resource",
  "scope",
  "request",
  "request_uri",
]);
const parameterName = member.refine(
  (name) => !reserved.has(name),
  "a parameter that the gateway sets itself",
);

const endpoints = z.strictObject({
  authorization_endpoint: endpoint.optional(),
  token_endpoint: endpoint.optional(),
  /** Where refresh tokens go, when it is not the token endpoint. */
  refresh_endpoint: endpoint.optional(),
  registration_endpoint: endpoint.optional(),
  revocation_endpoint: endpoint.optional(),
});

const tokenRules = z.strictObject({
  /** The member that holds the person's token, where it is not the answer itself. */
  at: member.optional(),
  /** The answer is a success only when this member is this value, whatever the status. */
  success: z.strictObject({ member, is: z.boolean() }).optional(),
  /** Which member holds the error word; `error` unless said. */
  error_member: member.optional(),
  /** The provider's error words in those of RFC 6749 §5.2. */
  errors: z.record(z.string().max(64), z.string().regex(/^[a-z_]{1,64}$/)).optional(),
  /** Values of `token_type` that mean a bearer token here. */
  bearer_types: z.array(z.string().min(1).max(32)).optional(),
  scope_separator: z.literal(",").optional(),
  /** Members that name the account, outermost first; several paths are joined with `/`. */
  account: z.array(z.array(member).min(1).max(4)).min(1).max(3).optional(),
});

const revocation = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("rfc7009") }),
  z.strictObject({ kind: z.literal("none"), instead: z.string().max(300).optional() }),
  z.strictObject({
    kind: z.literal("request"),
    method: z.enum(["POST", "DELETE"]),
    /** `{client_id}`, `{access_token}`, `{refresh_token}` and `{token}` (the refresh token, else the access token). */
    url: z.union([
      z.string().regex(/^https:\/\/[a-z0-9.-]+\/[\w{}/.-]*$/),
      z.string().regex(/^\{(issuer|origin)\}\/[\w{}/.-]*$/),
    ]),
    authentication: z.enum(["client_secret_basic", "client_secret_post", "bearer", "none"]),
    body: z.enum(["form", "json"]).optional(),
    members: z.record(member, z.string().max(64)).optional(),
    headers: z.record(z.string().regex(/^[a-z-]{1,64}$/), z.string().regex(/^[\x21-\x7e]{1,64}$/)).optional(),
    success: z.strictObject({ member, is: z.boolean() }).optional(),
  }),
]);

const serverShape = z.strictObject({
  about: z.string().min(1).max(200),
  issuers: z.array(z.union([issuerPattern, anyHostPattern])).max(20),
  /** `issuer` values that its metadata carries instead of the address it was asked for (RFC 8414 §3.3). */
  metadata_issuers: z.array(z.string().max(256)).optional(),
  endpoints: endpoints.optional(),
  /** S256 is supported though the metadata does not say so, or there is none. */
  pkce: z.literal("unannounced").optional(),
  /** The server refuses requests with `resource` (RFC 8707). */
  resource: z.literal("omit").optional(),
  scope: z
    .strictObject({
      separator: z.literal(",").optional(),
      parameter: parameterName.optional(),
      /** Asked for as well where the upstream names scopes and the administrator none. */
      add: z.array(scope).max(20).optional(),
    })
    .optional(),
  authorize: z.record(parameterName, z.string().min(1).max(256)).optional(),
  client: z
    .strictObject({
      /** `by_hand`: an administrator registers the gateway there; `dynamic`: RFC 7591. */
      registration: z.enum(["by_hand", "dynamic"]).optional(),
      authentication: z.enum(["client_secret_basic", "client_secret_post"]).optional(),
    })
    .optional(),
  token: tokenRules.optional(),
  lifetime: z
    .strictObject({ access: z.string().max(200).optional(), refresh: z.string().max(200).optional() })
    .optional(),
  revocation: revocation.optional(),
});

const server = serverShape.refine(
  ({ issuers, endpoints, revocation }) =>
    !issuers.some((issuer) => anyHostPattern.safeParse(issuer).success) ||
    ![...Object.values(endpoints ?? {}), revocation?.kind === "request" ? revocation.url : ""].some(
      (address) => address?.startsWith("https:"),
    ),
  "a server known on any host may name addresses of that host only",
);

export const profileSchema = z.strictObject({
  provider: z.string().regex(/^[a-z0-9_]{1,40}$/),
  name: z.string().min(1).max(60),
  /** Rises with every change. */
  version: z.int().positive(),
  /** When its facts were last compared with the sources. */
  date: z.iso.date(),
  servers: z.array(server).min(1).max(5),
  administrator: z.strictObject({
    register_at: page.optional(),
    redirect_uri: z.string().max(300).optional(),
    notes: z.array(z.string().max(400)).max(8).optional(),
  }),
  sources: z.array(page).min(1).max(12),
});

export type Profile = z.output<typeof profileSchema>;
export type ProfileServer = Profile["servers"][number];
export type TokenRules = z.output<typeof tokenRules>;
export type RevocationRule = z.output<typeof revocation>;
export type RevocationCall = Extract<RevocationRule, { kind: "request" }>;

/** A profile held against one authorization server: addresses are whole, and those that do not count there are gone. */
export interface ProviderFacts extends Omit<ProfileServer, "issuers"> {
  provider: string;
  name: string;
  administrator: Profile["administrator"];
}
