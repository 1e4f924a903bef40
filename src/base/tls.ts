import { createSecureContext, type SecureContext } from "node:tls";
import { sha256 } from "./hash.ts";
import type { Hidden } from "./hidden.ts";

/** How one server's certificate is checked, and how we show ours. PEM text. */
export interface TlsSettings {
  /** Trusted in place of the public authorities. */
  caCertPem?: string;
  clientCertPem?: string;
  clientKeyPem?: Hidden;
  /** The name that is asked for (SNI) and that the certificate must have; absent: the host of the URL. */
  serverName?: string;
  /** The certificate is not checked. Has an effect only where the allow list names the host and port. */
  insecureSkipVerify?: boolean;
}

/**
 * A TLS configuration for one origin; `Outbound` uses it for requests to that origin and for no other. What it is made of
 * has been checked by whoever made it.
 */
export class Tls {
  readonly origin: string;
  readonly settings: Readonly<TlsSettings>;
  readonly #fingerprint: string;

  constructor(url: URL, settings: TlsSettings) {
    this.origin = url.origin;
    this.settings = settings;
    const { caCertPem, clientCertPem, clientKeyPem, serverName, insecureSkipVerify } = settings;
    const parts = [caCertPem, clientCertPem, clientKeyPem?.reveal(), serverName, insecureSkipVerify === true];
    this.#fingerprint = sha256(JSON.stringify([url.origin, ...parts.map((part) => part ?? null)]));
  }

  /** The same for the same configuration; a connection made with one never serves another. For memory only. */
  get fingerprint(): string {
    return this.#fingerprint;
  }

  /** What connections are made with. Throws what OpenSSL says of keys and certificates that it does not take. */
  secureContext(): SecureContext {
    const { caCertPem, clientCertPem, clientKeyPem } = this.settings;
    // Without `ca` the public authorities count.
    return createSecureContext({ ca: caCertPem, cert: clientCertPem, key: clientKeyPem?.reveal() });
  }
}

/** Whether both mean the same connections; absent is the ordinary configuration. */
export function sameTls(one: Tls | undefined, other: Tls | undefined): boolean {
  return one?.fingerprint === other?.fingerprint;
}
