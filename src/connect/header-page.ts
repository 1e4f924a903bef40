import { type Html, html, page } from "../http/index.ts";
import type { Upstream } from "../upstreams/index.ts";
import { pageErrors, question } from "./pages.ts";

/** Form fields that carry a header's value are called this and the header's name. */
export const fieldPrefix = "header.";

export interface HeaderPage {
  upstream: Upstream;
  /** Whose values these will be, in words. */
  identity: string;
  /** Where the form goes, with what it carries along. */
  action: string;
  hidden: Readonly<Record<string, string>>;
  ask?: "vk" | "session";
  error?: string;
  /** The header at fault. */
  field?: string;
  /** A page to go back to without submitting. */
  back?: string;
}

/** One short form: the names are given, the values are typed in and never shown again. */
export function headerPage(content: HeaderPage): Promise<Response> {
  const { upstream, identity, action, hidden, ask, back } = content;
  const names = upstream.perUserHeaderKeys;
  return page({
    title: `Connect ${upstream.name}`,
    body: html`<h1>Connect ${upstream.name}</h1>
${errorNote(content)}
<dl class="facts">
<dt>Service</dt><dd>${upstream.name} (${upstream.url.host})</dd>
<dt>For</dt><dd>${identity}</dd>
</dl>
<p>${upstream.name} wants ${names.length === 1 ? "a value" : "values"} that only you have, such as an access token. They are
tried once at ${upstream.url.host}, then kept encrypted and sent there and nowhere else with your calls. Nobody can read
them here. You can remove them at any time.</p>
<p class="fine">Go on only if you asked for this yourself.</p>
<form method="post" action="${action}">
${Object.entries(hidden).map(([name, value]) => html`<input type="hidden" name="${name}" value="${value}">`)}
${names.map((name, index) => input(name, index, content.field))}
${ask ? question(ask) : html``}
<div class="actions"><button type="submit">Check and save</button>${back === undefined ? html`` : html` <a href="${back}">Back</a>`}</div>
</form>`,
  });
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
