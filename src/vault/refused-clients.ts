import type { ProviderAuthorization, VaultParts } from "./parts.ts";

const PAUSE_MS = 60_000;

const FAILURE = {
  code: "client_refused",
  message:
    "The authorization server does not accept the gateway's client. Check client_id and client_secret or private_key in oauth_config. Nobody needs to connect again.",
};

interface Refused {
  configId: string;
  version: number;
  until: number;
}

/**
 * Upstreams whose provider refuses the gateway itself. No person can help, so nobody is asked to; the provider is tried once
 * a minute per replica, and at once after the client was changed.
 */
export class RefusedClients {
  readonly #parts: VaultParts;
  readonly #refused = new Map<string, Refused>();

  constructor(parts: VaultParts) {
    this.#parts = parts;
  }

  /** Milliseconds for which this client need not be tried; 0: it may be. */
  pauseFor(upstreamId: string, { configId, version }: ProviderAuthorization): number {
    const refused = this.#refused.get(upstreamId);
    if (refused?.configId !== configId || refused.version !== version) return 0;
    return Math.max(0, Math.min(PAUSE_MS, refused.until - this.#now()));
  }

  /** The provider refused this client. Returns the pause in milliseconds. */
  async note(upstreamId: string, { configId, version, issuer }: ProviderAuthorization): Promise<number> {
    const known = this.#refused.get(upstreamId);
    this.#refused.set(upstreamId, { configId, version, until: this.#now() + PAUSE_MS });
    if (known?.configId !== configId || known.version !== version)
      this.#parts.world.log.error("upstream.client_refused", { upstream: upstreamId, issuer });
    // Each time: a tool list that is read with a token that still counts says that all is well.
    await this.#parts.upstreams?.recordFailure(upstreamId, { ...FAILURE, at: this.#now() });
    return PAUSE_MS;
  }

  /** The provider gave tokens. */
  forget(upstreamId: string): void {
    this.#refused.delete(upstreamId);
  }

  #now(): number {
    return this.#parts.world.now().getTime();
  }
}
