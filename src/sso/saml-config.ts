import { createPrivateKey, X509Certificate } from "node:crypto";
import { z } from "zod";
import { Hidden } from "../base/index.ts";
import type { ProviderBase } from "./config.ts";

export interface SamlProvider extends ProviderBase {
  type: "saml";
  ssoUrl: string;
  /** PEM. All that may sign: two during a roll-over. */
  certificates: readonly string[];
  /** What this gateway is called there; absent: the address of its metadata. */
  spEntityId?: string;
  nameIdFormat: keyof typeof NAME_ID_FORMATS;
  clockSkewMs: number;
  allowIdpInitiated: boolean;
  /** Signs our requests; both PEM. */
  key?: { privateKey: Hidden; certificate: string };
}

/** Core §8.3.7, §8.3.2, §8.3.1. */
export const NAME_ID_FORMATS = {
  persistent: "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent",
  email_address: "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress",
  unspecified: "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified",
} as const;

/** What an RSA key must have at least (NIST SP 800-131A). */
const MIN_RSA_BITS = 2048;

const web = z.url({ protocol: /^https?$/ });

/** PEM, or only its base64 as it stands in metadata. */
const certificate = z
  .string()
  .max(16_384)
  .transform((text, context) => {
    const found = readCertificate(text);
    if ("pem" in found) return found.pem;
    context.addIssue({ code: "custom", message: found.fault });
    return z.NEVER;
  });

function readCertificate(text: string): { pem: string } | { fault: string } {
  try {
    const read = new X509Certificate(text.includes("-----BEGIN") ? text : Buffer.from(text, "base64"));
    const { asymmetricKeyType, asymmetricKeyDetails } = read.publicKey;
    if (asymmetricKeyType === "rsa" && (asymmetricKeyDetails?.modulusLength ?? 0) >= MIN_RSA_BITS)
      return { pem: read.toString() };
    return { fault: `is not the certificate of an RSA key of ${MIN_RSA_BITS} bits or more` };
  } catch {
    return { fault: "is not an X.509 certificate. Give it as PEM, or as the base64 of one" };
  }
}

/** What an entry of `sso.providers` has for the type `saml`, beside `private_key`. */
export const samlShape = {
  sso_url: web.optional(),
  certificates: z.array(certificate).min(1).max(10).optional(),
  sp_entity_id: z.string().min(1).max(1024).optional(),
  sp_certificate: certificate.optional(),
  name_id_format: z.enum(["persistent", "email_address", "unspecified"]).optional(),
  clock_skew_s: z.number().int().min(0).max(60).optional(),
  allow_idp_initiated: z.boolean().optional(),
};

export type SamlEntry = z.output<z.ZodObject<typeof samlShape>> & { private_key?: string };

/** What is wrong with an entry of type `saml` as a whole. */
export function samlFault(entry: SamlEntry): string | undefined {
  if (entry.sso_url === undefined) return "a provider of type saml needs sso_url";
  if (entry.certificates === undefined) return "a provider of type saml needs certificates";
  if ((entry.private_key === undefined) !== (entry.sp_certificate === undefined))
    return "private_key and sp_certificate belong together";
  if (entry.private_key !== undefined && !belongs(entry.private_key, entry.sp_certificate ?? ""))
    return "private_key is not the RSA key of sp_certificate, as PEM. Name the variable that holds it: env.NAME";
  return undefined;
}

function belongs(key: string, certificatePem: string): boolean {
  try {
    return new X509Certificate(certificatePem).checkPrivateKey(createPrivateKey(key));
  } catch {
    return false;
  }
}

/** `entry` without a fault. */
export function samlProvider(base: ProviderBase, entry: SamlEntry): SamlProvider {
  return {
    ...base,
    type: "saml",
    ssoUrl: entry.sso_url ?? "",
    certificates: entry.certificates ?? [],
    spEntityId: entry.sp_entity_id,
    nameIdFormat: entry.name_id_format ?? "persistent",
    clockSkewMs: (entry.clock_skew_s ?? 60) * 1000,
    allowIdpInitiated: entry.allow_idp_initiated ?? false,
    key:
      entry.private_key === undefined || entry.sp_certificate === undefined
        ? undefined
        : { privateKey: new Hidden(entry.private_key), certificate: entry.sp_certificate },
  };
}
