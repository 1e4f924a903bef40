/** The part of an `AbortSignal` that tells when a caller has gone. Any signal is one; the HTTP edge has a cheaper one. */
export interface Gone {
  readonly aborted: boolean;
  addEventListener(type: "abort", listener: () => void): void;
  removeEventListener(type: "abort", listener: () => void): void;
}
