import { type Hidden, type Owner, Problem, sha256, type Vouched } from "../base/index.ts";
import { type Change, EVERYTHING } from "../db/index.ts";
import type { OAuthSettings, Upstreams } from "../upstreams/index.ts";
import type { Credential, Opened } from "./credential.ts";
import { exchangeCaller } from "./exchange-request.ts";
import type { VaultParts } from "./parts.ts";
import type { TokenAnswer } from "./token-answer.ts";

/** Who calls which upstream with a token of their own. */
export interface Exchanging {
  owner: Owner;
  vouched: Vouched | undefined;
  upstream: ExchangeUpstream;
}

interface ExchangeUpstream {
  id: string;
  generation: number;
  oauth?: OAuthSettings;
}

export type CallerTokensParts = Pick<VaultParts, "world" | "database" | "oauth"> & {
  upstreams: Pick<Upstreams, "find" | "settled">;
};

interface Kept {
  credential: Credential;
  opened: Opened;
  /** Of the upstream when it was exchanged. */
  settings: string;
  /** From here on it is exchanged anew. */
  until: number;
}

interface Refused {
  /** Of the token that was refused: the subject's next one is shown again. */
  token: string;
  opened: Opened;
  until: number;
}

const CAPACITY = 10_000;
const MARGIN_MS = 60_000;
/** Where the provider does not say how long its token lives. */
const UNTOLD_MS = 5 * 60_000;
/** Within this time a provider that said no, or nothing, is not asked the same again. */
const PAUSE_MS = 5_000;
/**
 * RFC 6749 §5.2, RFC 8693 §2.2.2: about the gateway or its settings, and nothing the caller could mend. `invalid_request` is what
 * the latter has for a caller's token that is not accepted.
 */
const ABOUT_US = new Set([
  "invalid_client",
  "unauthorized_client",
  "unsupported_grant_type",
  "invalid_scope",
  "invalid_target",
]);
/** OpenID Connect Core §3.1.2.6, and what providers say for the same: the person has to do something there first. */
const ABOUT_PERSON = new Set([
  "interaction_required",
  "login_required",
  "consent_required",
  "account_selection_required",
]);

/**
 * What callers' own tokens were exchanged for, in memory only and for each caller alone. Whatever it depends on drops it; who
 * brings no token has nothing here, and nothing stands in for it (ID-21).
 */
export class CallerTokens {
  readonly #parts: CallerTokensParts;
  readonly #kept = new Map<string, Kept>();
  readonly #refused = new Map<string, Refused>();
  readonly #running = new Map<string, Promise<Opened>>();
  /** By upstream id: not before this time again. */
  readonly #pausedUntil = new Map<string, number>();
  #generation = 0;
  /** Rises with every change, so that what was exchanged before it is not kept. */
  #version = 0;

  constructor(parts: CallerTokensParts) {
    this.#parts = parts;
    parts.database.changes.listen((change) => this.#changed(change));
  }

  /** What is there, without waiting; undefined: `open` has to ask. */
  openWarm({ owner, vouched, upstream }: Exchanging): Opened | undefined {
    if (!vouched) return { outcome: "needs_user", reason: "caller_token_required" };
    const kept = this.#kept.get(keyOf(owner, vouched, upstream));
    return kept && this.#now() < kept.until ? kept.opened : undefined;
  }

  /** `notGeneration`: the one that the upstream has just refused. */
  async open(exchanging: Exchanging, notGeneration?: number): Promise<Opened> {
    const { owner, vouched, upstream } = exchanging;
    if (!vouched) return { outcome: "needs_user", reason: "caller_token_required" };
    const key = keyOf(owner, vouched, upstream);
    const kept = this.#kept.get(key);
    if (kept && this.#now() < kept.until && kept.credential.generation !== notGeneration) return kept.opened;
    const running = this.#running.get(key);
    if (running) return running;
    const exchange = this.#exchange(key, exchanging, vouched).finally(() => this.#running.delete(key));
    this.#running.set(key, exchange);
    return exchange;
  }

  /** The upstream did not accept it. */
  async markRejected({ id, generation }: Pick<Credential, "id" | "generation">): Promise<void> {
    const kept = this.#kept.get(id);
    if (kept?.credential.generation === generation) this.#kept.delete(id);
  }

  async #exchange(key: string, { owner, upstream }: Exchanging, vouched: Vouched): Promise<Opened> {
    const token = sha256(vouched.token.reveal());
    const refused = this.#refused.get(key);
    if (refused?.token === token && this.#now() < refused.until) return refused.opened;
    const paused = (this.#pausedUntil.get(upstream.id) ?? 0) - this.#now();
    if (paused > 0) return { outcome: "unavailable", retryAfterMs: paused };
    const version = this.#version;
    const answer = await this.#ask(upstream, vouched);
    if (answer.outcome === "token") {
      const kept = this.#made(key, { owner, upstream }, answer.token);
      if (version === this.#version) remember(this.#kept, key, kept);
      return kept.opened;
    }
    const error = answer.outcome === "refused" ? answer.error : answer.reason;
    this.#parts.world.log.warn("credential.exchange_failed", { upstream: upstream.id, error });
    const opened = meaningOf(answer);
    const until = this.#now() + PAUSE_MS;
    if (answer.outcome === "refused") remember(this.#refused, key, { token, opened, until });
    else this.#pausedUntil.set(upstream.id, this.#now() + Math.max(1_000, answer.retryAfterMs ?? 0));
    return opened;
  }

  async #ask(upstream: ExchangeUpstream, vouched: Vouched): Promise<TokenAnswer> {
    const { world, oauth } = this.#parts;
    try {
      const authorization = await oauth.prepareOwn!(upstream.id);
      return await exchangeCaller(world, authorization, upstream.oauth!, vouched);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      return { outcome: "unavailable", reason: error.code };
    }
  }

  #made(
    key: string,
    { owner, upstream }: Pick<Exchanging, "owner" | "upstream">,
    { accessToken, expiresAt, scopes }: { accessToken: Hidden; expiresAt?: number; scopes?: string[] },
  ): Kept {
    const now = this.#now();
    const lives = expiresAt === undefined ? UNTOLD_MS : expiresAt - now;
    const credential: Credential = {
      id: key,
      kind: "oauth",
      owner,
      upstreamId: upstream.id,
      account: "",
      status: "active",
      orphaned: false,
      generation: ++this.#generation,
      expiresAt,
      scopes,
      createdAt: now,
      updatedAt: now,
    };
    const authorize = (headers: Record<string, string>) => {
      headers.authorization = `Bearer ${accessToken.reveal()}`;
    };
    const until = now + lives - Math.min(MARGIN_MS, lives / 3);
    const opened = { outcome: "ready" as const, credential, authorize };
    return { credential, opened, settings: settingsOf(upstream), until };
  }

  #changed({ topic, key }: Change): void {
    const all = topic === EVERYTHING;
    if (all || topic === "upstream") {
      this.#pausedUntil.clear();
      this.#refused.clear();
      // Its tools change as well, which nothing here depends on.
      void this.#parts.upstreams.settled().then(
        () => this.#dropOutdated(),
        () => this.#kept.clear(),
      );
    }
    if (!all && topic !== "user" && topic !== "virtual_key") return;
    this.#version += 1;
    for (const [id, { credential }] of this.#kept)
      if (all || credential.owner.id === key) this.#kept.delete(id);
  }

  #dropOutdated(): void {
    for (const [id, { credential, settings }] of this.#kept) {
      const upstream = this.#parts.upstreams.find(credential.upstreamId);
      if (!upstream || upstream.disabled || settingsOf(upstream) !== settings) this.#kept.delete(id);
    }
  }

  #now(): number {
    return this.#parts.world.now().getTime();
  }
}

/** Differs when what is asked for, or of whom, is something else. */
function settingsOf({ generation, oauth }: ExchangeUpstream): string {
  if (!oauth) return "";
  let digest = digests.get(oauth);
  if (digest === undefined) {
    digest = sha256(JSON.stringify(oauth));
    digests.set(oauth, digest);
  }
  return `${generation} ${digest}`;
}

/** Of settings as they are in memory: a change makes another object. */
const digests = new WeakMap<OAuthSettings, string>();

/** A digest: it is the credential's id, which names connections and stands in logs. */
function keyOf(owner: Owner, { issuer, subject, standing }: Vouched, upstream: ExchangeUpstream): string {
  const parts = [upstream.id, settingsOf(upstream), owner.mode, owner.id, issuer, subject, standing];
  return `exchange_${sha256(JSON.stringify(parts))}`;
}

function meaningOf(answer: Exclude<TokenAnswer, { outcome: "token" }>): Opened {
  if (answer.outcome === "unavailable") return { outcome: "unavailable", retryAfterMs: answer.retryAfterMs };
  if (ABOUT_US.has(answer.error)) return { outcome: "unavailable", reason: "client_refused" };
  const interaction = ABOUT_PERSON.has(answer.error);
  return { outcome: "needs_user", reason: interaction ? "interaction_required" : "token_exchange_refused" };
}

function remember<V>(map: Map<string, V>, key: string, value: V): void {
  map.delete(key);
  if (map.size >= CAPACITY) map.delete(map.keys().next().value!);
  map.set(key, value);
}
