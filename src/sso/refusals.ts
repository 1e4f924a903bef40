import { type Fields, Problem } from "../base/index.ts";
import type { SsoProvider } from "./config.ts";

/* Every refusal is a page with one sentence that says what to do next; what the provider wrote is never in it. */

type Named = Pick<SsoProvider, "id" | "name">;

export function unknownProvider(): Problem {
  return new Problem(
    "not_found",
    "sso_provider_unknown",
    "There is no such way to sign in here. Go back to the sign-in page and choose another.",
  );
}

/** An answer to nothing that was asked. */
export function strayAnswer(): Problem {
  return new Problem(
    "invalid",
    "sso_answer_unknown",
    "This answer does not belong to a sign-in that was started here. Go to the sign-in page and start again.",
  );
}

export function staleAnswer(): Problem {
  return new Problem(
    "gone",
    "sso_answer_spent",
    "This sign-in took too long or was finished already. Go to the sign-in page and start again.",
  );
}

/** The browser that comes back is not the one that left: log-in CSRF, or a link that was passed on (attack CB-24). */
export function otherBrowser(): Problem {
  return new Problem(
    "forbidden",
    "sso_other_browser",
    "This sign-in was started in another browser. Start it again in this one.",
  );
}

export function declined({ id, name }: Named): Problem {
  return new Problem(
    "forbidden",
    "sso_declined",
    `The sign-in was stopped at ${name}. Go to the sign-in page to try again.`,
    { log: { provider: id } },
  );
}

/** It could not be reached, or says of itself what cannot be used. */
export function unavailable({ id, name }: Named, log: Fields, cause?: unknown): Problem {
  return new Problem(
    "unavailable",
    "sso_unavailable",
    `${name} cannot be used to sign in just now. Try again in a moment; if it stays so, tell your administrator.`,
    { retryAfter: 10, log: { provider: id, ...log }, cause },
  );
}

/** It answered with an error. */
export function failed({ id, name }: Named, log: Fields): Problem {
  return new Problem(
    "upstream",
    "sso_failed",
    `${name} did not complete the sign-in. Start it again; if it stays so, tell your administrator.`,
    { log: { provider: id, ...log } },
  );
}

/** It answered, and the answer proves nothing. `reason`: for the log, nothing that stood in the answer. */
export function refusedAnswer({ id, name }: Named, reason: string): Problem {
  return new Problem(
    "forbidden",
    "sso_answer_refused",
    `What ${name} answered does not prove who you are, so nobody was signed in. Start again; if it stays so, tell your administrator.`,
    { log: { provider: id, reason } },
  );
}

/** It is who they say, and the configuration does not let them in. */
export function notAdmitted({ id, name }: Named, reason: string): Problem {
  return new Problem(
    "forbidden",
    "sso_not_admitted",
    `Your account at ${name} may not sign in here. Use another account, or ask your administrator.`,
    { log: { provider: id, reason } },
  );
}

/** Linking ends where it began: in the same session, of the same person. */
export function otherSession(): Problem {
  return new Problem(
    "forbidden",
    "sso_session_changed",
    "You are not signed in any more as when you started to link. Sign in, and link again.",
  );
}
