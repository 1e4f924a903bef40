import { html, page, redirect } from "../http/index.ts";
import type { Client } from "./client.ts";
import { answerPage } from "./code-page.ts";
import type { ConsentData } from "./consent-flow.ts";
import { withParameters } from "./redirect-uri.ts";

/** What the client is told: a code, or why there is none; `state` as it came, `iss` ours. */
export interface ConsentAnswer {
  code?: string;
  error?: string;
  state?: string;
  iss: string;
}

/** Where the browser is left once a consent is answered: back at the client, or on a page of ours where no redirect reaches it. */
export function endOfConsent(
  { client, redirectUri, end }: ConsentData,
  answer: ConsentAnswer,
): Response | Promise<Response> {
  switch (end?.by) {
    case "device":
      return backToDevice(client, answer.error === undefined);
    case "code_page":
      return answerPage(client, withParameters(redirectUri, { ...answer }), answer.code);
    default:
      return redirect(withParameters(redirectUri, { ...answer }), 302);
  }
}

/** The device hears of it when it asks next, some seconds later. */
export function backToDevice(client: Pick<Client, "name">, isAllowed: boolean): Promise<Response> {
  const title = isAllowed ? "You can go back to your device" : "Nothing was allowed";
  return page({
    title,
    headers: [["cache-control", "no-store"]],
    body: html`<h1>${title}</h1>
<p>${
      isAllowed
        ? html`<strong>${client.name}</strong> goes on there by itself within a few seconds. You can close this tab.`
        : html`<strong>${client.name}</strong> gets no access. If you did not start it, somebody may have sent you its code: you can forget it. You can close this tab.`
    }</p>`,
  });
}
