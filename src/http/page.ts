import { html } from "hono/html";
import type { HtmlEscapedString } from "hono/utils/html";
import type { Problem } from "../base/index.ts";
import { problemHeaders } from "./envelope.ts";
import { stylesheetPath } from "./stylesheet.ts";

export type Html = HtmlEscapedString | Promise<HtmlEscapedString>;

export interface PageContent {
  title: string;
  body: Html;
  status?: number;
  /** Origins, besides ours, that a form of this page may lead to by redirect (CSP `form-action`). */
  formActions?: string[];
  headers?: [string, string][];
}

/** The frame of every page: no script, no foreign content, readable on a phone (attack rule R27). */
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
<p class="brand" aria-hidden="true">Postern</p>
${content.body}
</main>
</body>
</html>`;
  return new Response(String(document), {
    status: content.status ?? 200,
    headers: [
      ["content-type", "text/html; charset=utf-8"],
      ["content-security-policy", policy(content.formActions ?? [])],
      ...(content.headers ?? []),
    ],
  });
}

function policy(formActions: string[]): string {
  const actions = ["'self'", ...formActions].join(" ");
  return `default-src 'none'; style-src 'self'; img-src data:; form-action ${actions}; base-uri 'none'; frame-ancestors 'none'`;
}

/** A refusal as a page: the same status, the sentence that says what to do next, and the id to quote. */
export function problemPage(problem: Problem, requestId: string): Promise<Response> {
  return page({
    title: titles[problem.status] ?? "Something is not right",
    status: problem.status,
    headers: Object.entries(problemHeaders(problem)),
    body: html`<h1>${titles[problem.status] ?? "Something is not right"}</h1>
<p>${problem.message}</p>
<p class="fine">Reference ${requestId} · ${problem.code}</p>`,
  });
}

const titles: Record<number, string> = {
  400: "This link or form is not right",
  401: "Please sign in",
  403: "This is not yours to open",
  404: "Nothing here",
  409: "Already done",
  410: "This has expired",
  429: "Too many tries",
  500: "That did not work",
  502: "The other side did not answer properly",
  503: "Not available right now",
};
