import type { Settings } from "../base/index.ts";
import { html, page, type Route } from "../http/index.ts";
import { route } from "../identity/index.ts";
import type { Client } from "./client.ts";
import { paths } from "./paths.ts";

/** Whether this redirect URI is the page of ours that shows the answer, for clients that no redirect reaches. */
export function isCodePage(redirectUri: string, settings: Pick<Settings, "baseUrl">): boolean {
  return redirectUri === settings.baseUrl.origin + paths.codePage;
}

/**
 * Only clients that an administrator registered, with exactly this URI: a page that shows people a code to hand on is what
 * somebody who wants their code would send them to.
 */
export function mayUseCodePage(client: Client, redirectUri: string): boolean {
  return client.verified && client.redirectUris.includes(redirectUri);
}

/** The end of a consent: the whole answer in one string. It is the answer to a POST, so that no address has it. */
export function answerPage(client: Client, answer: string, code: string | undefined): Promise<Response> {
  const name = html`<strong>${client.name}</strong>`;
  const given = code !== undefined;
  return page({
    title: given ? "Take this to your app" : "Nothing was allowed",
    headers: [["cache-control", "no-store"]],
    body: html`<h1>${given ? "Take this to your app" : "Nothing was allowed"}</h1>
${given ? html`<p class="notice">Paste it only into ${name}, where you started. Whoever else asks you for it wants your access: give it to nobody, in no chat, mail or call.</p>` : ""}
<p>${name} cannot be reached from here. Copy this and paste it where ${name} asks for it${given ? ", within five minutes; it works once" : ", so that it stops waiting"}.</p>
<pre>${answer}</pre>
${given ? html`<details><summary>My app asks for the code alone</summary><pre>${code}</pre></details>` : ""}
<p class="fine">Then you can close this tab.</p>`,
  });
}

/** Somebody opened the address itself: nothing that came with it is shown or used. */
export function codePageRoute(): Route {
  return route({
    method: "GET",
    path: paths.codePage,
    operationId: "clientCodePage",
    summary:
      "The address of clients that no redirect reaches; their answer is shown at the end of the consent",
    tag: "consent",
    access: "public",
    csrf: "none",
    rate: "api",
    errors: "page",
    refuses: [],
    answers: { 200: { description: "A page" } },
    handle: () =>
      page({
        title: "Nothing to see here",
        headers: [["cache-control", "no-store"]],
        body: html`<h1>Nothing to see here</h1>
<p>At the end of a consent, this page shows what an app has to be given by hand. If an app sent you here with a fault, or you pasted
its answer into the address bar: go back to the app, and paste it there or start again.</p>`,
      }),
  });
}
