import { fingerprint, Problem, sha256, type World } from "../base/index.ts";
import { type Change, type Database, EVERYTHING } from "../db/index.ts";
import {
  type JwtIssuer,
  type JwtMeaning,
  type JwtVerifier,
  meaningOf,
  unverifiedClaims,
} from "../jwt/index.ts";
import type { Departed } from "./departed.ts";
import type { Identities } from "./identities.ts";

/** Who presents a JWT, once proved. */
export interface JwtIdentity {
  kind: "virtual_key" | "user" | "admin";
  issuer: string;
  /** Whom the issuer calls so. */
  subject: string;
  /** Of a key: whose it is, if anybody's. */
  userId?: string;
  virtualKeyId?: string;
  /** A digest of what the token says, but for its times and its own id. */
  standing: string;
  /** What the key or the person is called. */
  name: string;
  /** When it stops counting by itself, milliseconds since 1970. */
  until: number;
}

export type JwtProof = { ok: true; identity: JwtIdentity } | { ok: false; reason: string; issuer?: string };

/** A virtual key that may be used now. */
interface UsableKey {
  id: string;
  name: string;
  userId?: string;
  expiresAt?: number;
}

export interface JwtIdentitiesParts {
  world: World;
  database: Database;
  verifier: Pick<JwtVerifier, "verify">;
  issuers: readonly JwtIssuer[];
  identities: Identities;
  departed: Pick<Departed, "since">;
  /** Finds a key by its name or id; handed over in app.ts, because keys live in access/. */
  keyNamed(name: string): Promise<UsableKey | undefined>;
}

/** A token is looked at again after so long: its issuer's key, its account and its groups may be others by then. */
const KEPT_MS = 5 * 60_000;
const MAX_ENTRIES = 10_000;

interface Kept {
  identity: JwtIdentity;
  keptUntil: number;
}

/**
 * JWTs as credentials (contract section 9): a virtual key, a person or an administrator, as configured for their issuer. What
 * was proved is kept in memory under a digest of the whole token (attack ID-19), until it ends or something it depends on changes.
 */
export class JwtIdentities {
  readonly #parts: JwtIdentitiesParts;
  readonly #kept = new Map<string, Kept>();
  readonly #lastOf = new WeakMap<object, { token: string; digest: string }>();
  readonly #proving = new Map<string, Promise<JwtProof>>();
  /** Rises with every change, so that what was proved before it is not kept. */
  #version = 0;

  constructor(parts: JwtIdentitiesParts) {
    this.#parts = parts;
    parts.database.changes.listen((change) => this.#drop(change));
  }

  /** Who presents a token that was proved before, without waiting. `connection`: as for `GrantCache.known`. */
  known(token: string, connection?: object): JwtIdentity | undefined {
    if (this.#kept.size === 0) return undefined;
    const kept = this.#kept.get(connection ? this.#digest(token, connection) : sha256(token));
    return kept && this.#now() < kept.keptUntil ? kept.identity : undefined;
  }

  /** Throws 503 where the issuer's keys or the store do not answer (ID-20), never for what a token is. */
  async prove(token: string): Promise<JwtProof> {
    const identity = this.known(token);
    if (identity) return { ok: true, identity };
    const issuer = this.#issuerOf(token);
    if (!issuer) return { ok: false, reason: "issuer_unknown" };
    const digest = sha256(token);
    const running = this.#proving.get(digest);
    if (running) return running;
    const proving = this.#prove(issuer, token, digest).finally(() => this.#proving.delete(digest));
    this.#proving.set(digest, proving);
    return proving;
  }

  #issuerOf(token: string): JwtIssuer | undefined {
    if (this.#parts.issuers.length === 0) return undefined;
    const iss = unverifiedClaims(token)?.iss;
    return this.#parts.issuers.find(({ issuer }) => issuer === iss);
  }

  async #prove(issuer: JwtIssuer, token: string, digest: string): Promise<JwtProof> {
    const version = this.#version;
    const verdict = await this.#parts.verifier.verify(issuer, token, { audience: issuer.audience });
    if (!verdict.ok) return { ok: false, reason: verdict.reason, issuer: issuer.issuer };
    const meaning = meaningOf(issuer, verdict.claims);
    if ("refused" in meaning) return { ok: false, reason: meaning.refused, issuer: issuer.issuer };
    const expiresAt = (verdict.claims.exp as number) * 1000;
    const until = expiresAt + issuer.clockSkewMs;
    const { iat } = verdict.claims;
    const identity = await this.#identityOf(issuer, meaning, {
      until,
      standing: standingOf(verdict.claims),
      issuedAt: typeof iat === "number" ? iat * 1000 : undefined,
    });
    if (typeof identity === "string") return { ok: false, reason: identity, issuer: issuer.issuer };
    if (version === this.#version) this.#keep(digest, identity, expiresAt);
    return { ok: true, identity };
  }

  /** The identity, or why there is none. */
  async #identityOf(
    issuer: JwtIssuer,
    meaning: JwtMeaning,
    { until, standing, issuedAt }: Pick<JwtIdentity, "until" | "standing"> & { issuedAt?: number },
  ): Promise<JwtIdentity | string> {
    const common = { issuer: issuer.issuer, subject: meaning.subject, until, standing };
    switch (meaning.kind) {
      case "admin":
        return { kind: "admin", name: meaning.subject, ...common };
      case "user": {
        const user = await this.#personOf(issuer, meaning, issuedAt);
        return typeof user === "string"
          ? user
          : { ...common, kind: "user", userId: user.id, name: user.name };
      }
      case "vk": {
        const key = await this.#parts.keyNamed(meaning.virtualKey);
        if (!key) return "virtual_key_unusable";
        const { id: virtualKeyId, name, userId, expiresAt = Number.POSITIVE_INFINITY } = key;
        return {
          ...common,
          kind: "virtual_key",
          virtualKeyId,
          name,
          userId,
          until: Math.min(until, expiresAt),
        };
      }
    }
  }

  /** ID-18: found by issuer and claim value; made just in time where that is allowed. */
  async #personOf(
    issuer: JwtIssuer,
    { user, groups, email, name }: Extract<JwtMeaning, { kind: "user" }>,
    issuedAt: number | undefined,
  ): Promise<{ id: string; name: string } | string> {
    const { database, identities, departed } = this.#parts;
    const assertion = {
      provider: `jwt:${issuer.issuer}`,
      issuer: issuer.issuer,
      subject: user,
      groups,
      email,
      name,
    };
    try {
      return await database.transaction(async (tx) => {
        // Who was deleted does not come back by what was said of them before.
        const create = async () =>
          issuer.createAccounts && !(await departed.since(tx, issuer.issuer, user, issuedAt));
        return identities.admit(tx, assertion, { create });
      });
    } catch (error) {
      if (error instanceof Problem && error.status < 500) return error.code;
      throw error;
    }
  }

  #keep(digest: string, identity: JwtIdentity, expiresAt: number): void {
    const now = this.#now();
    const keptUntil = Math.min(expiresAt, identity.until, now + KEPT_MS);
    if (keptUntil <= now) return;
    if (this.#kept.size >= MAX_ENTRIES) this.#kept.delete(this.#kept.keys().next().value!);
    this.#kept.set(digest, { identity, keptUntil });
  }

  #digest(token: string, connection: object): string {
    const last = this.#lastOf.get(connection);
    if (last?.token === token) return last.digest;
    const digest = sha256(token);
    this.#lastOf.set(connection, { token, digest });
    return digest;
  }

  #drop({ topic, key }: Change): void {
    if (topic !== "user" && topic !== "virtual_key" && topic !== EVERYTHING) return;
    this.#version += 1;
    if (topic === EVERYTHING) this.#kept.clear();
    for (const [digest, { identity }] of this.#kept)
      if ((topic === "user" ? identity.userId : identity.virtualKeyId) === key) this.#kept.delete(digest);
  }

  #now(): number {
    return this.#parts.world.now().getTime();
  }
}

/** What differs from one token to the next and says nothing of what its bearer may do. */
const OF_THIS_TOKEN = new Set([
  "iat",
  "exp",
  "nbf",
  "jti",
  "auth_time",
  "at_hash",
  "nonce",
  "aio",
  "uti",
  "rh",
]);

function standingOf(claims: Record<string, unknown>): string {
  return fingerprint(Object.fromEntries(Object.entries(claims).filter(([name]) => !OF_THIS_TOKEN.has(name))));
}
