import { setTimeout } from "node:timers/promises";
import { KeyProviderDown } from "./provider.ts";

const ATTEMPTS = 5;

/** Milliseconds: for one answer, and before the second attempt; every further wait is twice as long. */
export interface Patience {
  timeoutMs: number;
  waitMs: number;
}

/** A provider that does not answer at all has kept a start waiting for half a minute then. */
export const usualPatience: Patience = { timeoutMs: 5_000, waitMs: 250 };

/** Tries again while a provider is down, a few times. What it refuses, it refuses. */
export async function patiently<T>({ waitMs }: Patience, ask: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await ask();
    } catch (error) {
      if (!(error instanceof KeyProviderDown) || attempt === ATTEMPTS) throw error;
      await setTimeout(waitMs * 2 ** (attempt - 1));
    }
  }
}
