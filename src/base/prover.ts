import type { Proven } from "./proof-key.ts";

/** Proves requests as they are sent (RFC 9449 §7). */
export interface Prover {
  /** The value of the `DPoP` header. */
  prove(request: Pick<Proven, "method" | "url" | "body">): string;
  /** Hears of the `DPoP-Nonce` of the answer. */
  heed(origin: string, nonce: unknown): void;
}

/** A symbol: it is copied with the headers, and no header of any name can be mistaken for it. */
const prover = Symbol("prover");

/** Lets the way out prove the request that these headers go with: it alone knows method, address and body at last. */
export function proveWith(headers: Record<string, string>, value: Prover): void {
  (headers as { [prover]?: Prover })[prover] = value;
}

export function proverOf(headers: Record<string, string>): Prover | undefined {
  return (headers as { [prover]?: Prover })[prover];
}
