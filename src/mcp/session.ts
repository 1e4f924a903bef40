import type { Seal, World } from "../base/index.ts";
import type { Caller } from "./caller.ts";
import type { ClientName } from "./client-behaviour.ts";
import { code, Refusal } from "./refusal.ts";

/** What an older client told us at `initialize`. */
export interface ClientSession {
  version: string;
  /** Whether it can open links (elicitation in URL mode, 2025-11-25). */
  opensUrls: boolean;
  /** `clientInfo`, shortened: the id travels with every request. */
  client?: { name?: string; version?: string };
}

interface Sealed extends ClientSession {
  expiresAt: number;
}

const LIFE_MS = 7 * 24 * 3_600_000;
const MAX_KNOWN = 10_000;
const MAX_TEXT = 64;
const PURPOSE = "mcp_session";

/**
 * Session ids of older clients: nothing is stored, the id is the sealed session, so any replica serves it. It proves
 * nothing about who calls; it opens only for the caller it was made for.
 */
export class ClientSessions {
  readonly #world: World;
  readonly #seal: Seal;
  /** Opened before, so that a warm call does not decrypt: binding and id to session. */
  readonly #known = new Map<string, Sealed>();

  constructor(world: World, seal: Seal) {
    this.#world = world;
    this.#seal = seal;
  }

  start(caller: Caller, session: ClientSession): string {
    const sealed: Sealed = { ...session, expiresAt: this.#world.now().getTime() + LIFE_MS };
    return this.#seal.seal(JSON.stringify(sealed), [PURPOSE, caller.binding]).toString("base64url");
  }

  /** Throws the 404 after which a client starts anew: unknown, ended, or another caller's (MC-14). */
  open(caller: Caller, id: string): ClientSession {
    const key = `${caller.binding} ${id}`;
    const session = this.#known.get(key) ?? this.#unseal(caller, id);
    if (!session || session.expiresAt <= this.#world.now().getTime()) {
      throw new Refusal(code.sessionNotFound, "This session is not known here. Initialize again.", {
        status: 404,
      });
    }
    if (this.#known.size >= MAX_KNOWN) this.#known.clear();
    this.#known.set(key, session);
    return session;
  }

  #unseal(caller: Caller, id: string): Sealed | undefined {
    if (id.length > 1024) return undefined;
    try {
      return JSON.parse(
        this.#seal.open(Buffer.from(id, "base64url"), [PURPOSE, caller.binding]).toString("utf8"),
      );
    } catch {
      return undefined;
    }
  }
}

/** What is kept of `clientInfo`. */
export function shortName({ name, version }: ClientName): ClientSession["client"] {
  const short = (text: unknown) => (typeof text === "string" ? text.slice(0, MAX_TEXT) : undefined);
  return { name: short(name), version: short(version) };
}
