import type { UpstreamRequests } from "./upstream-requests.ts";

/** design.md section 6: processor time of a per-user call, in bare-proxy calls measured in the same run. */
export const MAX_COST_RATIO = 1.5;

/** design.md section 6: what one call may send to its upstream. */
export const maxUpstreamRequests: UpstreamRequests = { coldModern: 2, coldLegacy: 3, warm: 1 };

/** Attack case MC-07: work that grows with the square of the length makes four of two. */
export const MAX_GROWTH = 3;
/** Milliseconds; the case says 200, the factor is for slower machines. */
export const MAX_HOSTILE_MS = 1000;

/** Attack case AD-05: without the same work one refusal would be some thirty times faster. */
export const MAX_SIGN_IN_RATIO = 2;

/** goals.md, goal 6. Shown, but no reason to fail: they depend on the machine. */
export const aims = {
  callsPerSecond: 2000,
  addedP50Ms: 1.5,
  addedP99Ms: 10,
  idleMiB: 150,
  coldStartMs: 1500,
};
