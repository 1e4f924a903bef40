import type { Seal, World } from "../base/index.ts";
import type { Caller } from "./caller.ts";
import type { HeldAt } from "./held-call.ts";
import { code, Refusal } from "./refusal.ts";

/** What a `requestState` of ours says: we asked for a connection, or the upstream asked and this is its own state. */
export interface RequestState {
  answers: "gateway" | "upstream";
  upstream?: string;
  /** The upstream is older and waits: where its call is held. */
  held?: HeldAt;
  /** Of our own: how often the call was repeated since the person opened the link. */
  waited?: number;
}

interface Sealed extends RequestState {
  expiresAt: number;
}

const LIFE_MS = 30 * 60_000;
const MAX_LENGTH = 64 * 1024;
const PURPOSE = "request_state";

/**
 * `requestState` travels through the client, so it is sealed: it opens only for the caller, the tool and the arguments it
 * was made for, and not for ever (2026-07-28 MRTR "Server Requirements", MC-32).
 */
export class RequestStates {
  readonly #world: World;
  readonly #seal: Seal;

  constructor(world: World, seal: Seal) {
    this.#world = world;
    this.#seal = seal;
  }

  /** `digest`: of the method's salient parameters. */
  wrap(caller: Caller, digest: string, state: RequestState): string {
    const sealed: Sealed = { ...state, expiresAt: this.#world.now().getTime() + LIFE_MS };
    return this.#seal.seal(JSON.stringify(sealed), [PURPOSE, caller.binding, digest]).toString("base64url");
  }

  /** Throws `Refusal` -32602 for anything that is not a state of ours for this very call. */
  open(caller: Caller, digest: string, value: unknown): RequestState {
    const state = typeof value === "string" ? this.#unseal(caller, digest, value) : undefined;
    if (!state || state.expiresAt <= this.#world.now().getTime()) {
      const message =
        "The requestState does not belong to this call or has expired. Send the call anew, without it.";
      throw new Refusal(code.invalidParams, message);
    }
    return state;
  }

  #unseal(caller: Caller, digest: string, value: string): Sealed | undefined {
    if (value.length > MAX_LENGTH) return undefined;
    try {
      const opened = this.#seal.open(Buffer.from(value, "base64url"), [PURPOSE, caller.binding, digest]);
      return JSON.parse(opened.toString("utf8"));
    } catch {
      return undefined;
    }
  }
}
