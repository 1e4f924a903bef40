import { html, raw } from "hono/html";
import type { HtmlEscapedString } from "hono/utils/html";
import { type Problem, sha256 } from "../base/index.ts";
import { problemHeaders } from "./envelope.ts";
import { stylesheetPath } from "./stylesheet.ts";

export type Html = HtmlEscapedString | Promise<HtmlEscapedString>;

export interface PageContent {
  title: string;
  body: Html;
  status?: number;
  /** Origins, besides ours, that a form of this page may lead to by redirect (CSP `form-action`). */
  formActions?: string[];
  /** A constant of ours, the only script that runs; never with anything in it that came from a request. */
  script?: string;
  headers?: [string, string][];
}

/** A gate that stands a little open. */
const mark = raw(
  '<svg viewBox="0 0 24 24" aria-hidden="true"><path d="M4 21V8a8 8 0 0 1 16 0v13"/><path d="M12 4v17l-4-2V6"/><path d="M2 21h20"/></svg>',
);

/** The frame of every page: no foreign content, no script but one it was given, readable on a phone (attack rule R27). */
export async function page(content: PageContent): Promise<Response> {
  const document = await html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${content.title} · Postern</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="${stylesheetPath}">
</head>
<body>
<main>
<p class="brand">${mark}Postern</p>
${content.body}
</main>
${content.script === undefined ? "" : raw(`<script>${content.script}</script>`)}
</body>
</html>`;
  return new Response(String(document), {
    status: content.status ?? 200,
    headers: [
      ["content-type", "text/html; charset=utf-8"],
      ["content-security-policy", policy(content)],
      ...(content.headers ?? []),
    ],
  });
}

function policy({ formActions = [], script }: PageContent): string {
  const actions = ["'self'", ...formActions].join(" ");
  const scripts = script === undefined ? "" : ` script-src '${scriptHash(script)}';`;
  return `default-src 'none'; style-src 'self'; img-src data:;${scripts} form-action ${actions}; base-uri 'none'; frame-ancestors 'none'`;
}

/** CSP3 §2.3.1 `hash-source`, in the plain base64 that every browser reads. */
function scriptHash(script: string): string {
  return `sha256-${sha256(script).replaceAll("-", "+").replaceAll("_", "/")}=`;
}

/** A refusal as a page: the same status, the sentence that says what to do next, and the id to quote. */
export function problemPage(problem: Problem, requestId: string): Promise<Response> {
  const heading = byCode[problem.code] ?? byStatus[problem.status] ?? "Something is not right";
  return page({
    title: heading,
    status: problem.status,
    headers: Object.entries(problemHeaders(problem)),
    body: html`<h1>${heading}</h1>
<p>${problem.message}</p>
<p class="fine">If you ask for help, quote <code>${requestId}</code> (${problem.code}).</p>`,
  });
}

/** Where the status alone would say something else than what happened. */
const byCode: Record<string, string> = {
  flow_finished: "Already done",
  flow_expired: "This has expired",
  unknown_flow: "This request is not known",
  flow_not_found: "This link does not work",
  invalid_callback: "This sign-in cannot be used here",
  invalid_redirect_uri: "The app asked for a wrong address",
  unknown_client: "This app is not known here",
  other_browser: "Not the same browser",
  cross_site_request: "This did not come from our own page",
  link_of_another_identity: "This link is not for you",
  link_ended: "This link is no longer valid",
  link_expired: "This has expired",
  setup_link_spent: "This link no longer works",
  password_link_spent: "This link no longer works",
  connection_withdrawn: "Nothing was connected",
  provider_mismatch: "This answer was not used",
  identity_disabled: "Switched off at the moment",
  mcp_client_disabled: "Switched off at the moment",
  upstream_not_allowed: "This service is not for this account",
  account_unknown: "You have no account here",
  account_disabled: "Switched off at the moment",
  email_of_another_account: "There is an account with your address",
  identity_taken: "This account is somebody's already",
  last_way_in: "You would lock yourself out",
  sign_in_again: "Sign in again first",
  sso_answer_refused: "You were not signed in",
  sso_answer_spent: "This has expired",
  sso_answer_unknown: "This sign-in cannot be used here",
  sso_declined: "You were not signed in",
  sso_failed: "You were not signed in",
  sso_not_admitted: "You were not signed in",
  sso_other_browser: "Not the same browser",
  sso_session_changed: "You are not signed in any more",
};

const byStatus: Record<number, string> = {
  400: "This request is not right",
  401: "Please sign in",
  403: "This is not yours to open",
  404: "Nothing here",
  405: "This address does not work this way",
  409: "Not possible right now",
  410: "This is gone",
  421: "This is not the address to use",
  422: "The service does not accept this",
  429: "Too many tries",
  500: "That did not work",
  502: "The other side did not answer properly",
  503: "Not available right now",
  504: "The other side took too long",
};
