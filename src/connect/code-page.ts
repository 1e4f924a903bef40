import { type Html, html, page } from "../http/index.ts";
import type { Upstream } from "../upstreams/index.ts";
import type { CodeTripData } from "./code-trip.ts";
import type { LinkIdentity } from "./link-identity.ts";
import { type Ask, errorNote, machineNote, question } from "./pages.ts";

export const codePath = "/workspace/mcp-sessions/code";

export function codePlace(linkId: string, more: Record<string, string> = {}): string {
  return `${codePath}?${new URLSearchParams({ flow: linkId, ...more })}`;
}

interface AboutCode {
  linkId: string;
  upstream: Upstream;
  identity: LinkIdentity;
  /** Where the person goes to connect in the usual way. */
  back: string;
}

/** Before there is a code: what it is for, and one button. */
export function askForCodePage(content: AboutCode & { ask?: Ask; error?: string }): Promise<Response> {
  const { linkId, upstream, identity, back, ask, error } = content;
  return page({
    title: `Connect ${upstream.name} with a code`,
    body: html`<h1>Connect ${upstream.name} with a code</h1>
${errorNote(error)}
${about(content)}
<p>You get a short code here and type it at the sign-in page of ${upstream.name}, in any browser: on your phone, or on the computer
where you are signed in there.</p>
${machineNote(identity.machine)}
<form method="post" action="${codePath}">
<input type="hidden" name="flow" value="${linkId}">
${ask ? question(ask) : html``}
<div class="actions">${ask === "token" ? html`` : html`<button type="submit">Get a code</button>`}<a class="button quiet" href="${back}">Back</a></div>
</form>
<p class="fine">Go on only if you asked for this yourself.</p>`,
  });
}

/** The code, where to type it, and how to go on; nothing here needs a script. `waiting`: the page looks again by itself. */
export function codePage(
  content: AboutCode & { code: CodeTripData["code"]; minutes: number; waiting: boolean },
): Promise<Response> {
  const { linkId, upstream, back, code, minutes, waiting } = content;
  const { host } = new URL(code.verification_uri);
  const seconds = Math.ceil(code.interval_ms / 1000) + 1;
  return page({
    title: `Your code for ${upstream.name}`,
    headers: waiting ? [["refresh", String(seconds)]] : [],
    body: html`<h1>Your code for ${upstream.name}</h1>
${about(content, code.user_code)}
<ol>
<li>Open <a href="${code.verification_uri_complete ?? code.verification_uri}" target="_blank" rel="noopener noreferrer">${code.verification_uri}</a> in any browser.</li>
<li>Type the code there, or check that it is the one you see.</li>
<li>Sign in at ${host} and allow the access. Then come back here.</li>
</ol>
${waiting ? stillWaiting(linkId, seconds) : html`<div class="actions"><a class="button" href="${codePlace(linkId, { waiting: "1" })}">I have done that</a></div>`}
<form method="post" action="${codePath}">
<input type="hidden" name="flow" value="${linkId}">
<div class="actions"><button type="submit" class="plain">Get a new code</button></div>
</form>
<p class="fine">The code works for ${minutes === 1 ? "one minute" : `${minutes} minutes`}. Never give it to anybody, and never type one there that somebody
sent you: whoever has started with it gets your account. <a href="${back}">Connect without a code</a></p>`,
  });
}

function stillWaiting(linkId: string, seconds: number): Html {
  return html`<p role="status">Not done there yet. This page looks again every ${seconds} seconds.</p>
<div class="actions"><a class="button" href="${codePlace(linkId, { waiting: "1" })}">Check now</a>
<a class="button quiet" href="${codePlace(linkId)}">Stop looking</a></div>`;
}

function about({ upstream, identity }: AboutCode, code?: string): Html {
  return html`<dl class="facts">
<dt>Service</dt><dd>${upstream.name}<small>${upstream.url.host}</small></dd>
<dt>For</dt><dd>${identity.words}</dd>
${code === undefined ? html`` : html`<dt>Code</dt><dd><code class="big">${code}</code></dd>`}
</dl>`;
}
