import { z } from "zod";
import { Hidden, isSigningKey } from "../base/index.ts";
import { type SamlProvider, samlFault, samlProvider, samlShape } from "./saml-config.ts";

/** What a provider says of people, and what it means here. For SAML the names are those of attributes. */
export interface PersonMapping {
  claims: { email: string; name: string; groups?: string; role?: string };
  /** What values of the role claim mean. */
  roles: Readonly<Record<string, "admin" | "member">>;
  /** What values of the groups claim are called here; absent: as they are. */
  groups?: Readonly<Record<string, string>>;
  /** Whether somebody never seen gets an account. */
  createAccounts: boolean;
  /** Only addresses of these domains, which the provider does not call unverified. */
  emailDomains?: readonly string[];
  /** What must be said of everybody: a claim, and the values of which it has one. */
  requiredClaims: Readonly<Record<string, readonly string[]>>;
  /** The claim that has the `externalId` of the account that a provisioning client made for the person. */
  scimId?: string;
}

export interface ProviderBase {
  /** A part of its addresses here; `sso:<id>` where it is said who vouched for something. */
  id: string;
  /** What people read on its button. */
  name: string;
  /** What it calls itself, exactly. Of SAML: the entity id. */
  issuer: string;
  mapping: PersonMapping;
}

export interface OidcProvider extends ProviderBase {
  type: "oidc";
  clientId: string;
  /** Without it and without a key the client is public. */
  clientSecret?: Hidden;
  /** PEM or JWK: the client proves itself with an assertion (RFC 7523 §2.2). */
  privateKey?: Hidden;
  privateKeyId?: string;
  scopes: readonly string[];
}

export interface SsoSettings {
  /** Whether passwords and passkeys of this gateway let anybody in. */
  localSignIn: boolean;
  providers: readonly SsoProvider[];
}

const claim = z.string().min(1).max(200);
const value = z.string().min(1).max(256);

const mappingShape = {
  claims: z
    .strictObject({
      email: claim.default("email"),
      name: claim.default("name"),
      groups: claim.optional(),
      role: claim.optional(),
    })
    .prefault({}),
  roles: z.record(value, z.enum(["admin", "member"])).default({}),
  groups: z.record(value, value).optional(),
  create_accounts: z.boolean().default(true),
  email_domains: z
    .array(
      z
        .string()
        .regex(/^[^@\s]+\.[^@\s]+$/, "is not a domain")
        .toLowerCase(),
    )
    .min(1)
    .optional(),
  required_claims: z.record(claim, z.array(value).min(1)).default({}),
  scim_id: claim.optional(),
};

/** One shape for every type, so that a slip in a key is told with the nearest known one. */
const providerEntry = z.strictObject({
  id: z
    .string()
    .regex(/^[a-z0-9][a-z0-9-]{0,39}$/, "is made of small letters, digits and hyphens, 40 at most"),
  type: z.enum(["oidc", "saml"]),
  name: z.string().min(1).max(60),
  issuer: z.string().min(1).max(1024),
  client_id: z.string().min(1).max(512).optional(),
  client_secret: z.string().min(1).max(4096).optional(),
  private_key: z.string().min(1).max(16_384).optional(),
  private_key_id: z.string().min(1).max(512).optional(),
  scopes: z.array(z.string().regex(/^[\x21\x23-\x5b\x5d-\x7e]+$/, "is not a scope")).optional(),
  ...samlShape,
  ...mappingShape,
});

type ProviderEntry = z.output<typeof providerEntry>;

/** The key `sso` of the configuration file. */
export const ssoConfig = z
  .strictObject({
    local_sign_in: z.boolean().default(true),
    providers: z
      .array(
        providerEntry.transform((entry, context): SsoProvider => {
          const fault = providerFault(entry);
          if (fault) context.addIssue({ code: "custom", message: fault });
          return entry.type === "saml" ? samlProvider(baseOf(entry), entry) : oidcProvider(entry);
        }),
      )
      .max(50)
      .default([]),
  })
  .transform((entry, context): SsoSettings => {
    const { local_sign_in: localSignIn, providers } = entry;
    for (const key of ["id", "issuer"] as const) {
      const twice = providers.find((one, at) => providers.findIndex((other) => other[key] === one[key]) < at);
      if (twice) context.addIssue({ code: "custom", message: `two providers have the ${key} ${twice[key]}` });
    }
    if (!localSignIn && providers.length === 0)
      context.addIssue({ code: "custom", message: "local_sign_in is false and there is no provider" });
    return { localSignIn, providers };
  });

/** Keys that only the other type knows would have no effect. */
const foreignKeys = {
  saml: ["client_id", "client_secret", "private_key_id", "scopes"],
  oidc: Object.keys(samlShape),
} as const;

function providerFault(entry: ProviderEntry): string | undefined {
  const foreign = foreignKeys[entry.type].find((key) => key in entry);
  if (foreign) return `${foreign} has no meaning for a provider of type ${entry.type}`;
  return entry.type === "saml" ? samlFault(entry) : oidcFault(entry);
}

function baseOf(entry: ProviderEntry): ProviderBase {
  const { id, name, issuer } = entry;
  return { id, name, issuer, mapping: mappingOf(entry) };
}

function oidcFault(entry: ProviderEntry): string | undefined {
  const url = URL.parse(entry.issuer);
  if (!url || !/^https?:$/.test(url.protocol) || url.search !== "" || url.hash !== "")
    return "issuer must be the provider's address, as its metadata says it";
  if (entry.client_id === undefined) return "a provider of type oidc needs client_id";
  if (entry.client_secret !== undefined && entry.private_key !== undefined)
    return "name client_secret or private_key, not both";
  if (entry.private_key !== undefined && !isSigningKey(entry.private_key))
    return "private_key is not one to sign with: PEM (PKCS #8) or the JSON of a private JWK; RSA with 2048 bits, P-256, P-384, P-521 or Ed25519";
  return undefined;
}

function oidcProvider(entry: ProviderEntry): OidcProvider {
  const { client_secret: secret, private_key: key } = entry;
  return {
    ...baseOf(entry),
    type: "oidc",
    clientId: entry.client_id ?? "",
    clientSecret: secret === undefined ? undefined : new Hidden(secret),
    privateKey: key === undefined ? undefined : new Hidden(key),
    privateKeyId: entry.private_key_id,
    scopes: [...new Set(["openid", ...(entry.scopes ?? ["email", "profile"])])],
  };
}

export function mappingOf(entry: ProviderEntry): PersonMapping {
  return {
    claims: entry.claims,
    roles: entry.roles,
    groups: entry.groups,
    createAccounts: entry.create_accounts,
    emailDomains: entry.email_domains,
    requiredClaims: entry.required_claims,
    scimId: entry.scim_id,
  };
}

export type SsoProvider = OidcProvider | SamlProvider;
