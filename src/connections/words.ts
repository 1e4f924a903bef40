import type { Account, Group, Service } from "./services.ts";

export const groupNames: Record<Group, string> = {
  attention: "Needs you",
  connected: "Connected",
  open: "Not connected",
  shared: "Nothing to do",
  withdrawn: "Access withdrawn",
};

/** Why an account does not work any more, by the words of docs/guide/credential-states.md. */
const reasons: Record<string, string> = {
  refresh_invalid_grant: "the service ended the connection",
  refresh_answer_lost: "an answer of the service was lost on the way",
  client_reregistered: "this gateway had to register with the service anew",
  rejected_by_upstream: "the service does not accept it any more",
  expired: "it ran out",
  authorization_changed: "the service's sign-in was changed",
  configuration_changed: "the service's settings were changed here",
  issuer_changed: "the service's sign-in was changed",
  headers_changed: "the service wants other values now",
  undecryptable: "what was stored cannot be read any more",
};

function reasonOf(reason: string | undefined): string {
  if (reason === undefined) return "";
  if (reason.startsWith("restored_from_backup")) return ": it comes from a backup";
  const words =
    reasons[reason] ?? (/^(refresh|token)_/.test(reason) ? "the service refused to renew it" : "");
  return words === "" ? "" : `: ${words}`;
}

/** Where an account stands, as one sentence. */
export function standingOf({ standing, reason }: Account): string {
  switch (standing) {
    case "works":
      return reason === "client_refused"
        ? "Connected; the service refuses this gateway for now"
        : "Connected";
    case "again":
      return `Needs signing in again${reasonOf(reason)}`;
    case "values":
      return `Needs values${reasonOf(reason)}`;
    case "withdrawn":
      return "Access withdrawn: ask an administrator; it works again by itself then";
    case "unfinished":
      return "Not finished";
  }
}

/** Why there is nothing to do for a service. */
export const sharedWays: Partial<Record<Service["way"], string>> = {
  shared: "One account for everybody here",
  none: "Needs no account",
  exchange: "Works with how your app signs you in",
};

/** What came of an action; `{name}` is the service's or the app's. */
const notices: Record<string, string> = {
  connected: "{name} is connected.",
  disconnected: "{name} is disconnected.",
  ended: "The app cannot act for you any more.",
  ended_all: "No app can act for you any more. Each asks again when it is used.",
};

const errors: Record<string, string> = {
  connect_declined: "{name} was not connected: you said no there, or closed it.",
  connect_failed: "{name} was not connected. Try again in a moment.",
  account_exists: "There is an account with this label at {name} already. Choose another one.",
  invalid_account: "A label has 1 to 40 lower-case letters, digits, hyphens and underscores.",
  invalid_request: "A label has 1 to 40 lower-case letters, digits, hyphens and underscores.",
  too_many_accounts: "That is more accounts of {name} than can be kept. Disconnect one first.",
  access_lost: "You may not use {name} any more. Ask an administrator.",
  upstream_not_found: "This service is not open to you any more.",
  session_not_found: "This connection was gone already.",
  grant_not_found: "This app could not act for you any more already.",
};

/** Only sentences of these tables reach the page. */
export function noticeOf(code: string, name: string): string | undefined {
  return Object.hasOwn(notices, code) ? notices[code]!.replaceAll("{name}", () => name) : undefined;
}

export function errorOf(code: string, name: string): string {
  const sentence = Object.hasOwn(errors, code) ? errors[code]! : "That did not work. Try again.";
  return sentence.replaceAll("{name}", () => name);
}

export function isKnownError(code: string): boolean {
  return Object.hasOwn(errors, code);
}
