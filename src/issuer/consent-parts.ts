import type { World } from "../base/index.ts";
import { ago, type Html, html } from "../http/index.ts";
import type { Client } from "./client.ts";
import { consentErrorText } from "./consent-errors.ts";
import type { Choice, ConsentFlow } from "./consent-flow.ts";
import { consentPath, paths } from "./paths.ts";
import { isLoopback, redirectHost } from "./redirect-uri.ts";

const MINUTE_MS = 60_000;

/** Contract section 3: every page names the client, where it is answered, and whose account it will be. */
export function facts(flow: ConsentFlow, world: World, choice?: Choice): Html {
  const { client } = flow.data;
  return html`<dl class="facts">
<dt>App</dt><dd>${client.name}<small>${standing(client, world)}</small></dd>
${returnsTo(flow)}
${client.documentHost === undefined ? "" : html`<dt>Described by</dt><dd>${client.documentHost}</dd>`}
${choice === undefined ? "" : html`<dt>Account</dt><dd>${choice.by === "skip" ? "None" : choice.display}</dd>`}
</dl>`;
}

function returnsTo({ data: { redirectUri, end } }: ConsentFlow): Html {
  switch (end?.by) {
    case "device":
      return html`<dt>Runs on</dt><dd>Another device<small>The one that showed you the code</small></dd>`;
    case "code_page":
      return html`<dt>Returns to</dt><dd>You<small>You are shown a code to paste into the app</small></dd>`;
    default:
      return html`<dt>Returns to</dt><dd>${redirectHost(redirectUri)}<small>${destination(redirectUri)}</small></dd>`;
  }
}

function destination(redirectUri: string): string {
  if (isLoopback(redirectUri)) return "An application on this computer";
  return redirectUri.startsWith("https:") ? "A website" : "An application that your browser opens";
}

/** Who vouches for this client. */
export function standing(client: Client, world: World): string {
  if (client.verified) return "Registered by your administrator";
  if (client.registeredAt === undefined) return "Not verified";
  return `Not verified, registered itself ${ago(client.registeredAt, world.now().getTime())}`;
}

/** What a person should think about before going on. */
export function warnings({ data: { client, redirectUri, end } }: ConsentFlow): Html {
  // RFC 8628 §5.4: somebody else may have started it and sent the code.
  if (end?.by === "device") {
    return html`<p class="notice"><strong>Another device</strong> will receive the access. Go on only if you just started ${client.name} there yourself, and nobody sent you the code or this link.</p>`;
  }
  if (end?.by === "code_page") {
    return html`<p class="notice">In the end you get a code for ${client.name}. Go on only if you just started ${client.name} yourself, and give the code to nobody else.</p>`;
  }
  if (isLoopback(redirectUri)) {
    return html`<p class="notice">An application on <strong>this computer</strong> will receive the access. Go on only if you just started ${client.name} here yourself.</p>`;
  }
  const elsewhere = client.documentHost !== undefined && redirectHost(redirectUri) !== client.documentHost;
  if (elsewhere) {
    return html`<p class="notice">The access goes to <strong>${redirectHost(redirectUri)}</strong>, not to ${client.documentHost}, which describes this app.</p>`;
  }
  if (client.verified) return html``;
  return html`<p class="notice">Anyone can use the name ${client.name}. Go on only if you trust <strong>${redirectHost(redirectUri)}</strong>.</p>`;
}

/** `again`: somebody else than before, also where a sign-in provider remembers this browser. */
export function signInPath(flowId: string, again?: "again"): string {
  const query = { return_to: consentPath("consent", flowId), ...(again && { again: "1" }) };
  return `/login?${new URLSearchParams(query)}`;
}

export function notYouForm(flow: ConsentFlow): Html {
  return html`<form method="post" action="${paths.notYou}">${flowField(flow)}<button class="plain">Not you?</button></form>`;
}

export function denyForm(flow: ConsentFlow): Html {
  return html`<form method="post" action="${paths.deny}">${flowField(flow)}<button class="plain">Cancel</button></form>`;
}

export function flowField(flow: ConsentFlow): Html {
  return html`<input type="hidden" name="flow_id" value="${flow.id}">`;
}

/** `about`: the service it happened to, where it is known. */
export function errorLine(error: string | undefined, about?: string): Html {
  const text = consentErrorText(error);
  if (text === undefined) return html``;
  return html`<p class="error" role="alert">${about === undefined ? "" : html`<strong>${about}:</strong> `}${text}</p>`;
}

export function displayOf(choice: Choice): string {
  return choice.by === "skip" ? "no account" : choice.display;
}

/** How long the consent can still be finished, in words. */
export function timeLeft({ expiresAt }: ConsentFlow, world: World): string {
  const minutes = Math.max(1, Math.ceil((expiresAt - world.now().getTime()) / MINUTE_MS));
  return minutes === 1 ? "one minute" : `${minutes} minutes`;
}
