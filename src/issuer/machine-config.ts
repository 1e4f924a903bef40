import { z } from "zod";
import { slugPattern } from "../access/index.ts";
import { sha256 } from "../base/index.ts";
import { asymmetricAlgorithms, type TrustedIssuer } from "../jwt/index.ts";

const MINUTE_MS = 60_000;
const LOOPBACK = ["127.0.0.1", "[::1]", "localhost"];

/** Keys come over TLS (SEP-1933, Issuer Key Retrieval); http on loopback is for tests, and needs the operator's allow list too. */
const keysUrl = z.url().refine((text) => {
  const url = URL.parse(text);
  return url?.protocol === "https:" || (url?.protocol === "http:" && LOOPBACK.includes(url.hostname));
}, "is not an https address");

const trust = {
  issuer: z.string().min(1).max(1000),
  jwks_url: keysUrl.optional(),
  jwks: z
    .record(z.string(), z.unknown())
    .refine((set) => Array.isArray(set.keys), "is no JSON Web Key Set: it has no list of keys")
    .optional(),
  algorithms: z.array(z.enum(asymmetricAlgorithms)).min(1).default(["RS256", "ES256"]),
  clock_skew_s: z.number().min(0).max(60).default(30),
};

const oneKeySource = { error: "needs exactly one of jwks_url and jwks" };
const hasOneKeySource = (entry: { jwks_url?: unknown; jwks?: unknown }) =>
  (entry.jwks_url === undefined) !== (entry.jwks === undefined);

const name = z.string().min(1).max(100);
const texts = z.union([z.string().min(1), z.array(z.string().min(1)).min(1)]);

/** A pattern that every value matches says nothing. */
const pattern = texts.refine((value) => ![value].flat().includes("*"), 'may not be "*": leave the claim out');

const rule = z
  .strictObject({
    name,
    ...trust,
    audience: texts.optional(),
    claims: z
      .record(z.string().min(1), pattern)
      .refine(
        (claims) => Object.keys(claims).length > 0,
        "names no claim: every token of the issuer would do",
      ),
    service_account: name.optional(),
    virtual_key: name.optional(),
    virtual_mcp: z.string().regex(slugPattern).optional(),
    lifetime_minutes: z.number().min(1).max(60).default(60),
    single_use: z.boolean().default(false),
  })
  .refine(hasOneKeySource, oneKeySource)
  .refine((entry) => (entry.service_account === undefined) !== (entry.virtual_key === undefined), {
    error: "needs exactly one of service_account and virtual_key",
  });

const distinct = (values: string[]) => new Set(values).size === values.length;

/** `workload_identity` of the configuration file. */
export const workloadIdentityConfig = z.strictObject({
  rules: z
    .array(rule)
    .refine((rules) => distinct(rules.map((entry) => entry.name)), "has two rules of one name")
    .default([]),
});

const enterpriseIssuer = z
  .strictObject({
    ...trust,
    client_ids: z.array(z.string().min(1)).min(1).optional(),
    subject_claim: z.string().min(1).default("sub"),
    create_accounts: z.boolean().default(false),
    lifetime_minutes: z.number().min(1).max(1440).default(60),
  })
  .refine(hasOneKeySource, oneKeySource);

/** `enterprise_authorization` of the configuration file. */
export const enterpriseAuthorizationConfig = z.strictObject({
  issuers: z
    .array(enterpriseIssuer)
    .refine((issuers) => distinct(issuers.map((entry) => entry.issuer)), "names an issuer twice")
    .default([]),
});

/** Which workloads get which identity. */
export interface WorkloadRule {
  name: string;
  trusted: TrustedIssuer;
  /** In place of our own names. */
  audiences?: readonly string[];
  /** Each of these claims has one of the values; a `*` at the end of one stands for anything. */
  claims: Readonly<Record<string, readonly string[]>>;
  identity: { serviceAccount: string } | { virtualKey: string };
  /** The slug of the only virtual MCP that what is given serves. */
  virtualMcp?: string;
  lifetimeMs: number;
  singleUse: boolean;
  /** Changes with anything the rule says. */
  fingerprint: string;
}

/** An identity provider whose ID-JAGs count. */
export interface EnterpriseIssuer {
  trusted: TrustedIssuer;
  /** The only clients that may bring them; absent: those that prove a secret. */
  clientIds?: readonly string[];
  subjectClaim: string;
  createAccounts: boolean;
  lifetimeMs: number;
}

/** Whose signed statements give access without a person at a browser. */
export interface MachineTrust {
  rules: readonly WorkloadRule[];
  issuers: readonly EnterpriseIssuer[];
}

export function machineTrust(
  workload: z.output<typeof workloadIdentityConfig>,
  enterprise: z.output<typeof enterpriseAuthorizationConfig>,
): MachineTrust {
  return { rules: workload.rules.map(ruleOf), issuers: enterprise.issuers.map(issuerOf) };
}

function ruleOf(entry: z.output<typeof rule>): WorkloadRule {
  const { service_account: serviceAccount, virtual_key: virtualKey } = entry;
  const claims = Object.entries(entry.claims).map(([claim, value]) => [claim, [value].flat()]);
  return {
    name: entry.name,
    trusted: trusted(entry),
    audiences: entry.audience === undefined ? undefined : [entry.audience].flat(),
    claims: Object.fromEntries(claims),
    identity: serviceAccount === undefined ? { virtualKey: virtualKey! } : { serviceAccount },
    virtualMcp: entry.virtual_mcp,
    lifetimeMs: entry.lifetime_minutes * MINUTE_MS,
    singleUse: entry.single_use,
    fingerprint: sha256(JSON.stringify(entry)),
  };
}

function issuerOf(entry: z.output<typeof enterpriseIssuer>): EnterpriseIssuer {
  return {
    trusted: trusted(entry),
    clientIds: entry.client_ids,
    subjectClaim: entry.subject_claim,
    createAccounts: entry.create_accounts,
    lifetimeMs: entry.lifetime_minutes * MINUTE_MS,
  };
}

function trusted(
  entry: Pick<z.output<typeof rule>, "issuer" | "jwks_url" | "jwks" | "algorithms" | "clock_skew_s">,
): TrustedIssuer {
  return {
    issuer: entry.issuer,
    keys: entry.jwks_url === undefined ? { jwks: entry.jwks! } : { jwksUrl: entry.jwks_url },
    algorithms: entry.algorithms,
    clockSkewMs: entry.clock_skew_s * 1000,
  };
}
