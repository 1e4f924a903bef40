import type { Settings, World } from "../base/index.ts";
import { type Html, html, page } from "../http/index.ts";
import { consentErrorText } from "./consent-errors.ts";
import type { Choice, ConsentFlow } from "./consent-flow.ts";
import type { SignedIn } from "./parts.ts";
import { consentPath, paths } from "./paths.ts";
import { formActionSource, isLoopback, redirectHost } from "./redirect-uri.ts";
import type { Service } from "./services.ts";

const MINUTE_MS = 60_000;

interface IdentityPage {
  flow: ConsentFlow;
  session?: SignedIn;
  error?: string;
  settings: Settings;
  world: World;
}

/** Who are you, and may this client act for you? Choosing an identity is the approval (CB-14). */
export function identityPage({ flow, session, error, settings, world }: IdentityPage): Promise<Response> {
  const { client, redirectUri } = flow.data;
  return page({
    title: `Allow ${client.name}?`,
    formActions: [formActionSource(redirectUri)],
    body: html`<h1>Allow ${client.name}?</h1>
<p>It wants to use your tools through this gateway. Choose whose account it will be; what you connect next belongs to it.</p>
${errorLine(error)}
${facts(flow, world)}
${warnings(flow)}
${session ? signedInForm(flow, session) : signInLine(flow)}
<h2>${session ? "Or use a virtual key" : "Use a virtual key"}</h2>
<form method="post" action="${paths.chooseKey}">
${flowField(flow)}
<label for="vk">Virtual key</label>
<input id="vk" name="vk" type="password" required autocomplete="off" spellcheck="false" placeholder="sk-bf-…">
<button class="${session ? "quiet" : ""}">Allow and continue</button>
</form>
${settings.enforceAuthOnInference ? "" : skipForm(flow)}
<div class="actions">${denyForm(flow)}</div>`,
  });
}

interface ServicesPage {
  flow: ConsentFlow;
  choice: Choice;
  services: Service[];
  /** False: the connections are a person's, and that person is not signed in here. */
  mayConnect: boolean;
  error?: string;
  world: World;
}

/** What may be connected now; everything here is optional, and one button ends it. */
export function servicesPage({
  flow,
  choice,
  services,
  mayConnect,
  error,
  world,
}: ServicesPage): Promise<Response> {
  const { client, redirectUri } = flow.data;
  return page({
    title: "Connect your services",
    formActions: [formActionSource(redirectUri)],
    body: html`<h1>Connect your services</h1>
<p><strong>${client.name}</strong> will act as <strong>${displayOf(choice)}</strong>. Connect what you want to use now;
the rest can be connected later, when a tool asks for it.</p>
${errorLine(error)}
${facts(flow, world, choice)}
${warnings(flow)}
${mayConnect ? "" : html`<p class="notice">This key belongs to a person. <a href="${signInPath(flow)}">Sign in as that person</a> to connect or replace services.</p>`}
${services.length === 0 ? html`<p>There is nothing to connect.</p>` : html`<ul class="services">${services.map((service) => serviceLine(flow, service, mayConnect))}</ul>`}
<p class="fine">${client.name} will be able to use every service this account may use, including ones added later.
<a href="${consentPath("consent", flow.id)}">Use another account</a></p>
<div class="actions">
<form method="post" action="${paths.submit}">${flowField(flow)}<button>Finish and return to ${client.name}</button></form>
${denyForm(flow)}
</div>`,
  });
}

function serviceLine(flow: ConsentFlow, { upstream, connected }: Service, mayConnect: boolean): Html {
  const query = new URLSearchParams({ mcp_client_id: upstream.id, flow_id: flow.id });
  const connect = upstream.authType === "per_user_headers" ? paths.connectHeaders : paths.connectUpstream;
  const label = connected === "no" || connected === "broken" ? "Connect" : "Replace";
  const state = {
    no: html`<span class="state">Not connected</span>`,
    broken: html`<span class="state">Must be connected again</span>`,
    flow: html`<span class="state connected">Connected</span>`,
    before: html`<span class="state connected">Connected before</span>`,
  }[connected];
  const link = html`<a class="button quiet" href="${connect}?${query}" aria-label="${label} ${upstream.name}">${label}</a>`;
  return html`<li><span><strong>${upstream.name}</strong><br>${state}</span>${mayConnect ? link : ""}</li>`;
}

function facts(flow: ConsentFlow, world: World, choice?: Choice): Html {
  const { client, redirectUri } = flow.data;
  return html`<dl class="facts">
<dt>Client</dt><dd>${client.name}</dd>
<dt>Returns to</dt><dd>${redirectHost(redirectUri)}</dd>
<dt>Checked</dt><dd>${standing(flow, world)}</dd>
${client.documentHost === undefined ? "" : html`<dt>Described by</dt><dd>${client.documentHost}</dd>`}
${choice === undefined ? "" : html`<dt>Account</dt><dd>${displayOf(choice)}</dd>`}
</dl>`;
}

function standing({ data: { client } }: ConsentFlow, world: World): string {
  if (client.verified) return "Registered by your administrator";
  if (client.registeredAt === undefined) return "Not verified";
  const minutes = Math.floor((world.now().getTime() - client.registeredAt) / MINUTE_MS);
  return `Not verified, registered itself ${minutes < 1 ? "just now" : `${age(minutes)} ago`}`;
}

function age(minutes: number): string {
  if (minutes < 120) return `${minutes} ${minutes === 1 ? "minute" : "minutes"}`;
  return minutes < 48 * 60 ? `${Math.floor(minutes / 60)} hours` : `${Math.floor(minutes / 1440)} days`;
}

function warnings({ data: { client, redirectUri } }: ConsentFlow): Html {
  if (isLoopback(redirectUri)) {
    return html`<p class="notice">An application on <strong>this computer</strong> will receive the access. Go on only if you just started ${client.name} here yourself.</p>`;
  }
  const elsewhere = client.documentHost !== undefined && redirectHost(redirectUri) !== client.documentHost;
  if (elsewhere) {
    return html`<p class="notice">The access goes to <strong>${redirectHost(redirectUri)}</strong>, not to ${client.documentHost}, which describes this client.</p>`;
  }
  if (client.verified) return html``;
  return html`<p class="notice">Anyone can use the name ${client.name}. Go on only if you trust <strong>${redirectHost(redirectUri)}</strong>.</p>`;
}

function signedInForm(flow: ConsentFlow, session: SignedIn): Html {
  return html`<form method="post" action="${paths.chooseUser}">
${flowField(flow)}<input type="hidden" name="user_id" value="${session.userId}">
<p class="hint">Signed in as ${session.email}</p>
<button>Allow as ${session.name}</button>
</form>`;
}

function signInLine(flow: ConsentFlow): Html {
  return html`<p><a href="${signInPath(flow)}">Sign in</a> to use your own account, or use a virtual key.</p>`;
}

function signInPath(flow: ConsentFlow): string {
  return `/login?${new URLSearchParams({ return_to: consentPath("consent", flow.id) })}`;
}

function skipForm(flow: ConsentFlow): Html {
  return html`<h2>Or go on without an account</h2>
<p class="hint">What you connect then belongs to this client alone and ends with it.</p>
<form method="post" action="${paths.skip}">${flowField(flow)}<button class="quiet">Allow without an account</button></form>`;
}

function denyForm(flow: ConsentFlow): Html {
  return html`<form method="post" action="${paths.deny}">${flowField(flow)}<button class="quiet">Cancel</button></form>`;
}

function flowField(flow: ConsentFlow): Html {
  return html`<input type="hidden" name="flow_id" value="${flow.id}">`;
}

function errorLine(error: string | undefined): Html {
  const text = consentErrorText(error);
  return text === undefined ? html`` : html`<p class="error" role="alert">${text}</p>`;
}

function displayOf(choice: Choice): string {
  return choice.by === "skip" ? "no account" : choice.display;
}
