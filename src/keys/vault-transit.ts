import { readFileSync } from "node:fs";
import { type Outbound, OutboundError, openOutbound, Tls } from "../base/index.ts";
import { WrongKey } from "../db/index.ts";
import { type Patience, patiently, usualPatience } from "./patience.ts";
import { type KeyProvider, KeyProviderDown, refused, type Wrapped, type WrappedFor } from "./provider.ts";

export interface VaultTransitOptions {
  /** `https://vault.example.com:8200`; http only on loopback, where an agent listens. */
  address: string;
  /** The name of the key in the transit engine. */
  key: string;
  /** Where the engine is mounted; `transit` where nothing else is said. */
  mount?: string;
  namespace?: string;
  /** Exactly one of these two. The file is read for each request: an agent renews it. */
  token?: string;
  token_file?: string;
  /** PEM of the authority that signed its certificate. */
  ca_file?: string;
}

const MAX_BYTES = 64 * 1024;

type Answer = { status: number; data?: { ciphertext?: unknown; plaintext?: unknown } };

/** The transit engine of HashiCorp Vault or OpenBao: they speak the same protocol. The key never leaves it. */
export function vaultTransit(options: VaultTransitOptions, patience: Patience = usualPatience): KeyProvider {
  return new VaultTransit(options, patience);
}

class VaultTransit implements KeyProvider {
  readonly type = "vault_transit";
  readonly older = [];
  readonly key: string;
  readonly #options: VaultTransitOptions;
  readonly #patience: Patience;
  readonly #url: URL;
  readonly #tls: Tls | undefined;
  readonly #outbound: Outbound;

  constructor(options: VaultTransitOptions, patience: Patience) {
    this.#options = options;
    this.#patience = patience;
    this.#url = new URL(options.address);
    if (this.#url.protocol === "http:" && !["localhost", "127.0.0.1", "[::1]"].includes(this.#url.hostname))
      throw new WrongKey(`key_providers: ${options.address} must be https (http only on loopback).`);
    this.key = `${options.mount ?? "transit"}/${options.key}`;
    this.#tls =
      options.ca_file === undefined
        ? undefined
        : new Tls(this.#url, { caCertPem: read(options.ca_file, "ca_file") });
    const port = this.#url.port || (this.#url.protocol === "https:" ? "443" : "80");
    // The operator named this one address in the configuration: it may be private, and nothing else is reached from here.
    this.#outbound = openOutbound({ allow: { admin: [`${this.#url.hostname}:${port}`], stranger: [] } });
  }

  unwraps(by: string): boolean {
    return by === this.key;
  }

  async wrap(key: Uint8Array, about: WrappedFor): Promise<Wrapped> {
    const { ciphertext } = await this.#ask("encrypt", {
      plaintext: Buffer.from(key).toString("base64"),
      associated_data: boundTo(about),
    });
    if (typeof ciphertext !== "string") throw this.#down("its answer holds no ciphertext");
    return { bytes: Buffer.from(ciphertext), by: this.key };
  }

  async unwrap({ bytes }: Wrapped, about: WrappedFor): Promise<Uint8Array> {
    const { plaintext } = await this.#ask("decrypt", {
      ciphertext: Buffer.from(bytes).toString("utf8"),
      associated_data: boundTo(about),
    });
    if (typeof plaintext !== "string") throw this.#down("its answer holds no plaintext");
    return Buffer.from(plaintext, "base64");
  }

  close(): Promise<void> {
    return this.#outbound.close();
  }

  #ask(operation: "encrypt" | "decrypt", body: Record<string, string>): Promise<NonNullable<Answer["data"]>> {
    return patiently(this.#patience, async () => {
      const { status, data } = await this.#send(operation, body);
      if (status === 200 && data) return data;
      if (status === 403)
        throw this.#refused(
          `permission denied. The token may have expired, or its policy lacks update on ${this.#path(operation)}.`,
        );
      if (status === 404) throw this.#refused("nothing is mounted there. Check mount and namespace.");
      if (status === 400)
        throw this.#refused(
          operation === "encrypt"
            ? "it does not know the key, or the key may not encrypt."
            : "it does not know the key, the key version is gone, or something else was wrapped.",
        );
      throw this.#down(`it answered ${status}${status === 503 ? " (sealed, or a standby)" : ""}`);
    });
  }

  async #send(operation: string, body: Record<string, string>): Promise<Answer> {
    const { namespace, token, token_file: file } = this.#options;
    const headers: Record<string, string> = {
      "content-type": "application/json",
      "x-vault-request": "true",
      "x-vault-token": token ?? read(file!, "token_file").trim(),
    };
    if (namespace !== undefined) headers["x-vault-namespace"] = namespace;
    try {
      const answer = await this.#outbound.fetch(new URL(`/v1/${this.#path(operation)}`, this.#url), {
        method: "POST",
        headers,
        body: JSON.stringify(body),
        policy: "admin",
        timeoutMs: this.#patience.timeoutMs,
        maxBytes: MAX_BYTES,
        tls: this.#tls,
      });
      const parsed = answer.ok ? ((await answer.json()) as { data?: Answer["data"] }) : undefined;
      return { status: answer.status, data: parsed?.data };
    } catch (error) {
      throw this.#failure(error);
    }
  }

  #path(operation: string): string {
    const { mount = "transit", key } = this.#options;
    const mounted = mount.split("/").map(encodeURIComponent).join("/");
    return `${mounted}/${operation}/${encodeURIComponent(key)}`;
  }

  #failure(error: unknown): unknown {
    if (error instanceof SyntaxError) return this.#down("its answer is not JSON");
    if (!(error instanceof OutboundError)) return error;
    if (error.reason === "tls")
      return this.#refused(
        "its certificate is not trusted. Name its authority in ca_file or NODE_EXTRA_CA_CERTS.",
      );
    return this.#down(error.message.replace(/\.$/, ""));
  }

  #refused(why: string): WrongKey {
    return refused(`Vault at ${this.#url.origin}`, this.key, why);
  }

  #down(why: string): KeyProviderDown {
    return new KeyProviderDown(
      `Vault at ${this.#url.origin} cannot be asked for the key ${this.key}: ${why}.`,
    );
  }
}

function boundTo({ dataKeyId, instanceId }: WrappedFor): string {
  return Buffer.from(`postern ${instanceId} ${dataKeyId}`).toString("base64");
}

function read(path: string, setting: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    throw new WrongKey(`key_providers: the file ${path} (${setting}) cannot be read.`);
  }
}
