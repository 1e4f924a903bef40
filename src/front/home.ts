import type { Settings } from "../base/index.ts";
import { type Html, html, page } from "../http/index.ts";

export interface HomeView {
  settings: Settings;
  hasAdmin: boolean;
  /** The signed-in person; only an administrator sees what is configured. */
  person?: { email: string; isAdmin: boolean };
  upstreams: { name: string; state: string; authType: string; tools: number; failure?: string }[];
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
    (
      upstream,
    ) => html`<li><span><strong>${upstream.name}</strong><br><span class="state">${upstream.authType} · ${upstream.tools} tools${upstream.failure ? html`<br>${upstream.failure}` : ""}</span></span>
<span class="${upstream.state === "healthy" ? "state connected" : "state"}">${upstream.state}</span></li>`,
  )}</ul>`;
}

function signedIn(email: string): Html {
  return html`<div class="actions"><span class="fine">Signed in as ${email}</span>
<form method="post" action="/logout"><button class="quiet" type="submit">Sign out</button></form></div>`;
}
