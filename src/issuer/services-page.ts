import type { World } from "../base/index.ts";
import { type Html, html, page } from "../http/index.ts";
import type { Choice, ConsentFlow } from "./consent-flow.ts";
import {
  denyForm,
  displayOf,
  errorLine,
  facts,
  flowField,
  notYouForm,
  signInPath,
  timeLeft,
} from "./consent-parts.ts";
import { consentPath, paths } from "./paths.ts";
import { formActionSource } from "./redirect-uri.ts";
import type { Service } from "./services.ts";

interface ServicesPage {
  flow: ConsentFlow;
  choice: Choice;
  services: Service[];
  /** False: the connections are a person's, and that person is not signed in here. */
  mayConnect: boolean;
  error?: string;
  /** The upstream that the person just came back from. */
  service?: string;
  world: World;
}

/** What may be connected now, of every kind and in any order; everything here is optional, and one button ends it. */
export function servicesPage(content: ServicesPage): Promise<Response> {
  const { flow, choice, services, world } = content;
  const { client, redirectUri } = flow.data;
  const connected = services.filter(isConnected).length;
  return page({
    title: "Connect your services",
    formActions: [formActionSource(redirectUri)],
    body: html`<h1>${services.length === 0 ? `Allow ${client.name}?` : "Connect your services"}</h1>
${actsAs(flow, choice)}
${outcome(content)}
${content.mayConnect ? "" : html`<p class="notice">This key belongs to a person. <a href="${signInPath(flow.id)}">Sign in as that person</a> to connect or replace services.</p>`}
${services.length === 0 ? html`<p>There is nothing to connect here at the moment.</p>` : list(content, connected)}
<p>When you finish, <strong>${client.name}</strong> can use every service ${choice.by === "skip" ? "that is open to apps without an account" : "this account may use"}, including ones added later. You
can withdraw this at any time.</p>
${finish(flow, services.length - connected)}
<h2>Who gets access</h2>
${facts(flow, world, choice)}`,
  });
}

function actsAs(flow: ConsentFlow, choice: Choice): Html {
  const name = html`<strong>${flow.data.client.name}</strong>`;
  const change = consentPath("consent", flow.id);
  if (choice.by === "skip") {
    return html`<p class="lead">${name} will work <strong>without an account</strong>: what you connect here is for this app alone.
<a href="${change}">Choose an account</a></p>`;
  }
  return html`<p class="lead">${name} will act as <strong>${displayOf(choice)}</strong>.
${choice.by === "login" ? "" : html`<a href="${change}">Choose another</a>`}</p>
${choice.by === "login" ? notYouForm(flow) : ""}`;
}

/** What became of the service the person was just away for. */
function outcome({ services, service, error }: ServicesPage): Html {
  const about = services.find(({ upstream }) => upstream.id === service);
  if (error !== undefined) return errorLine(error, about?.upstream.name);
  if (about?.connected !== "flow") return html``;
  return html`<p class="done" role="status"><strong>${about.upstream.name}</strong> is connected.</p>`;
}

function list({ flow, services, mayConnect, world }: ServicesPage, connected: number): Html {
  return html`<p class="fine">${connected} of ${services.length} connected</p>
<ul class="services">${services.map((service) => card(flow, service, mayConnect))}</ul>
${
  services.some((service) => service.connected === "flow")
    ? html`<p class="fine">What you just connected is kept when you finish. You have ${timeLeft(flow, world)} left.</p>`
    : ""
}
${mayConnect ? otherWays(flow, services) : ""}`;
}

/** For browsers that cannot be sent to a provider, or not back: on a remote computer, behind a forwarded port. */
function otherWays(flow: ConsentFlow, services: Service[]): Html {
  const oauth = services.filter(({ upstream }) => upstream.authType === "per_user_oauth");
  if (oauth.length === 0) return html``;
  const place = (id: string) =>
    `${paths.connectCode}?${new URLSearchParams({ mcp_client_id: id, flow_id: flow.id })}`;
  return html`<details><summary>Trouble getting to a service, or back?</summary>
<p>Does this browser not reach its sign-in, or are you signed in there somewhere else? Some services give a code that you type there:
${oauth.map(({ upstream }) => html`<a href="${place(upstream.id)}">${upstream.name}</a> `)}</p>
<p>Did it send you to an address that does not open? Keep that address, come back here and <a href="${paths.pasteAddress}">paste it</a>.</p>
</details>`;
}

const states = {
  no: html`<span class="state">Not connected</span>`,
  broken: html`<span class="state broken">Needs to be connected again</span>`,
  flow: html`<span class="state connected">Connected just now</span>`,
  before: html`<span class="state connected">Connected</span>`,
};

/** What it is, how it stands, and one thing to do. */
function card(flow: ConsentFlow, service: Service, mayConnect: boolean): Html {
  const { upstream, connected } = service;
  const query = new URLSearchParams({ mcp_client_id: upstream.id, flow_id: flow.id });
  const connect = upstream.authType === "per_user_headers" ? paths.connectHeaders : paths.connectUpstream;
  const label = isConnected(service) ? "Replace" : "Connect";
  const link = html`<a class="button ${isConnected(service) ? "plain" : "quiet"}" href="${connect}?${query}" aria-label="${label} ${upstream.name}">${label}</a>`;
  return html`<li><span class="letter" aria-hidden="true">${upstream.name.slice(0, 1)}</span>
<span class="what"><strong>${upstream.name}</strong><span class="fine">${upstream.url.host}</span>${offers(service)}${states[connected]}</span>
${mayConnect ? link : ""}</li>`;
}

/** By the hints of the upstream's own tool list; empty until somebody's connection has let us read it. */
function offers({ tools, changing }: Service): Html {
  if (tools === 0) return html``;
  const effect = changing === 0 ? "read-only" : `${changing === tools ? "" : `${changing} `}may make changes`;
  return html`<span class="fine">${tools === 1 ? "1 tool" : `${tools} tools`}, ${effect}</span>`;
}

function isConnected({ connected }: Service): boolean {
  return connected === "flow" || connected === "before";
}

/** The one button that ends the visit; the words say what becomes of what is not connected. */
function finish(flow: ConsentFlow, rest: number): Html {
  const { client } = flow.data;
  const label = rest === 0 ? finishLabel(flow) : "Finish, connect the rest later";
  return html`<div class="actions">
<form method="post" action="${paths.submit}">${flowField(flow)}<button>${label}</button></form>
${denyForm(flow)}
<p class="fine">${rest === 0 ? "" : html`You can leave any of them for later: the first time ${client.name} needs one, you get a link to connect it. `}${leaving(flow)}</p>
</div>`;
}

function finishLabel({ data: { client, end } }: ConsentFlow): string {
  return end === undefined ? `Finish and return to ${client.name}` : `Finish and allow ${client.name}`;
}

/** The tab stays behind where the client is no website; nothing of ours can close it. */
function leaving({ data: { client, redirectUri, end } }: ConsentFlow): string {
  if (end?.by === "device") return `When you finish, ${client.name} goes on by itself on the other device.`;
  if (end?.by === "code_page") return `When you finish, you are shown what to paste into ${client.name}.`;
  if (/^https?:/.test(redirectUri)) return `When you finish, you go back to ${client.name}.`;
  return `When you finish, your browser asks whether to open ${client.name}. Allow it; then you can close this tab.`;
}
