import type { Requirement } from "./requirement.ts";

/** What the wire shows of sessions, consent and the authorization server (contract sections 1 to 4). */
export const wireContract: readonly Requirement[] = [
  {
    id: "contract-1-foreign-row",
    section: "wire contract 1",
    text: "What a caller may not see is answered like what does not exist.",
    title: "ID-02 ID-04 another owner's row is as unknown as none, for every verb and kind",
  },
  {
    id: "contract-1-anonymous-end",
    section: "wire contract 1",
    text: "Thirty days without use end an anonymous session.",
    title: "contract section 1: thirty days without use end it, by the sweep",
  },
  {
    id: "contract-2-list-own",
    section: "wire contract 2",
    text: "The list of sessions is filtered, counted and paged over the caller's own rows.",
    title: "ID-01 lists, filters, counts and pages only what is the caller's",
  },
  {
    id: "contract-2-reauth-same-row",
    section: "wire contract 2",
    text: "Re-authentication replaces the secret on the same row: same id, same created_at.",
    title: "ID-25 re-authentication replaces the same row and nothing of its binding",
  },
  {
    id: "contract-2-reauth-orphaned",
    section: "wire contract 2",
    text: "Re-authenticating an orphaned row is 403 and leaves no flow behind.",
    title: "ID-23 an orphaned row is refused and leaves no link; restored access brings it back",
  },
  {
    id: "contract-2-reauth-own-user",
    section: "wire contract 2",
    text: "A user row is re-authenticated by that user only, an administrator neither.",
    title: "a user's row is renewed by that user only, an administrator neither; needs_reauth rows may",
  },
  {
    id: "contract-2-store-failure",
    section: "wire contract 2",
    text: "A failure of the store is 500, never dressed as 404.",
    title: "a store failure is 500, never dressed as 404",
  },
  {
    id: "contract-2-one-pending",
    section: "wire contract 2",
    text: "There is one pending flow for each identity, upstream and account.",
    title: "one pending connect per binding is a rule of the database",
  },
  {
    id: "contract-2-delete",
    section: "wire contract 2",
    text: "Deleting a session ends the pending links of its binding too.",
    title: "deletes a credential with the pending links of its binding, and a link alone",
  },
  {
    id: "contract-2-orphan-and-back",
    section: "wire contract 2",
    text: "Lost access orphans a credential; returned access shows its former status.",
    title: "orphans and brings back, with a new generation each time",
  },
  {
    id: "contract-2-late-callback",
    section: "wire contract 2",
    text: "A callback that ends after access was lost stores nothing, and the provider is told.",
    title:
      "ID-26 what is revoked, orphaned or replaced during the callback stores nothing, and the provider is told",
  },
  {
    id: "contract-3-submit-answer",
    section: "wire contract 3",
    text: "Submit answers 302 with code, state and iss, and moves what was connected.",
    title: "leads from authorize to a code that carries state and iss, and moves what was connected",
  },
  {
    id: "contract-3-submit-400",
    section: "wire contract 3",
    text: "Submit without a flow, or with one that never existed, is 400.",
    title: "flow_id missing, malformed or never existed: 400 envelope",
  },
  {
    id: "contract-3-submit-410",
    section: "wire contract 3",
    text: "Submit of an expired flow is 410.",
    title: "CB-11 expired: 410 at every step, also without the cookie, and what was connected is swept",
  },
  {
    id: "contract-3-submit-403",
    section: "wire contract 3",
    text: "Submit from another browser, or with another flow's cookie, is 403 and changes nothing.",
    title: "CB-01 CB-02 another browser, or another flow's cookie: 403 everywhere, nothing changed",
  },
  {
    id: "contract-3-submit-409",
    section: "wire contract 3",
    text: "The second submit is 409: one session, one code.",
    title: "CB-10 CB-21 submitted twice, one after the other: 302, then 409, one grant, one code",
  },
  {
    id: "contract-3-submit-race",
    section: "wire contract 3",
    text: "Of many submits at once exactly one is 302.",
    title: "CB-10 submitted fifty times at once, on two replicas: exactly one 302",
  },
  {
    id: "contract-3-submit-identity",
    section: "wire contract 3",
    text: "A required identity that is missing leads back to the identity page with an error.",
    title:
      "an identity that is required and missing: 303 back with an error; a browser gets pages, an API the envelope",
  },
  {
    id: "contract-3-submit-atomic",
    section: "wire contract 3",
    text: "A store failure at any step of submit leaves nothing half done, and the same submit can be sent again.",
    title:
      "a store failure at any statement of submit leaves nothing behind, and the same submit then succeeds",
  },
  {
    id: "contract-3-submit-enabled",
    section: "wire contract 3",
    text: "The identity must still be enabled at submit.",
    title: "an identity disabled before submit is refused there",
  },
  {
    id: "contract-3-gate",
    section: "wire contract 3",
    text: "Connecting during a consent: 401 for an unknown or expired flow, 403 before approval or without access, 404 for an unknown upstream.",
    title:
      "the gate: 401 unknown or expired, 403 before approval and for what is not allowed, 404 unknown upstream",
  },
  {
    id: "contract-3-skip",
    section: "wire contract 3",
    text: "Going on without an identity is possible only where the setting allows it.",
    title: "skip where an identity is required: back with an error",
  },
  {
    id: "contract-4-stateless-registration",
    section: "wire contract 4",
    text: "Registration stores nothing.",
    title: "RG-04 RG-08 RG-09 registers what counts, stores nothing, gives no secret",
  },
  {
    id: "contract-4-one-success",
    section: "wire contract 4",
    text: "A code is redeemed once, however many try at once.",
    title: "PK-08 a code redeemed a hundred times at once succeeds exactly once",
  },
  {
    id: "contract-4-lost-response",
    section: "wire contract 4",
    text: "A refresh repeated within the grace gets the same successor pair.",
    title: "refresh rotates; TK-08 a repeat within the grace gets the same successor",
  },
  {
    id: "contract-4-lifetimes",
    section: "wire contract 4",
    text: "A grant ends after 30 days without use and after 180 days in any case.",
    title: "TK-11 a grant ends after 30 days without use, and after 180 days in any case",
  },
  {
    id: "contract-4-no-refresh-token",
    section: "wire contract 4",
    text: "With grant_max_days 0 no refresh token is issued, and metadata names none.",
    title: "grant_max_days 0: no refresh token, and metadata does not name one",
  },
  {
    id: "contract-4-revoked-everywhere",
    section: "wire contract 4",
    text: "A revocation is known on every replica within a second.",
    title: "a revocation is known on another replica within its next look at the changes",
  },
  {
    id: "contract-4-foreign-slug",
    section: "wire contract 4",
    text: "The challenge of 401 names the metadata of the path that was asked, unknown slugs too.",
    title: "an unknown slug is 401 with its own metadata without a token, 404 with one",
  },
  {
    id: "contract-4-slug-audience",
    section: "wire contract 4",
    text: "A token for /mcp/<slug> counts there alone, one for /mcp at every slug its identity may use.",
    title: "its token counts there alone; one for /mcp counts at every slug of its identity",
  },
  {
    id: "contract-5-one-link",
    section: "wire contract 2",
    text: "Parallel calls hand out one pending link.",
    title: "MC-31 fifty calls at once make one link",
  },
  {
    id: "contract-2-user-configs",
    section: "wire contract 2",
    text: "What a person may use is their own mcp_configs, what is allowed on all keys and what their keys may use.",
    title: "joins what is allowed on all keys and what keys of theirs allow, and never narrows it",
  },
  {
    id: "contract-1-api-token",
    section: "wire contract 1",
    text: "A management API token is valid on /api only, a token of /mcp there not.",
    title: "a token reads or writes what its scopes say, at /api only, and its value is shown once",
  },
];
