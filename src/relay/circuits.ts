import type { RelayFault } from "./fault.ts";

interface Circuit {
  generation: number;
  /** Connections in a row that did not come about or broke. */
  failures: number;
  /** Open until then, in milliseconds of `now`; 0: closed. */
  openUntil: number;
  openMs: number;
  /** One call is finding out whether the upstream is back. */
  probing: boolean;
}

export type Told = "reached" | "unreached" | "unknown";

type Upstream = { id: string; generation: number };

const FAILURES = 5;
const FIRST_MS = 1_000;
const LONGEST_MS = 30_000;
const MAX_CIRCUITS = 10_000;

/**
 * A circuit breaker per upstream: once it could not be reached several times in a row, calls are answered at once and do
 * not wait for it; from time to time one of them finds out whether it is back. Only the connection counts: whoever
 * answers, however badly, is there. Costs nothing while all upstreams are.
 */
export class Circuits {
  readonly #now: () => number;
  readonly #told: (change: "opened" | "closed", upstreamId: string) => void;
  /** Only upstreams that failed since they last answered. */
  readonly #circuits = new Map<string, Circuit>();

  constructor(now: () => number, told: (change: "opened" | "closed", upstreamId: string) => void = () => {}) {
    this.#now = now;
    this.#told = told;
  }

  /** Whether a call is not worth trying; false also makes it the one that tries, so `ended` must follow. */
  refuses(upstream: Upstream): boolean {
    if (this.#circuits.size === 0) return false;
    const circuit = this.#find(upstream);
    if (!circuit || circuit.openUntil === 0) return false;
    if (circuit.probing || this.#now() < circuit.openUntil) return true;
    circuit.probing = true;
    return false;
  }

  /** What came of a call that was not refused. */
  ended(upstream: Upstream, what: Told): void {
    if (what === "unreached") this.#failed(upstream);
    else if (this.#circuits.size === 0) return;
    else if (what === "reached") this.#close(upstream);
    else this.#release(upstream);
  }

  #close(upstream: Upstream): void {
    const circuit = this.#find(upstream);
    if (!circuit) return;
    this.#circuits.delete(upstream.id);
    if (circuit.openUntil > 0) this.#told("closed", upstream.id);
  }

  #release(upstream: Upstream): void {
    const circuit = this.#find(upstream);
    if (circuit) circuit.probing = false;
  }

  #failed(upstream: Upstream): void {
    const { id, generation } = upstream;
    const circuit = this.#find(upstream) ?? {
      generation,
      failures: 0,
      openUntil: 0,
      openMs: FIRST_MS,
      probing: false,
    };
    circuit.failures += 1;
    if (circuit.failures >= FAILURES) {
      const first = circuit.openUntil === 0;
      // What was under way when it opened says nothing new.
      if (first || circuit.probing) circuit.openUntil = this.#now() + circuit.openMs;
      if (circuit.probing) circuit.openMs = Math.min(circuit.openMs * 2, LONGEST_MS);
      if (first) this.#told("opened", id);
    }
    circuit.probing = false;
    if (this.#circuits.size >= MAX_CIRCUITS) this.#circuits.clear();
    this.#circuits.set(id, circuit);
  }

  /** Another address is another upstream. */
  #find({ id, generation }: Upstream): Circuit | undefined {
    const circuit = this.#circuits.get(id);
    return circuit?.generation === generation ? circuit : undefined;
  }
}

/** What a fault says of the connection: that it did not come about or broke, that it is there, or nothing. */
export function toldBy({ code, retryable }: RelayFault): Told {
  switch (code) {
    case "upstream_unreachable":
      return "unreached";
    case "upstream_timeout":
      // An answer may take long wherever there is somebody to give it.
      return retryable ? "unreached" : "unknown";
    case "upstream_protocol":
    case "upstream_too_large":
    case "upstream_refused":
      return "reached";
    case "upstream_address_refused":
    case "cancelled":
    case "credential_unavailable":
    case "client_refused":
      return "unknown";
  }
}
