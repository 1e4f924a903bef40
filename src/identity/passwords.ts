import { argon2, timingSafeEqual } from "node:crypto";
import { promisify } from "node:util";
import { type Hidden, Problem, type World } from "../base/index.ts";

const derive = promisify(argon2);

// OWASP Password Storage: Argon2id, 19 MiB, two passes, one lane.
const MEMORY_KIB = 19_456;
const PASSES = 2;
const NONCE_BYTES = 16;
const TAG_BYTES = 32;

const MIN_LENGTH = 12;
const MAX_LENGTH = 256;
/** Each hash takes tens of milliseconds of a thread; more at once would slow everybody else down. */
const AT_ONCE = 2;
const MAX_WAITING = 50;

let running = 0;
const waiting: (() => void)[] = [];

/** Throws 400 when the password is too short or too long. `param`: the field it came in. */
export function checkPassword(password: string, param = "password"): void {
  if (password.length >= MIN_LENGTH && password.length <= MAX_LENGTH) return;
  throw new Problem(
    "invalid",
    "invalid_password",
    `Choose a password of ${MIN_LENGTH} to ${MAX_LENGTH} characters.`,
    { param },
  );
}

/** A self-describing string: `argon2id$memory$passes$nonce$tag`. */
export async function hashPassword(password: Hidden, world: World): Promise<string> {
  const nonce = Buffer.from(world.random(NONCE_BYTES));
  const tag = await compute(password, nonce, MEMORY_KIB, PASSES);
  return ["argon2id", MEMORY_KIB, PASSES, nonce.toString("base64url"), tag.toString("base64url")].join("$");
}

/** Takes the same time for an unknown account: pass `undefined`. */
export async function verifyPassword(password: Hidden, stored: string | undefined): Promise<boolean> {
  const [, memory, passes, nonce, tag] = stored?.split("$") ?? [
    "",
    String(MEMORY_KIB),
    String(PASSES),
    "AAAAAAAAAAAAAAAAAAAAAA",
    "",
  ];
  const computed = await compute(password, Buffer.from(nonce!, "base64url"), Number(memory), Number(passes));
  const expected = Buffer.from(tag!, "base64url");
  return stored !== undefined && expected.length === computed.length && timingSafeEqual(expected, computed);
}

async function compute(password: Hidden, nonce: Buffer, memory: number, passes: number): Promise<Buffer> {
  await enter();
  try {
    const message = password.reveal().normalize("NFC");
    return await derive("argon2id", { message, nonce, memory, passes, parallelism: 1, tagLength: TAG_BYTES });
  } finally {
    running -= 1;
    waiting.shift()?.();
  }
}

async function enter(): Promise<void> {
  if (running >= AT_ONCE) {
    if (waiting.length >= MAX_WAITING) {
      throw new Problem(
        "too_many",
        "rate_limited",
        "Too many sign-ins at once. Wait a little and try again.",
        { retryAfter: 5 },
      );
    }
    await new Promise<void>((resolve) => waiting.push(resolve));
  }
  running += 1;
}
