import type { Agent } from "undici";
import type { Tls } from "./tls.ts";

/** Distinct configurations with connections at a time; those unused go first. */
const MAX_AGENTS = 256;
const SWEEP_MS = 60_000;

interface Entry {
  agent: Agent;
  fingerprint: string;
  /** Since the last sweep. */
  used: boolean;
  closed: boolean;
}

/** One agent for each distinct TLS configuration: opened when first used, closed when not used for a while. */
export class TlsAgents {
  readonly #open: (tls: Tls) => Agent;
  readonly #known = new WeakMap<Tls, Entry>();
  readonly #entries = new Map<string, Entry>();
  #sweeper: NodeJS.Timeout | undefined;

  constructor(open: (tls: Tls) => Agent) {
    this.#open = open;
  }

  get size(): number {
    return this.#entries.size;
  }

  get(tls: Tls): Agent {
    const known = this.#known.get(tls);
    const entry = known && !known.closed ? known : this.#find(tls);
    entry.used = true;
    return entry.agent;
  }

  /** Lets what is under way end and keeps no connection; whoever uses the configuration still gets a new one. */
  drop({ fingerprint }: Tls): void {
    const entry = this.#entries.get(fingerprint);
    if (entry) this.#close(entry);
  }

  /** Closes what nobody asked for since the last time. */
  sweep(): void {
    for (const entry of this.#entries.values()) {
      if (entry.used) entry.used = false;
      else this.#close(entry);
    }
  }

  async destroy(): Promise<void> {
    const agents = [...this.#entries.values()].map(({ agent }) => agent);
    for (const entry of this.#entries.values()) this.#forget(entry);
    await Promise.all(agents.map((agent) => agent.destroy()));
  }

  #find(tls: Tls): Entry {
    const { fingerprint } = tls;
    let entry = this.#entries.get(fingerprint);
    if (!entry) {
      entry = { agent: this.#open(tls), fingerprint, used: true, closed: false };
      if (this.#entries.size >= MAX_AGENTS) this.#makeRoom();
      this.#entries.set(fingerprint, entry);
      this.#sweeper ??= setInterval(() => this.sweep(), SWEEP_MS).unref();
    }
    this.#known.set(tls, entry);
    return entry;
  }

  #makeRoom(): void {
    const entries = [...this.#entries.values()];
    this.#close(entries.find(({ used }) => !used) ?? entries[0]!);
  }

  #close(entry: Entry): void {
    this.#forget(entry);
    // Only says that it is closed already.
    entry.agent.close().catch(() => {});
  }

  #forget(entry: Entry): void {
    entry.closed = true;
    this.#entries.delete(entry.fingerprint);
    if (this.#entries.size > 0) return;
    clearInterval(this.#sweeper);
    this.#sweeper = undefined;
  }
}
