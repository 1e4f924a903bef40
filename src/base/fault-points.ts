/**
 * Where a process may die and a test makes it die: one name for every numbered step of what must not be left half done
 * (attack rule R30). To add one: write its name here, `<operation>.<step>.<what has just happened>`, in the order in which
 * the steps are reached; call `world.reach("…")` right after that has happened (inside the transaction where it happens
 * there; `….committed` right after the transaction returned); and drive the operation in `test/crash/operations/`, where a
 * test fails for every name that no operation reaches. Never on the hot path. A process that serves people carries a
 * World that does nothing here (`systemWorld`); only `test/crash/` opens a gateway with another.
 */
export const faultPoints = [
  // A consent is finished (src/issuer/submit.ts).
  "submit.1.flow_read",
  "submit.2.flow_consumed",
  "submit.3.grant_made",
  "submit.4.credential_moved",
  "submit.5.code_made",
  "submit.6.audited",
  "submit.7.committed",
  // A provider's answer comes back (src/connect/callback.ts).
  "callback.1.state_found",
  "callback.2.state_claimed",
  "callback.3.code_sent",
  "callback.4.token_received",
  "callback.5.link_taken",
  "callback.6.credential_stored",
  "callback.7.audited",
  "callback.8.committed",
  // Tokens of another account than before wait for an answer (src/connect/swap.ts).
  "swap.1.held",
  "swap.2.hold_committed",
  "swap.3.taken",
  "swap.4.credential_stored",
  "swap.5.committed",
  // A form with header values (src/connect/header-store.ts).
  "headers.1.verified",
  "headers.2.link_taken",
  "headers.3.credential_stored",
  "headers.4.audited",
  "headers.5.committed",
  // A token of an upstream is renewed (src/vault/refresh.ts).
  "refresh.1.lease_taken",
  "refresh.2.token_sent",
  "refresh.3.answer_received",
  "refresh.4.credential_stored",
  "refresh.5.committed",
  // A client redeems its code (src/issuer/redeem-code.ts).
  "code.1.taken",
  "code.2.grant_active",
  "code.3.pair_stored",
  "code.4.committed",
  // A client renews its tokens (src/issuer/refresh-grant.ts).
  "rotate.1.grant_locked",
  "rotate.2.token_retired",
  "rotate.3.pair_stored",
  "rotate.4.predecessor_closed",
  "rotate.5.grant_touched",
  "rotate.6.committed",
  // Access is taken back here (src/vault/removal.ts, src/issuer/grants.ts).
  "revoke.1.credential_deleted",
  "revoke.2.flows_ended",
  "revoke.3.provider_queued",
  "revoke.4.committed",
  "end.1.flows_ended",
  "end.2.grant_deleted",
  "end.3.credentials_dropped",
  "end.4.audited",
  "end.5.committed",
  // A provider is told (src/db/outbox.ts).
  "deliver.1.claimed",
  "deliver.2.attempted",
  "deliver.3.entry_deleted",
  "deliver.4.settled",
  "deliver.5.committed",
  // A new version brings the schema up to date (src/db/migrate.ts).
  "migrate.1.statement",
  "migrate.2.applied",
  "migrate.3.committed",
  // The keys are rotated (src/keys/rotate.ts).
  "keys.1.direct_key_kept",
  "keys.2.rewrapped",
  "keys.3.activated",
  "keys.4.batch_resealed",
  "keys.5.pass_done",
] as const;

export type FaultPoint = (typeof faultPoints)[number];
