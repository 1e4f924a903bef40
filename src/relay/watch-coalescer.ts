import type { JsonObject } from "../base/index.ts";
import { TASK, UPDATED } from "./watch-wanted.ts";

const WINDOW_MS = 1_000;
/** Different changes within one window; what comes beyond them is left out. */
const MAX_KINDS = 1_000;

interface Window {
  timer: NodeJS.Timeout;
  /** The last one that came while the window was open. */
  waiting: { method: string; params: JsonObject } | undefined;
}

/** Tells each change at most once a second (MC-39): the first at once, of the others the last one when the second is over. */
export class Coalescer {
  readonly #tell: (method: string, params: JsonObject) => void;
  readonly #windows = new Map<string, Window>();

  constructor(tell: (method: string, params: JsonObject) => void) {
    this.#tell = tell;
  }

  take(method: string, params: JsonObject): void {
    const about = method === UPDATED ? params.uri : method === TASK ? params.taskId : undefined;
    const key = about === undefined ? method : `${method} ${String(about)}`;
    const window = this.#windows.get(key);
    if (window) {
      window.waiting = { method, params };
      return;
    }
    if (this.#windows.size >= MAX_KINDS) return;
    this.#open(key);
    this.#tell(method, params);
  }

  close(): void {
    for (const { timer } of this.#windows.values()) clearTimeout(timer);
    this.#windows.clear();
  }

  #open(key: string): void {
    const timer = setTimeout(() => this.#over(key), WINDOW_MS).unref();
    this.#windows.set(key, { timer, waiting: undefined });
  }

  #over(key: string): void {
    const waiting = this.#windows.get(key)?.waiting;
    this.#windows.delete(key);
    if (!waiting) return;
    this.#open(key);
    this.#tell(waiting.method, waiting.params);
  }
}
