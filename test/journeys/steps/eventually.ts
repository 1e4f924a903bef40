import { setTimeout as pause } from "node:timers/promises";

/** Waits until `condition` holds, asking again and again; throws after `ms`. For what happens in the background. */
export async function eventually(
  what: string,
  condition: () => boolean | Promise<boolean>,
  ms = 10_000,
): Promise<void> {
  const deadline = performance.now() + ms;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`It did not happen within ${ms} ms: ${what}`);
    await pause(20);
  }
}
