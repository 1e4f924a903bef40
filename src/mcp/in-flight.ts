import type { Gone } from "../base/index.ts";
import type { Message } from "./body.ts";
import { isObject } from "./body.ts";
import type { Caller } from "./caller.ts";
import type { Client } from "./era.ts";

/**
 * Calls of older clients under way on this replica, so that `notifications/cancelled` finds its own: the same caller and
 * the same session, never another's (MC-16). Modern clients cancel by closing.
 */
export class InFlight {
  readonly #running = new Map<string, AbortController>();

  /** A signal that also aborts on a cancellation; `done`, if there is one, must be called at the end. */
  track(caller: Caller, client: Client, id: string | number, gone: Gone): { signal: Gone; done?(): void } {
    if (client.sessionId === undefined) return { signal: gone };
    const key = keyOf(caller, client, id);
    const controller = new AbortController();
    const abort = () => controller.abort();
    gone.addEventListener("abort", abort);
    if (gone.aborted) abort();
    this.#running.set(key, controller);
    return {
      signal: controller.signal,
      done: () => {
        gone.removeEventListener("abort", abort);
        if (this.#running.get(key) === controller) this.#running.delete(key);
      },
    };
  }

  /** Takes a notification; only cancellations mean something to us. */
  notify(caller: Caller, client: Client, { method, params }: Message): void {
    if (method !== "notifications/cancelled" || client.sessionId === undefined || !isObject(params)) return;
    const id = params.requestId;
    if (typeof id === "string" || typeof id === "number")
      this.#running.get(keyOf(caller, client, id))?.abort();
  }
}

function keyOf(caller: Caller, client: Client, id: string | number): string {
  return `${caller.binding} ${client.sessionId} ${typeof id} ${id}`;
}
