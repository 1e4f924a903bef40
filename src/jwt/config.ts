import { createPublicKey } from "node:crypto";
import { z } from "zod";
import { Hidden } from "../base/index.ts";
import { publicKeys } from "./key-set.ts";
import {
  asymmetricAlgorithms,
  type IssuerKeys,
  secretAlgorithms,
  type TrustedIssuer,
} from "./trusted-issuer.ts";

const MAX_SKEW_S = 60;
/** RFC 7518 §3.2: a key as long as the hash at least. */
const SECRET_BYTES: Readonly<Record<string, number>> = { HS256: 32, HS384: 48, HS512: 64 };

const claim = z.string().min(1).max(200);

/** What an issuer's entry in the configuration file says about its keys; for every key of the file that trusts issuers. */
export const trustedIssuerShape = {
  issuer: z.string().min(1).max(1024),
  jwks_url: z.url({ protocol: /^https?$/ }).optional(),
  jwks: z.record(z.string(), z.unknown()).optional(),
  public_key: z.string().min(1).max(16_384).optional(),
  algorithms: z
    .array(z.enum([...asymmetricAlgorithms, ...secretAlgorithms]))
    .min(1)
    .optional(),
  clock_skew_s: z.number().min(0).max(MAX_SKEW_S).default(30),
};

const trusted = z.object({ ...trustedIssuerShape, secret: z.string().optional() });
type TrustedEntry = Omit<z.output<typeof trusted>, "issuer"> & { issuer: string };

/** What is wrong with the keys of an entry, in words for the operator. */
export function trustedIssuerFault(entry: TrustedEntry): string | undefined {
  const { jwks_url, jwks, public_key, secret, algorithms } = entry;
  const given = [jwks_url, jwks, public_key, secret].filter((one) => one !== undefined);
  if (given.length !== 1)
    return "name exactly one of jwks_url, jwks and public_key, or a secret where it may have one";
  const needed = Math.max(...(algorithms ?? []).map((name) => SECRET_BYTES[name] ?? 0), 32);
  if (secret !== undefined && Buffer.byteLength(secret) < needed)
    return `secret is shorter than ${needed} bytes`;
  if (jwks !== undefined && !isKeySet(jwks)) return "jwks is not a set of public keys (RFC 7517)";
  if (public_key !== undefined && !isPublicKey(public_key)) return "public_key is not a public key as PEM";
  // RFC 8725 §2.1: a public key is no secret.
  const possible: readonly string[] = secret === undefined ? asymmetricAlgorithms : secretAlgorithms;
  const other = algorithms?.find((name) => !possible.includes(name));
  if (!other) return undefined;
  return `algorithm ${other} does not go with ${secret === undefined ? "a public key" : "a secret"}`;
}

/** A checked entry as what `JwtVerifier` takes. */
export function trustedIssuerOf(entry: TrustedEntry): TrustedIssuer {
  const { issuer, algorithms, secret, clock_skew_s: skew } = entry;
  const usual = secret === undefined ? ["RS256", "ES256"] : ["HS256"];
  return { issuer, keys: keysOf(entry), algorithms: algorithms ?? usual, clockSkewMs: skew * 1000 };
}

function keysOf({ jwks_url, jwks, public_key, secret }: TrustedEntry): IssuerKeys {
  if (jwks_url !== undefined) return { jwksUrl: jwks_url };
  if (jwks !== undefined) return { jwks };
  return public_key === undefined ? { secret: new Hidden(secret ?? "") } : { publicKey: public_key };
}

function isKeySet(value: unknown): boolean {
  try {
    return publicKeys(value).length > 0;
  } catch {
    return false;
  }
}

function isPublicKey(pem: string): boolean {
  if (/PRIVATE KEY/.test(pem)) return false;
  try {
    return createPublicKey(pem).type === "public";
  } catch {
    return false;
  }
}

/** As whom a token may count. */
export const jwtKinds = ["vk", "user", "admin"] as const;
export type JwtKind = (typeof jwtKinds)[number];

/** An issuer whose tokens are credentials of their own (contract section 9). */
export interface JwtIssuer extends TrustedIssuer {
  /** What `aud` calls us. */
  audience: readonly string[];
  allow: readonly JwtKind[];
  /** Which claims say who it is. */
  claims: {
    virtualKey: string;
    user: string;
    role: string;
    tenant?: string;
    groups?: string;
    email?: string;
    name?: string;
  };
  /** Values of the role claim that make an administrator. */
  adminRoles: readonly string[];
  /** What the tenant claim says. */
  tenant?: string;
  /** Whether a person never seen gets an account. */
  createAccounts: boolean;
}

const issuerEntry = z.strictObject({
  ...trustedIssuerShape,
  secret: z.string().max(4096).optional(),
  audience: z.union([z.string().min(1).max(1024), z.array(z.string().min(1).max(1024)).min(1).max(20)]),
  allow: z.array(z.enum(jwtKinds)).min(1).default(["vk"]),
  claims: z
    .strictObject({
      role: claim.optional(),
      virtual_key: claim.optional(),
      user: claim.optional(),
      tenant: claim.optional(),
      groups: claim.optional(),
      email: claim.optional(),
      name: claim.optional(),
    })
    .prefault({}),
  admin_roles: z.array(z.string().min(1).max(256)).min(1).default(["admin"]),
  tenant: z.string().min(1).max(256).optional(),
  create_accounts: z.boolean().default(true),
});

type IssuerEntry = z.output<typeof issuerEntry>;

/** The key `jwt` of the configuration file. */
export const jwtConfig = z
  .strictObject({
    issuers: z
      .array(
        issuerEntry.transform((entry, context): JwtIssuer => {
          const fault = trustedIssuerFault(entry) ?? issuerFault(entry);
          if (fault) context.addIssue({ code: "custom", message: fault });
          return fault ? z.NEVER : jwtIssuer(entry);
        }),
      )
      .max(50)
      .default([]),
  })
  .transform(({ issuers }, context) => {
    const twice = issuers.find(
      ({ issuer }, at) => issuers.findIndex((other) => other.issuer === issuer) < at,
    );
    if (twice) context.addIssue({ code: "custom", message: `the issuer ${twice.issuer} is there twice` });
    return { issuers };
  });

function issuerFault({ allow, claims, tenant }: IssuerEntry): string | undefined {
  if ((tenant === undefined) !== (claims.tenant === undefined))
    return "tenant and claims.tenant go together: the value, and the claim that must have it";
  // Every token has a subject: with another kind beside it, each would be two kinds at once.
  if (allow.includes("user") && allow.length > 1 && claims.user === undefined)
    return "name claims.user where allow has more than user: a token with the claims of two kinds is refused";
  return undefined;
}

function jwtIssuer(entry: IssuerEntry): JwtIssuer {
  const { audience, allow, claims, tenant } = entry;
  return {
    ...trustedIssuerOf(entry),
    audience: typeof audience === "string" ? [audience] : audience,
    allow,
    claims: {
      virtualKey: claims.virtual_key ?? "virtual_key",
      user: claims.user ?? "sub",
      role: claims.role ?? "role",
      tenant: claims.tenant,
      groups: claims.groups,
      email: claims.email,
      name: claims.name,
    },
    adminRoles: entry.admin_roles,
    tenant,
    createAccounts: entry.create_accounts,
  };
}
