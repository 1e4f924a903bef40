import type { Owner } from "../base/index.ts";
import type { McpParts } from "./parts.ts";

/** What an owner has at the upstreams where each has an account of their own. */
export type Standing = Awaited<ReturnType<McpParts["vault"]["statuses"]>>;

const CAPACITY = 20_000;

/** The standings of those who listen, read once and again when a credential of theirs changed: ten thousand streams, no queries. */
export class Standings {
  readonly #parts: Pick<McpParts, "vault" | "upstreams">;
  readonly #known = new Map<string, Promise<Standing>>();

  constructor(parts: Pick<McpParts, "vault" | "upstreams">) {
    this.#parts = parts;
  }

  of(owner: Owner): Promise<Standing> {
    const key = `${owner.mode}:${owner.id}`;
    const known = this.#known.get(key);
    if (known) return known;
    if (this.#known.size >= CAPACITY) this.#known.clear();
    // An upstream that comes later has no credential yet; one that is given is a change.
    const ids = this.#parts.upstreams.all().flatMap(({ perUser, id }) => (perUser ? [id] : []));
    const reading = this.#parts.vault.statuses(owner, ids);
    this.#known.set(key, reading);
    reading.catch(() => {
      if (this.#known.get(key) === reading) this.#known.delete(key);
    });
    return reading;
  }

  /** `owner`: as in the change topic `credential`, `mode:id`. */
  drop(owner: string): void {
    this.#known.delete(owner);
  }

  clear(): void {
    this.#known.clear();
  }
}
