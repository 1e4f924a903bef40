/** How much a property is tried, and from where; the same numbers give the same inputs. fast-check prints both on failure. */
export interface FuzzOptions {
  seed: number;
  runs: number;
}

/** What `npm test` does. */
export const brief = (runs: number): FuzzOptions => ({ seed: 20260728, runs });
