import type { Settings } from "../base/index.ts";
import { type Html, html, page } from "../http/index.ts";

export interface HomeView {
  settings: Settings;
  hasAdmin: boolean;
  /** The signed-in person; only an administrator sees what is configured. */
  person?: { email: string; isAdmin: boolean };
  upstreams: {
    name: string;
    state: string;
    authType: string;
    tools: number;
    held: number;
    failure?: string;
  }[];
}

/** The line a person pastes into a terminal to point a client at this gateway. */
export function clientLine(settings: Settings): string {
  return `claude mcp add --transport http postern ${mcpUrl(settings)}`;
}

export function mcpUrl(settings: Settings): string {
  return new URL("/mcp", settings.baseUrl).href;
}

/** The first page: what runs, and what to do next for whoever looks at it. */
export function homePage(view: HomeView): Promise<Response> {
  return page({
    title: "Running",
    formActions: [...(view.settings.signInOrigins ?? [])],
    body: html`<h1>Postern is running</h1>
<p>AI clients reach your MCP servers through this gateway, each call with the right person's own credentials.</p>
<dl class="facts"><dt>MCP URL</dt><dd><code>${mcpUrl(view.settings)}</code></dd></dl>
<h2>Point a client at it</h2>
<pre>${clientLine(view.settings)}</pre>
<p class="fine">Any client that speaks MCP over HTTP works: give it the MCP URL, and it opens the consent page in a browser.</p>
${nextStep(view)}
${view.person ? signedIn(view.person.email) : html``}`,
  });
}

function nextStep(view: HomeView): Html {
  if (!view.hasAdmin) {
    return html`<h2>Next: make the first administrator</h2>
<p class="notice">Open the one-time set-up link that the gateway printed in the terminal when it started.</p>`;
  }
  if (!view.person) return html`<div class="actions"><a class="button quiet" href="/login">Sign in</a></div>`;
  if (!view.person.isAdmin) return html``;
  return view.upstreams.length === 0 ? addFirst(view.settings) : upstreamList(view);
}

function addFirst(settings: Settings): Html {
  const command = `curl -X POST ${new URL("/api/mcp/client", settings.baseUrl).href} \\
  -H "Authorization: Bearer $POSTERN_ADMIN_TOKEN" -H "Content-Type: application/json" \\
  -d '{"name":"notion","connection_type":"http","connection_string":"https://mcp.notion.com/mcp","auth_type":"per_user_oauth","tools_to_execute":["*"],"allow_on_all_virtual_keys":true}'`;
  return html`<h2>Next: add an upstream server</h2>
<p>Put it into <code>postern.config.json</code> and restart, or send it to the API:</p>
<pre>${command}</pre>`;
}

function upstreamList(view: HomeView): Html {
  return html`<h2>Upstream servers</h2>
<ul class="services">${view.upstreams.map(
    ({ name, authType, tools, held, state, failure }) => html`<li><span class="what"><strong>${name}</strong>
<span class="fine">${signInWays[authType] ?? authType}</span>
${tools === 0 ? "" : html`<span class="fine">${tools === 1 ? "1 tool" : `${tools} tools`}</span>`}
${states[state] ?? html`<span class="state">${state}</span>`}
${held === 0 ? "" : html`<span class="fine">${held === 1 ? "1 definition waits" : `${held} definitions wait`} for approval</span>`}
${failure ? html`<span class="fine">${failure}</span>` : ""}</span></li>`,
  )}</ul>`;
}

/** Whose credentials a call goes with, by `auth_type`. */
const signInWays: Readonly<Record<string, string>> = {
  per_user_oauth: "Each person signs in there",
  per_user_headers: "Each person has a key of their own",
  oauth: "One account for everybody",
  headers: "One key for everybody",
  none: "No sign-in",
  token_exchange: "Each person, by token exchange",
};

const states: Readonly<Record<string, Html>> = {
  healthy: html`<span class="state connected">Working</span>`,
  pending_verification: html`<span class="state">Tools not read yet</span>`,
  unstable: html`<span class="state broken">Did not answer the last time</span>`,
  error: html`<span class="state broken">Not working</span>`,
  needs_reauth: html`<span class="state broken">An administrator must connect it again</span>`,
  disabled: html`<span class="state">Switched off</span>`,
};

function signedIn(email: string): Html {
  return html`<div class="actions"><span class="fine">Signed in as <a href="/account">${email}</a></span>
<a class="button quiet" href="/connections">My connections</a>
<form method="post" action="/logout"><button class="plain" type="submit">Sign out</button></form></div>`;
}
