import { type Html, html, page } from "../http/index.ts";
import type { Upstream } from "../upstreams/index.ts";
import { tokenScript } from "./link-token.ts";
import { type Ask, machineNote, pageErrors, question, tokenForm } from "./pages.ts";

/** Form fields that carry a header's value are called this and the header's name. */
export const fieldPrefix = "header.";

export interface HeaderPage {
  upstream: Upstream;
  /** Whose values these will be, in words. */
  identity: string;
  /** The service account that somebody submits them for. */
  machine?: string;
  /** Where the form goes, with what it carries along. */
  action: string;
  hidden: Readonly<Record<string, string>>;
  ask?: Ask;
  /** The page's script may replace the question by a one-time token from the address. */
  takesToken?: boolean;
  /** During a consent: who asks for it, and where that one is answered. */
  client?: { name: string; host: string };
  error?: string;
  /** The header at fault. */
  field?: string;
  /** A page to go back to without submitting. */
  back?: string;
}

/** One short form: the names are given, the values are typed in and never shown again. */
export function headerPage(content: HeaderPage): Promise<Response> {
  const { upstream, identity, action, hidden, ask, back, client } = content;
  const names = upstream.perUserHeaderKeys;
  return page({
    title: `Connect ${upstream.name}`,
    script: content.takesToken ? tokenScript : undefined,
    body: html`<h1>Connect ${upstream.name}</h1>
<p class="lead">${upstream.name} needs ${names.length === 1 ? "a value" : "values"} that only you have, such as an access token.</p>
${errorNote(content)}
<dl class="facts">
<dt>Service</dt><dd>${upstream.name}<small>${upstream.url.host}</small></dd>
<dt>For</dt><dd>${identity}</dd>
${client === undefined ? "" : html`<dt>Asked by</dt><dd>${client.name}<small>returns to ${client.host}</small></dd>`}
</dl>
${machineNote(content.machine)}
<form method="post" action="${action}">
${Object.entries(hidden).map(([name, value]) => html`<input type="hidden" name="${name}" value="${value}">`)}
${names.map((name, index) => input(name, index, content.field))}
<p class="hint">${keeping(upstream)}</p>
${ask ? question(ask) : html``}
${ask === "token" ? html`` : html`<div class="actions"><button type="submit">Check and save</button>${back === undefined ? html`` : html`<a class="button quiet" href="${back}">Back</a>`}</div>`}
</form>
<p class="fine">Go on only if you asked for this yourself.</p>
${content.takesToken ? tokenForm(hidden.flow ?? "") : html``}`,
  });
}

function keeping({ url, perUserHeaderKeys }: Upstream): string {
  const [it, goes] = perUserHeaderKeys.length === 1 ? ["it", "It is"] : ["them", "They are"];
  return `This gateway tries ${it} once at ${url.host} and then keeps ${it} encrypted. ${goes} sent only there, with your calls, and nobody can read ${it} here. You can remove ${it} at any time.`;
}

function input(name: string, index: number, fault: string | undefined): Html {
  const invalid = name === fault ? html` aria-invalid="true" aria-describedby="problem"` : html``;
  return html`<label for="value-${index}">${name}</label>
<input id="value-${index}" name="${fieldPrefix}${name}" type="password" autocomplete="off" spellcheck="false" required${invalid}>`;
}

function errorNote({ upstream, error, field }: HeaderPage): Html {
  if (error === undefined) return html``;
  const where = field !== undefined && upstream.perUserHeaderKeys.includes(field) ? `${field}: ` : "";
  const text = pageErrors[error] ?? "That did not work. Try again.";
  return html`<p class="error" role="alert" id="problem">${where}${text}</p>`;
}
