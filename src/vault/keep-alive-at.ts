import type { World } from "../base/index.ts";

const DAY_MS = 24 * 60 * 60_000;
/** The shortest life of an unused refresh token at a provider that we know of is a week. */
const REST_MS = 4 * DAY_MS;
const SPREAD_MS = 2 * DAY_MS;

/** When a credential that is stored now is looked at again: in four to six days, so that not all of them come at once. */
export function keepAliveAt({ now, random }: Pick<World, "now" | "random">): number {
  const bytes = random(2);
  const share = (bytes[0]! * 256 + bytes[1]!) / 65_536;
  return now().getTime() + REST_MS + Math.floor(share * SPREAD_MS);
}
