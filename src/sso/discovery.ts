import type { AuthorizationServer } from "oauth4webapi";
import {
  JsonFault,
  type JsonObject,
  OutboundError,
  Problem,
  parseStrictJson,
  type World,
} from "../base/index.ts";
import { asymmetricAlgorithms } from "../jwt/index.ts";
import type { OidcProvider } from "./config.ts";
import { unavailable } from "./refusals.ts";

/** What we use of it, with what we need in place. */
export type Published = AuthorizationServer & {
  authorization_endpoint: string;
  token_endpoint: string;
  jwks_uri: string;
  id_token_signing_alg_values_supported: string[];
};

const MAX_BYTES = 256 * 1024;
const TIMEOUT_MS = 10_000;
/** After so long it is read again: endpoints move, and a provider that changes them changes them for good. */
const FRESH_MS = 10 * 60_000;
/** Where it cannot be read, what it last said counts for so long. */
const KEPT_MS = 24 * 60 * 60_000;
const PAUSE_MS = 5_000;

/** What a provider publishes about itself (OpenID Connect Discovery §4): read when needed, one read at a time, kept. */
export class Discovery {
  readonly #world: World;
  readonly #provider: OidcProvider;
  #known: Published | undefined;
  #knownAt = 0;
  #triedAt = Number.NEGATIVE_INFINITY;
  #reading: Promise<void> | undefined;
  #failure: Problem | undefined;

  constructor(world: World, provider: OidcProvider) {
    this.#world = world;
    this.#provider = provider;
  }

  /** Throws 503 `sso_unavailable`. */
  async published(): Promise<Published> {
    if (!this.#known || this.#age() > FRESH_MS) await this.#read();
    if (this.#known && this.#age() <= KEPT_MS) return this.#known;
    throw this.#failure ?? unavailable(this.#provider, { reason: "not_read" });
  }

  /** Something did not work as published: the next one who needs it reads it again. */
  doubt(): void {
    this.#knownAt = Math.min(this.#knownAt, this.#now() - FRESH_MS - 1);
  }

  #read(): Promise<void> {
    if (this.#reading) return this.#reading;
    if (this.#now() - this.#triedAt < PAUSE_MS) return Promise.resolve();
    this.#triedAt = this.#now();
    this.#reading = this.#fetch().finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  async #fetch(): Promise<void> {
    try {
      this.#known = await readPublished(this.#world, this.#provider);
      this.#knownAt = this.#now();
      this.#failure = undefined;
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.#failure = error;
      if (this.#known) this.#world.log.warn("sso.metadata_not_renewed", error.log);
    }
  }

  #age(): number {
    return this.#now() - this.#knownAt;
  }

  #now(): number {
    return this.#world.now().getTime();
  }
}

async function readPublished(world: World, provider: OidcProvider): Promise<Published> {
  const document = await fetchMetadata(world, provider);
  // OpenID Connect Discovery §4.3: exactly the issuer it was asked for. What it says instead is for the operator to read.
  if (document.issuer !== provider.issuer)
    throw unavailable(provider, {
      reason: "issuer_differs",
      announced: String(document.issuer).slice(0, 200),
    });
  const endpoint = (name: string) => endpointOf(provider, document, name);
  const [authorization_endpoint, token_endpoint, jwks_uri] = [
    endpoint("authorization_endpoint"),
    endpoint("token_endpoint"),
    endpoint("jwks_uri"),
  ];
  if (!authorization_endpoint || !token_endpoint || !jwks_uri)
    throw unavailable(provider, { reason: "endpoint_missing" });
  // OpenID Connect Core §3.1.3.7 point 7: RS256 unless said otherwise; a secret of two, or none, is never among them (ID-15).
  const announced = listOf(document, "id_token_signing_alg_values_supported") ?? ["RS256"];
  return {
    issuer: provider.issuer,
    authorization_endpoint,
    token_endpoint,
    jwks_uri,
    userinfo_endpoint: endpoint("userinfo_endpoint"),
    end_session_endpoint: endpoint("end_session_endpoint"),
    id_token_signing_alg_values_supported: asymmetricAlgorithms.filter((name) => announced.includes(name)),
    token_endpoint_auth_methods_supported: listOf(document, "token_endpoint_auth_methods_supported"),
    authorization_response_iss_parameter_supported:
      document.authorization_response_iss_parameter_supported === true,
  } as Published;
}

async function fetchMetadata(world: World, provider: OidcProvider): Promise<JsonObject> {
  const url = `${provider.issuer.replace(/\/$/, "")}/.well-known/openid-configuration`;
  try {
    const response = await world.outbound.fetch(url, {
      headers: { accept: "application/json" },
      policy: "admin",
      maxBytes: MAX_BYTES,
      timeoutMs: TIMEOUT_MS,
    });
    if (response.status !== 200)
      throw unavailable(provider, { reason: "metadata_status", status: response.status });
    const document = parseStrictJson(new Uint8Array(await response.arrayBuffer()));
    if (typeof document === "object" && document !== null && !Array.isArray(document))
      return document as JsonObject;
  } catch (error) {
    if (error instanceof OutboundError) throw unavailable(provider, { reason: error.reason }, error);
    if (!(error instanceof JsonFault)) throw error;
  }
  throw unavailable(provider, { reason: "metadata_malformed" });
}

/** Never less protected than the issuer itself; the guarded way out admits plain http for addresses on the operator's list alone. */
function endpointOf(provider: OidcProvider, document: JsonObject, name: string): string | undefined {
  const value = document[name];
  if (value === undefined || value === null) return undefined;
  const url = typeof value === "string" ? URL.parse(value) : null;
  const secured =
    url?.protocol === "https:" || (url?.protocol === "http:" && provider.issuer.startsWith("http:"));
  if (!secured) throw unavailable(provider, { reason: "endpoint_malformed", endpoint: name });
  return url?.href;
}

function listOf(document: JsonObject, name: string): string[] | undefined {
  const value = document[name];
  return Array.isArray(value) ? value.filter((one) => typeof one === "string") : undefined;
}
