import { Problem, type World } from "../base/index.ts";

/** RFC 8628 §6.1: no vowels, so no words; nothing that is read as something else. 8 of 20 are 34 bits. */
const ALPHABET = "BCDFGHJKLMNPQRSTVWXZ";
const LENGTH = 8;
const NOT_OURS = new RegExp(`[^${ALPHABET}]`, "g");

/** A code for a person to type, without its hyphen. */
export function newUserCode(world: Pick<World, "random">): string {
  let code = "";
  while (code.length < LENGTH) {
    for (const byte of world.random(16)) {
      // Every letter as likely as any other: what is left over of 256 is drawn again.
      if (byte < 240 && code.length < LENGTH) code += ALPHABET[byte % ALPHABET.length];
    }
  }
  return code;
}

/** As it is shown and read aloud. */
export function shownUserCode(code: string): string {
  return `${code.slice(0, LENGTH / 2)}-${code.slice(LENGTH / 2)}`;
}

/** What a person typed, in any case and with anything in between; undefined: no code of ours can be meant. */
export function readUserCode(typed: string): string | undefined {
  const code = typed.toUpperCase().replace(NOT_OURS, "");
  return code.length === LENGTH ? code : undefined;
}

const WINDOW_MS = 10 * 60_000;
const MAX_WRONG = 1000;

/**
 * Codes that were typed and are nobody's, from everywhere, in this process (RFC 8628 §5.1): each address has a budget of its
 * own, and a thousand addresses together have this one. It leaves a guesser one chance in 25 million for each device that waits.
 */
export class WrongCodes {
  readonly #world: World;
  #count = 0;
  #endsAt = 0;

  constructor(world: World) {
    this.#world = world;
  }

  /** Throws 429 when no more guesses are taken at the moment. */
  check(): void {
    const now = this.#world.now().getTime();
    if (now >= this.#endsAt) this.#count = 0;
    if (this.#count < MAX_WRONG) return;
    throw new Problem(
      "too_many",
      "too_many_guesses",
      "Too many wrong codes were typed lately. Wait a few minutes and try again.",
      { retryAfter: (this.#endsAt - now) / 1000 },
    );
  }

  note(): void {
    if (this.#count === 0) this.#endsAt = this.#world.now().getTime() + WINDOW_MS;
    this.#count += 1;
  }
}
