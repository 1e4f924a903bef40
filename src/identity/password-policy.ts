import { createHash } from "node:crypto";
import { type Hidden, OutboundError, Problem, type Settings, type World } from "../base/index.ts";
import { guessability } from "./guessability.ts";
import { checkPassword } from "./passwords.ts";

/** Of 0 to 4: at 3 a password stands up to somebody who has the hash (zxcvbn: more than 10^8 guesses). */
const MIN_SCORE = 3;
/** What a range service wants to hear of a password: the first digits of its SHA-1, which thousands share. */
const PREFIX = 5;
const ANSWER_BYTES = 1024 * 1024;
const ANSWER_MS = 3_000;

/** Whose password it will be; what stands in their e-mail address and name is guessed first. */
export interface PasswordOwner {
  email?: string;
  name?: string;
}

export interface PasswordPolicyParts {
  world: World;
  /** Read at each use. Without it no list elsewhere is asked. */
  settings?: Pick<Settings, "breachedPasswordsUrl">;
}

/**
 * What a password must be when it is chosen (NIST SP 800-63B-4 §3.1.1.2): long enough, on no list of common or breached ones,
 * nothing that is guessed from its owner. No rules of composition, no expiry. Those that exist are not held against it.
 */
export class PasswordPolicy {
  readonly #parts: PasswordPolicyParts;

  constructor(parts: PasswordPolicyParts) {
    this.#parts = parts;
  }

  /** Throws 400 `invalid_password`, `common_password`, `breached_password`; `param` is the field it came in. */
  async check(password: Hidden, owner: PasswordOwner, param = "password"): Promise<void> {
    const text = password.reveal().normalize("NFC");
    checkPassword(text, param);
    if ((await guessability(text, wordsOf(owner))) < MIN_SCORE) throw commonPassword(param);
    if (await this.#isBreached(text)) throw breachedPassword(param);
  }

  /** An answer that does not come says nothing: who chooses a password must not depend on a service elsewhere. */
  async #isBreached(text: string): Promise<boolean> {
    const { world, settings } = this.#parts;
    const base = settings?.breachedPasswordsUrl;
    if (base === undefined) return false;
    const digest = createHash("sha1").update(text).digest("hex").toUpperCase();
    try {
      const answer = await world.outbound.fetch(base + digest.slice(0, PREFIX), {
        // Every answer is as long as the others, so that its length tells an onlooker nothing.
        headers: { "add-padding": "true" },
        policy: "admin",
        maxBytes: ANSWER_BYTES,
        timeoutMs: ANSWER_MS,
      });
      if (answer.ok) return lists(await answer.text(), digest.slice(PREFIX));
      world.log.warn("password.list_unavailable", { status: answer.status });
    } catch (error) {
      if (!(error instanceof OutboundError)) throw error;
      world.log.warn("password.list_unavailable", { error });
    }
    return false;
  }
}

/** Lines of `SUFFIX:COUNT`; those with a count of 0 are padding. */
function lists(answer: string, suffix: string): boolean {
  return answer.split(/\r?\n/).some((line) => {
    const [digest, count] = line.split(":");
    return digest?.trim().toUpperCase() === suffix && Number(count) > 0;
  });
}

function wordsOf({ email = "", name = "" }: PasswordOwner): string[] {
  const whole = [email, name, "postern"];
  return [...whole, ...whole.flatMap((text) => text.split(/[^\p{L}\p{N}]+/u))].filter(
    (word) => word.length > 2,
  );
}

function commonPassword(param: string): Problem {
  return new Problem(
    "invalid",
    "common_password",
    "This password is easy to guess: it is a common one, or close to your name or e-mail address. Choose another, for example four words that do not belong together.",
    { param },
  );
}

function breachedPassword(param: string): Problem {
  return new Problem(
    "invalid",
    "breached_password",
    "This password has become known in a breach elsewhere. Choose another.",
    { param },
  );
}
