import { ago, type Html, html, page } from "../http/index.ts";
import { DEVICE_GRANT, type OwnGrant } from "../issuer/index.ts";
import { type Account, type Group, groups, type Service } from "./services.ts";
import { errorOf, groupNames, noticeOf, sharedWays, standingOf } from "./words.ts";

export const PAGE = "/connections";

export interface ConnectionsPage {
  person: { name: string; email: string };
  services: readonly Service[];
  apps: readonly OwnGrant[];
  keys: readonly { name: string; isActive: boolean; expiresAt?: number }[];
  /** Part of a service's name. */
  q: string;
  /** The one group that is shown whole. */
  show?: Group;
  done?: string;
  error?: string;
  /** The service or app that `done` or `error` is about. */
  about: string;
  now: number;
  /** Where signing out may lead. */
  signInOrigins?: readonly string[];
}

/** So many of a group are shown before it is asked for as a whole. */
const FEW = 12;
/** From so many on it is worth searching. */
const MANY = 8;

/** Everything a person has here: services with their accounts, apps that act for them, keys. */
export function connectionsPage(content: ConnectionsPage): Promise<Response> {
  const { person, services } = content;
  return page({
    title: "My connections",
    formActions: [...(content.signInOrigins ?? [])],
    body: html`<h1>My connections</h1>
<p class="lead">What AI apps may use as <strong>${person.name}</strong> (${person.email}).</p>
${outcome(content)}
${services.length === 0 ? html`<p>No service is open to you yet. Ask an administrator.</p>` : serviceList(content)}
${appList(content)}
${keyList(content)}
<div class="actions"><a class="button quiet" href="/account">Your account</a> <a class="button plain" href="/">First page</a></div>`,
  });
}

function outcome({ error, done, about }: ConnectionsPage): Html {
  if (error !== undefined) return html`<p class="error" role="alert">${errorOf(error, about)}</p>`;
  const notice = done === undefined ? undefined : noticeOf(done, about);
  return notice === undefined ? html`` : html`<p class="done" role="status">${notice}</p>`;
}

function serviceList(content: ConnectionsPage): Html {
  const { services, q, show } = content;
  const wanted = q.trim().toLowerCase();
  const found = services.filter(({ name }) => name.toLowerCase().includes(wanted));
  const byGroup = Map.groupBy(found, ({ group }) => group);
  const present = groups.filter((group) => byGroup.has(group) && (show === undefined || show === group));
  return html`${services.length >= MANY ? search(q) : ""}
${present.length === 0 ? html`<p>No service of yours is called like that. <a href="${PAGE}">Show all</a></p>` : ""}
${present.map((group) => groupSection(group, byGroup.get(group)!, content))}
${show === undefined ? "" : html`<p><a href="${address({ q })}">Show the other groups</a></p>`}`;
}

function search(q: string): Html {
  return html`<form class="search" role="search" method="get" action="${PAGE}">
<label for="q">Find a service</label>
<div class="inline"><input id="q" name="q" type="search" value="${q}" maxlength="100" autocomplete="off"> <button class="quiet" type="submit">Find</button></div>
</form>`;
}

function groupSection(group: Group, all: readonly Service[], { q, show, now }: ConnectionsPage): Html {
  const shown = show === group ? all : all.slice(0, FEW);
  const rest = all.length - shown.length;
  return html`<h2 id="${group}">${groupNames[group]} <span class="count">${all.length}</span></h2>
<ul class="services">${shown.map((service) => serviceItem(service, now))}</ul>
${rest === 0 ? "" : html`<p><a href="${address({ q, show: group })}#${group}">Show ${rest} more</a></p>`}`;
}

function address(query: { q: string; show?: Group }): string {
  const set = Object.entries(query).filter(([, value]) => value !== undefined && value !== "");
  return set.length === 0 ? PAGE : `${PAGE}?${new URLSearchParams(set as [string, string][])}`;
}

function serviceItem(service: Service, now: number): Html {
  const { name, host, isOff, accounts } = service;
  const isFirst = accounts.every(({ standing }) => standing === "unfinished");
  return html`<li class="${isFirst ? "" : "tall"}"><span class="letter" aria-hidden="true">${name.slice(0, 1)}</span>
<div class="what"><strong>${name}</strong>${host === undefined ? "" : html`<span class="fine">${host}</span>`}
${isOff ? html`<span class="state broken">Switched off by an administrator at the moment</span>` : ""}
${sharedWays[service.way] === undefined ? "" : html`<span class="state">${sharedWays[service.way]}</span>`}
${accounts.map((account) => accountItem(service, account, now))}
${isConnectable(service) && !isFirst ? anotherForm(service) : ""}</div>
${isConnectable(service) && isFirst ? firstForm(service) : ""}</li>`;
}

function isConnectable({ way, isOff, group }: Service): boolean {
  return (way === "oauth" || way === "headers") && !isOff && group !== "withdrawn";
}

function accountItem(service: Service, account: Account, now: number): Html {
  const { label, name, isDefault, standing, since } = account;
  if (standing === "unfinished")
    return html`<span class="state">${label === "" ? "" : `“${label}”: `}${standingOf(account)}, ${ago(since, now)}</span>`;
  const called = [name, label === "" ? undefined : `“${label}”`]
    .filter((one) => one !== undefined)
    .join(", ");
  const works = standing === "works";
  return html`<div class="account">
<span class="state ${works ? "connected" : "broken"}">${standingOf(account)}${called === "" ? "" : works ? ` as ${called}` : ` (${called})`}</span>
<span class="fine">Since ${ago(since, now)}${isDefault ? ", used unless an app names another" : ""}</span>
${accountActions(service, account)}</div>`;
}

/** What the person should do stands out; what they may do does not. */
function accountActions(service: Service, { id, label, standing }: Account): Html {
  const of = `${service.name}${label === "" ? "" : ` ${label}`}`;
  const canRenew = standing !== "withdrawn" && !service.isOff;
  const isUrgent = standing === "again" || standing === "values";
  const renew =
    service.way === "headers" ? (standing === "values" ? "Enter values" : "Edit values") : "Sign in again";
  return html`<div class="does">
${canRenew ? html`<form method="post" action="${PAGE}/again"><input type="hidden" name="id" value="${id}"><button class="${isUrgent ? "small" : "small quiet"}" type="submit" aria-label="${renew}: ${of}">${renew}</button></form>` : ""}
<a class="button small plain" href="${PAGE}/disconnect?${new URLSearchParams({ id })}" aria-label="Disconnect ${of}">Disconnect</a></div>`;
}

/** The first account, or one that was begun. */
function firstForm({ id, name, accounts }: Service): Html {
  const label = accounts.length > 0 ? "Continue" : "Connect";
  return html`<form method="post" action="${PAGE}/connect"><input type="hidden" name="service" value="${id}"><button class="button quiet" type="submit" aria-label="${label} ${name}">${label}</button></form>`;
}

/** Another one needs a label, so that apps can tell them apart. */
function anotherForm({ id, name }: Service): Html {
  return html`<details class="fine"><summary>Connect another account of ${name}</summary>
<form method="post" action="${PAGE}/connect"><input type="hidden" name="service" value="${id}">
<label for="label-${id}">Its label</label>
<div class="inline"><input id="label-${id}" name="account" required maxlength="40" pattern="[a-z0-9_\\-]{1,40}" placeholder="work" autocomplete="off" aria-describedby="hint-${id}"> <button class="small quiet" type="submit">Connect</button></div>
<p class="hint" id="hint-${id}">Lower-case letters, digits, hyphens and underscores.</p>
</form></details>`;
}

function appList({ apps, now }: ConnectionsPage): Html {
  if (apps.length === 0)
    return html`<h2>Apps that act for you</h2><p>None yet. <a href="/">How to point an app at this gateway</a></p>`;
  return html`<h2>Apps that act for you <span class="count">${apps.length}</span></h2>
<ul class="services">${apps.map((app) => appItem(app, now))}</ul>
${apps.length > 1 ? html`<p><a class="button quiet" href="${PAGE}/end-all">End all</a></p>` : ""}`;
}

function appItem(
  { id, clientName, redirectUri, slug, keyName, createdAt, lastUsedAt }: OwnGrant,
  now: number,
): Html {
  return html`<li class="tall"><span class="letter" aria-hidden="true">${clientName.slice(0, 1)}</span>
<div class="what"><strong>${clientName}</strong><span class="fine">${placeOf(redirectUri)}</span>
<span class="state">May use ${slug === undefined ? "every service you may use" : `what the bundle ${slug} has`}${keyName === undefined ? "" : `, within your key ${keyName}`}</span>
<span class="fine">Allowed ${ago(createdAt, now)}, ${lastUsedAt === undefined ? "never used" : `last used ${ago(lastUsedAt, now)}`}</span>
<div class="does"><a class="button small quiet" href="${PAGE}/end?${new URLSearchParams({ id })}" aria-label="End ${clientName}">End</a></div></div></li>`;
}

/** Where its sign-in came back to: the one thing about an app that it did not write itself. */
function placeOf(redirectUri: string): string {
  // In place of an address: the kind of grant that needs none.
  if (redirectUri === DEVICE_GRANT) return "Another device";
  if (redirectUri.startsWith("urn:")) return "By your company's sign-in";
  const url = URL.parse(redirectUri);
  if (!url?.protocol.startsWith("http")) return "An app on a computer";
  return ["localhost", "127.0.0.1", "[::1]"].includes(url.hostname) ? "An app on a computer" : url.host;
}

function keyList({ keys, now }: ConnectionsPage): Html {
  if (keys.length === 0) return html``;
  const stateOf = (key: ConnectionsPage["keys"][number]) =>
    !key.isActive
      ? "Switched off"
      : key.expiresAt !== undefined && key.expiresAt <= now
        ? "Expired"
        : "In use";
  return html`<h2>Your virtual keys <span class="count">${keys.length}</span></h2>
<ul class="services">${keys.map((key) => html`<li><span class="what"><strong>${key.name}</strong><span class="state">${stateOf(key)}</span></span></li>`)}</ul>
<p class="fine">Programs that send one of them act as you. Administrators make and end them.</p>`;
}
