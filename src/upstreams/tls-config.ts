import { createPrivateKey, X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import { z } from "zod";
import { Hidden, Problem, sameTls, Tls, type TlsSettings } from "../base/index.ts";
import { redacted, refuseMask } from "./redaction.ts";

const MAX_CERTIFICATES = 131_072;
const CERTIFICATE = /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g;
/** RFC 6066 §3: a DNS host name, in ASCII and without the last dot. */
const HOST_NAME =
  /^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?)*$/i;

/** `tls_config` of contract section 7. `null` and the empty string are none. */
export const tlsConfig = z.strictObject({
  ca_cert_pem: z.string().max(MAX_CERTIFICATES).nullish(),
  client_cert_pem: z.string().max(MAX_CERTIFICATES).nullish(),
  client_key_pem: z.string().max(16_384).nullish(),
  server_name: z.string().max(253).nullish(),
  insecure_skip_verify: z.boolean().nullish(),
});
export type TlsConfig = z.output<typeof tlsConfig>;

/**
 * Reads `tls_config` for the server at `url`. `previous`: what is stored, where a redacted key comes from. `isNamed`:
 * whether the operator's list names the host and port. Throws `Problem` 400 `invalid_tls_config`, `secret_required`,
 * naming the field.
 */
export function checkTls(
  config: TlsConfig | null | undefined,
  url: URL,
  previous: Tls | undefined,
  isNamed: (url: URL) => boolean,
): Tls | undefined {
  const settings = settingsOf(config ?? {}, previous);
  if (Object.values(settings).every((value) => value === undefined)) return undefined;
  if (url.protocol !== "https:") throw fault("tls_config needs an https connection_string.");
  checkPair(settings);
  const tls = new Tls(url, settings);
  checkTaken(tls);
  // What is stored already was named when it was stored; at connect it is asked again.
  if (settings.insecureSkipVerify && !sameTls(tls, previous) && !isNamed(url)) throw unnamed(url);
  return tls;
}

/** As it reads: certificates are public, the key is not. */
export function tlsConfigOf({ settings }: Tls): TlsConfig {
  return {
    ca_cert_pem: settings.caCertPem,
    client_cert_pem: settings.clientCertPem,
    client_key_pem: settings.clientKeyPem && redacted,
    server_name: settings.serverName,
    insecure_skip_verify: settings.insecureSkipVerify,
  };
}

/** RFC 7396: what is not named stays, `null` removes. */
export function mergeTls(current: TlsConfig | null | undefined, patch: TlsConfig | null | undefined) {
  return patch && current ? { ...current, ...patch } : patch === undefined ? current : patch;
}

function settingsOf(config: TlsConfig, previous: Tls | undefined): TlsSettings {
  return {
    caCertPem: certificates(config.ca_cert_pem, "ca_cert_pem"),
    clientCertPem: certificates(config.client_cert_pem, "client_cert_pem"),
    clientKeyPem: privateKey(config.client_key_pem, previous),
    serverName: hostName(config.server_name),
    insecureSkipVerify: config.insecure_skip_verify || undefined,
  };
}

/** The certificates and nothing else: what stands beside them would be shown to whoever reads the configuration. */
function certificates(text: string | null | undefined, field: string): string | undefined {
  if (!text) return undefined;
  const blocks = text.includes("PRIVATE KEY") ? null : text.match(CERTIFICATE);
  if (!blocks?.every(isCertificate)) {
    throw fault("Give one or more X.509 certificates as PEM, without a private key.", field);
  }
  return `${blocks.join("\n").replaceAll("\r", "")}\n`;
}

function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).raw.byteLength > 0;
  } catch {
    return false;
  }
}

function privateKey(text: string | null | undefined, previous: Tls | undefined): Hidden | undefined {
  if (!text) return undefined;
  const stored = previous?.settings.clientKeyPem;
  if (text === redacted && stored) return stored;
  refuseMask(text, "tls_config.client_key_pem");
  try {
    createPrivateKey({ key: text, format: "pem" });
  } catch {
    throw fault("Give the private key as PEM, not encrypted.", "client_key_pem");
  }
  return new Hidden(text);
}

function hostName(text: string | null | undefined): string | undefined {
  if (!text) return undefined;
  if (HOST_NAME.test(text) && isIP(text) === 0) return text.toLowerCase();
  throw fault("Give a host name in ASCII letters, not an address and without a port.", "server_name");
}

function checkPair({ clientCertPem, clientKeyPem }: TlsSettings): void {
  if (!clientCertPem && !clientKeyPem) return;
  if (!clientCertPem)
    throw fault("client_key_pem needs the certificate that goes with it.", "client_cert_pem");
  if (!clientKeyPem) throw fault("client_cert_pem needs the key that goes with it.", "client_key_pem");
  // RFC 8446 §4.4.2: the first certificate is the one whose key is proved.
  const isPair = new X509Certificate(clientCertPem).checkPrivateKey(createPrivateKey(clientKeyPem.reveal()));
  if (!isPair)
    throw fault("The key is not that of the first certificate of client_cert_pem.", "client_key_pem");
}

/** OpenSSL has demands of its own, such as a least length of keys. */
function checkTaken(tls: Tls): void {
  try {
    tls.secureContext();
  } catch {
    const field = tls.settings.clientCertPem ? "client_cert_pem" : "ca_cert_pem";
    throw fault("OpenSSL does not take this certificate. Use one with a longer key.", field);
  }
}

function unnamed({ hostname, port }: URL): Problem {
  return fault(
    `The certificate is left unchecked only where the operator allows it: add ${hostname}:${port || "443"} to POSTERN_OUTBOUND_ALLOW and restart, or give ca_cert_pem.`,
    "insecure_skip_verify",
  );
}

function fault(message: string, field?: string): Problem {
  const param = field ? `tls_config.${field}` : "tls_config";
  return new Problem("invalid", "invalid_tls_config", message, { param });
}
