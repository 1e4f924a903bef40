import { type Html, html, page } from "../http/index.ts";
import type { Upstream } from "../upstreams/index.ts";
import { type Link, linkPath } from "./links.ts";
import { kindOf } from "./parts.ts";

/** Only sentences of this table reach a page; an unknown code says something general. */
export const pageErrors: Record<string, string> = {
  wrong_key: "That is not the virtual key this link was made for. Check it and try again.",
  headers_missing: "Enter a value.",
  invalid_header:
    "This value cannot be sent. It must be one line of letters, digits and signs, without spaces at the ends.",
  headers_refused: "The service does not accept this. Check what you typed and try again. Nothing was saved.",
  upstream_unavailable: "The service could not be asked just now. Nothing was saved. Try again in a moment.",
  mcp_client_changed: "The service was changed meanwhile. Nothing was saved. Fill in the form again.",
  wrong_session: "That is not the session value this link was made for. Check it and try again.",
};

function errorNote(code: string | undefined): Html {
  if (code === undefined) return html``;
  return html`<p class="error" role="alert">${pageErrors[code] ?? "That did not work. Try again."}</p>`;
}

export interface LinkPage {
  link: Link;
  upstream: Upstream;
  /** Whose account it will be, in words. */
  identity: string;
  /** The provider's origin, where the button leads. */
  provider: string;
  ask?: "vk" | "session";
  error?: string;
}

/** Which upstream asks, for whom, what will happen, and one button. */
export function linkPage({ link, upstream, identity, provider, ask, error }: LinkPage): Promise<Response> {
  return page({
    title: `Connect ${upstream.name}`,
    // A form's redirects count too, and providers pass people on to sign-in hosts of their own; `https:` covers those.
    formActions: [provider, "https:"],
    body: html`<h1>Connect your ${upstream.name} account</h1>
${errorNote(error)}
<dl class="facts">
<dt>Service</dt><dd>${upstream.name} (${upstream.url.host})</dd>
<dt>For</dt><dd>${identity}</dd>
<dt>Sign-in at</dt><dd>${new URL(provider).host}</dd>
</dl>
<p>You will sign in at ${new URL(provider).host} and be asked to allow this gateway to use ${upstream.name} with your
account. After that you come back here. You can disconnect it at any time.</p>
<p class="fine">Go on only if you asked for this yourself.</p>
<form method="post" action="/workspace/mcp-sessions/auth">
<input type="hidden" name="flow" value="${link.id}">
${ask ? question(ask) : html``}
<div class="actions"><button type="submit">Continue to ${new URL(provider).host}</button></div>
</form>`,
  });
}

export function question(field: "vk" | "session"): Html {
  if (field === "vk") {
    return html`<label for="vk">Your virtual key</label>
<input id="vk" name="vk" type="password" autocomplete="off" required aria-describedby="vk-hint">
<p class="hint" id="vk-hint">The same key your app uses. It shows that the account you connect becomes yours and nobody else's.</p>`;
  }
  return html`<label for="session">Your session value</label>
<input id="session" name="session" type="password" autocomplete="off" required aria-describedby="session-hint">
<p class="hint" id="session-hint">What your app sends as x-bf-mcp-session-id. It shows that this link is yours.</p>`;
}

export function signInFirstPage(link: Link, upstream: Upstream): Promise<Response> {
  const login = `/login?${new URLSearchParams({ return_to: linkPath(link.id, kindOf(upstream)) })}`;
  const who = link.owner.mode === "discovery" ? "an administrator" : "the person who asked for it";
  return page({
    title: "Sign in first",
    status: 401,
    body: html`<h1>Sign in to connect ${upstream.name}</h1>
<p>This link connects an account of ${upstream.name} (${upstream.url.host}). Only ${who} can finish it, so please sign in
here first.</p>
<p class="fine">Go on only if you asked for this yourself.</p>
<div class="actions"><a class="button" href="${login}">Sign in</a></div>`,
  });
}

export function connectedPage(name: string | undefined): Promise<Response> {
  return page({
    title: "Connected",
    body: html`<h1>Connected</h1>
<p>${name === undefined ? "Your account" : `Your ${name} account`} is connected. You can close this page and go back to your app; it can use your account now.</p>
<p class="fine">If your app still shows the question, ask it to try again.</p>`,
  });
}

/** A trip that did not end well, while the link still works. `sentence` is ours, never the provider's. */
export function againPage(options: { sentence: string; again: string; status: number }): Promise<Response> {
  return page({
    title: "Not connected",
    status: options.status,
    body: html`<h1>Not connected</h1>
<p>${options.sentence}</p>
<div class="actions"><a class="button" href="${options.again}">Try again</a></div>`,
  });
}
