/**
 * The state machine of a credential: the table that vault.ts is held to (transitions.test.ts) and that docs/guide/credential-states.md shows. `lost` is `needs_reauth` for tokens and
 * `needs_update` for header values; `orphaned+…` is the flag with the status beneath it.
 */
export type State = "none" | "active" | "lost" | "orphaned+active" | "orphaned+lost";
export type Kind = "oauth" | "headers";

export const states: readonly State[] = ["none", "active", "lost", "orphaned+active", "orphaned+lost"];

/** Everything that can happen to a credential. */
export const events = [
  "connected",
  "connected during a consent that is submitted",
  "connected too late",
  "refresh succeeds",
  "refresh is refused",
  "refresh gets no answer",
  "upstream refuses it, renewed just now",
  "access withdrawn",
  "access given",
  "upstream's authorization changed",
  "a header is newly required",
  "header no longer required",
  "revoked",
  "owner ended",
  "upstream deleted",
] as const;
export type Event = (typeof events)[number];

/** What changes; an event that is not named for a state has no effect there: same state, generation and secret. */
export const table: Record<Kind, Record<State, Partial<Record<Event, State>>>> = {
  oauth: {
    none: { connected: "active", "connected during a consent that is submitted": "active" },
    active: {
      connected: "active",
      "connected during a consent that is submitted": "active",
      "refresh succeeds": "active",
      "refresh is refused": "lost",
      "upstream refuses it, renewed just now": "lost",
      "access withdrawn": "orphaned+active",
      "upstream's authorization changed": "lost",
      ...ends(),
    },
    lost: {
      connected: "active",
      "connected during a consent that is submitted": "active",
      "access withdrawn": "orphaned+lost",
      "upstream's authorization changed": "lost",
      ...ends(),
    },
    "orphaned+active": {
      "access given": "active",
      "upstream's authorization changed": "orphaned+lost",
      ...ends(),
    },
    "orphaned+lost": {
      "access given": "lost",
      "upstream's authorization changed": "orphaned+lost",
      ...ends(),
    },
  },
  headers: {
    none: { connected: "active", "connected during a consent that is submitted": "active" },
    active: {
      connected: "active",
      "connected during a consent that is submitted": "active",
      "upstream refuses it, renewed just now": "lost",
      "access withdrawn": "orphaned+active",
      "upstream's authorization changed": "lost",
      "a header is newly required": "lost",
      ...ends(),
    },
    lost: {
      connected: "active",
      "connected during a consent that is submitted": "active",
      "access withdrawn": "orphaned+lost",
      "upstream's authorization changed": "lost",
      "header no longer required": "active",
      ...ends(),
    },
    "orphaned+active": {
      "access given": "active",
      "upstream's authorization changed": "orphaned+lost",
      "a header is newly required": "orphaned+lost",
      ...ends(),
    },
    "orphaned+lost": {
      "access given": "lost",
      "upstream's authorization changed": "orphaned+lost",
      "header no longer required": "orphaned+active",
      ...ends(),
    },
  },
};

function ends(): Partial<Record<Event, State>> {
  return { revoked: "none", "owner ended": "none", "upstream deleted": "none" };
}
