import type { World } from "../base/index.ts";
import type { Credential } from "./credential.ts";

const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 1_000;
/** Longer than a database is usually away; each answer that waits holds two tokens in memory. */
const GIVE_UP_MS = 5 * 60_000;

/**
 * Stores what a provider gave and will not give again: tried until the database takes it, for five minutes. Throws what
 * the last try threw.
 */
export async function insist(
  { log }: Pick<World, "log">,
  { id: credential, upstreamId: upstream }: Credential,
  store: () => Promise<void>,
): Promise<void> {
  const until = performance.now() + GIVE_UP_MS;
  for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
    try {
      return await store();
    } catch (error) {
      if (performance.now() + pause > until) {
        log.error("credential.answer_lost", { credential, upstream, error });
        throw error;
      }
      if (pause === FIRST_PAUSE_MS) log.warn("credential.answer_waits", { credential, upstream, error });
      await new Promise((resolve) => setTimeout(resolve, pause).unref());
    }
  }
}
