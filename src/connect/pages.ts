import { type Html, html, page } from "../http/index.ts";
import type { Upstream } from "../upstreams/index.ts";
import type { LinkIdentity } from "./link-identity.ts";
import { tokenScript } from "./link-token.ts";
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
  code_expired: "The code was not used in time. Get a new one.",
  wrong_address:
    "That is not an address a sign-in service sends people back to. Copy the whole address and try again.",
  link_token_used: "This link was opened before, and it opens by itself only once.",
};

export function errorNote(code: string | undefined): Html {
  if (code === undefined) return html``;
  return html`<p class="error" role="alert">${pageErrors[code] ?? "That did not work. Try again."}</p>`;
}

export interface LinkPage {
  link: Link;
  upstream: Upstream;
  identity: LinkIdentity;
  /** The provider's origin, where the button leads. */
  provider: string;
  /** What is asked for beyond what the account was connected with; the service's own words. */
  scopes: readonly string[];
  ask?: Ask;
  /** The page's script may replace the question by a one-time token from the address. */
  takesToken?: boolean;
  error?: string;
  /** Where the provider gives codes: the page that shows one. */
  code?: string;
}

export type Ask = "vk" | "session" | "token";

/** Which upstream asks, for whom, what will happen, and one button. */
export function linkPage(content: LinkPage): Promise<Response> {
  const { link, upstream, identity, provider, scopes, ask, error } = content;
  const { host } = new URL(provider);
  return page({
    title: `Connect ${upstream.name}`,
    script: content.takesToken ? tokenScript : undefined,
    // A form's redirects count too, and providers pass people on to sign-in hosts of their own; `https:` covers those.
    formActions: [provider, "https:"],
    body: html`<h1>${heading(link, upstream, identity)}</h1>
${errorNote(error)}
<dl class="facts">
<dt>Service</dt><dd>${upstream.name}<small>${upstream.url.host}</small></dd>
<dt>For</dt><dd>${identity.words}</dd>
<dt>Sign-in at</dt><dd>${host}</dd>
${scopes.length > 0 ? html`<dt>New permissions</dt><dd>${scopes.slice(0, MOST_SHOWN).join(", ")}${scopes.length > MOST_SHOWN ? " …" : ""}<small>asked for by ${upstream.name}; what is connected now stays until you agree</small></dd>` : html``}
</dl>
<p>Next, you sign in at ${host} and allow this gateway to use ${upstream.name} with your account. Then you come back here.
You can disconnect at any time.</p>
${link.owner.mode === "shared" ? html`<p><strong>Everybody who may use ${upstream.name} here will act as the account you connect.</strong> Use one that is meant for that.</p>` : html``}
${machineNote(identity.machine)}
<form method="post" action="${action}">
<input type="hidden" name="flow" value="${link.id}">
${ask ? question(ask) : html``}
${ask === "token" ? html`` : html`<div class="actions"><button type="submit">Continue to ${host}</button></div>`}
</form>
<p class="fine">Go on only if you asked for this yourself.</p>
${otherWays(content, host)}
${content.takesToken ? tokenForm(link.id) : html``}`,
  });
}

/** For browsers that cannot be sent to the provider, or not back: on a remote computer, behind a forwarded port. */
function otherWays({ code }: LinkPage, host: string): Html {
  return html`<details><summary>Trouble getting to ${host}, or back?</summary>
${code === undefined ? html`` : html`<p>Does this browser not reach ${host}, or are you signed in there somewhere else? <a href="${code}">Use a code instead</a>.</p>`}
<p>Did it send you to an address that does not open? Keep that address, come back here and <a href="${pastePath}">paste it</a>.</p>
</details>`;
}

function heading({ owner }: Link, { name }: Upstream, { machine }: LinkIdentity): string {
  if (owner.mode === "shared") return `Connect ${name} for everybody`;
  return machine === undefined ? `Connect your ${name} account` : `Connect a ${name} account for ${machine}`;
}

/** Nobody who runs such a script is asked again: what it may do is decided here, by who signs in there. */
export function machineNote(machine: string | undefined): Html {
  if (machine === undefined) return html``;
  return html`<p class="notice">This is <strong>for the service account “${machine}”</strong>, not for you. Every script that uses it will
act as the account you connect. Use one that is meant for that.</p>`;
}

const MOST_SHOWN = 12;
const action = "/workspace/mcp-sessions/auth";
export const pastePath = "/workspace/mcp-sessions/address";

/** What the page's script fills in and sends; without it, nothing of it shows. */
export function tokenForm(flowId: string): Html {
  return html`<form id="link-token" method="post" action="${action}" hidden>
<input type="hidden" name="flow" value="${flowId}"><input type="hidden" name="t">
</form>`;
}

export function question(field: Ask): Html {
  if (field === "token") {
    return html`<p class="notice">This link opens by itself, once, in a browser with JavaScript. Otherwise open it in the browser in which
you connected your app.</p>`;
  }
  if (field === "vk") {
    return html`<label for="vk">Your virtual key</label>
<input id="vk" name="vk" type="password" autocomplete="off" required aria-describedby="vk-hint">
<p class="hint" id="vk-hint">The same key your app uses. It shows that the account you connect becomes yours and nobody else's.</p>`;
  }
  return html`<label for="session">Your session value</label>
<input id="session" name="session" type="password" autocomplete="off" required aria-describedby="session-hint">
<p class="hint" id="session-hint">What your app sends as x-bf-mcp-session-id. It shows that this link is yours.</p>`;
}

export function signInFirstPage(link: Link, upstream: Upstream, isForMachine: boolean): Promise<Response> {
  const login = `/login?${new URLSearchParams({ return_to: linkPath(link.id, kindOf(upstream)) })}`;
  const isOurs = link.owner.mode === "discovery" || link.owner.mode === "shared";
  const person = isForMachine ? "who looks after this service account" : "the person who asked for it";
  const who = isOurs ? "an administrator" : person;
  return page({
    title: "Sign in first",
    status: 401,
    body: html`<h1>Sign in to connect ${upstream.name}</h1>
<p>This link connects an account of ${upstream.name} (${upstream.url.host}). Only ${who} can finish it, so please sign in
here first.</p>
<div class="actions"><a class="button" href="${login}">Sign in</a></div>
<p class="fine">Go on only if you asked for this yourself.</p>`,
  });
}

export function connectedPage(name: string | undefined): Promise<Response> {
  return page({
    title: "Connected",
    body: html`<h1>Connected</h1>
<p class="done" role="status">${name === undefined ? "Your account" : `Your ${name} account`} is connected.</p>
<p>You can close this tab and go back to your app; it can use your account now.</p>
<p class="fine">If your app still shows the question, ask it to try again.</p>`,
  });
}

export interface SwapPage {
  action: string;
  flowId: string;
  /** The service. */
  name: string;
  /** The accounts, as the provider calls them. */
  before: string;
  now: string;
}

/** UP-31: the provider says another account than before, and only the person knows which one counts. */
export function swapPage({ action, flowId, name, before, now }: SwapPage): Promise<Response> {
  return page({
    title: "Another account",
    body: html`<h1>This is another ${name} account</h1>
<p class="lead">You just signed in to ${name} with a different account than the one that is connected here. Nothing has
changed yet. Which one do you want to use?</p>
<dl class="facts">
<dt>Connected until now</dt><dd>${before}</dd>
<dt>Signed in just now</dt><dd>${now}</dd>
</dl>
<p><strong>Replace</strong> makes everything that uses your ${name} connection act as ${now}, and ends the connection of
${before}. If you signed in there by mistake, keep the old one.</p>
<form method="post" action="${action}">
<input type="hidden" name="flow" value="${flowId}">
<div class="actions"><button type="submit" name="choice" value="replace">Replace</button>
<button type="submit" name="choice" value="keep" class="quiet">Keep the old one</button></div>
</form>`,
  });
}

export function keptPage(): Promise<Response> {
  return page({
    title: "Nothing changed",
    body: html`<h1>Nothing changed</h1>
<p>You are still connected with the account you had before. You can close this page and go back to your app.</p>
<p class="fine">To connect with another account, ask your app for a new link.</p>`,
  });
}

/** A trip that did not end well, while the link still works. `sentence` is ours, never the provider's. */
export function againPage(options: { sentence: string; again: string; status: number }): Promise<Response> {
  return page({
    title: "Not connected",
    status: options.status,
    body: html`<h1>Not connected</h1>
<p>${options.sentence}</p>
<p>Nothing was saved. You can try again now, or close this tab and do it later.</p>
<div class="actions"><a class="button" href="${options.again}">Try again</a></div>`,
  });
}
