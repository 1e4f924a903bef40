/** A body that is hostile by its size or shape. */
export interface HostileBody {
  what: string;
  /** The body at this share of its full size, 1 being all of it. */
  make(share: number): string;
  /** What becomes of all of it: `accepted`, or the reason of the refusal. */
  verdict: string;
}

const members = (count: number) => `{${Array.from({ length: count }, (_, at) => `"k${at}":1`).join(",")}}`;
const list = (count: number, item: string) => Array(Math.round(count)).fill(item).join(",");

/** Attack case MC-07: read in the test of the strict reader, timed in the benchmark. */
export const hostileBodies: readonly HostileBody[] = [
  { what: "100 000 nested arrays", make: (share) => "[".repeat(100_000 * share), verdict: "depth" },
  { what: "300 000 members", make: (share) => members(300_000 * share), verdict: "too_many_keys" },
  { what: "a key of 1 MB", make: (share) => `{"${"k".repeat(1_000_000 * share)}":1}`, verdict: "accepted" },
  { what: "4 MB of \\u0000", make: (share) => `"${"\\u0000".repeat(690_000 * share)}"`, verdict: "accepted" },
  {
    what: "4 MB of escaped quotes",
    make: (share) => `"${'\\"'.repeat(2_000_000 * share)}"`,
    verdict: "accepted",
  },
  { what: "4 MB of 1e400", make: (share) => `[${list(590_000 * share, "1e400")}]`, verdict: "too_large" },
  { what: "a number of 4 MB", make: (share) => `1${"0".repeat(4_000_000 * share)}1`, verdict: "accepted" },
  {
    what: "4 MB of short numbers and one big",
    make: (share) => `[${list(2_000_000 * share, "1")},1e400]`,
    verdict: "accepted",
  },
];
