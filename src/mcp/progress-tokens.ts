import type { Seal } from "../base/index.ts";
import type { Caller } from "./caller.ts";

/** Longer ones stay with the call that they came with. */
const MAX_TOKEN = 256;
const PURPOSE = "progress_token";

/**
 * What upstreams call the progress of a task by: the client's own token, sealed for whoever called, so that any replica can
 * tell what it stands for as long as the task lives (2025-11-25 "Task Progress"). Another one with every call (MC-16).
 */
export class ProgressTokens {
  readonly #seal: Seal;

  constructor(seal: Seal) {
    this.#seal = seal;
  }

  /** Undefined for what is no token, or too long to travel. */
  of(caller: Caller, token: unknown): string | undefined {
    if (typeof token !== "number" && !(typeof token === "string" && token.length <= MAX_TOKEN))
      return undefined;
    return this.#seal.seal(JSON.stringify(token), contextOf(caller)).toString("base64url");
  }

  /** The client's own token; undefined for what was not made for this caller. */
  open(caller: Caller, sealed: unknown): string | number | undefined {
    if (typeof sealed !== "string" || sealed.length > 8 * MAX_TOKEN) return undefined;
    try {
      return JSON.parse(this.#seal.openText(Buffer.from(sealed, "base64url"), contextOf(caller)));
    } catch {
      return undefined;
    }
  }
}

function contextOf({ owner, binding }: Caller): [string, ...string[]] {
  return [PURPOSE, owner.mode, owner.id, binding];
}
