import { html, page } from "../http/index.ts";
import { PAGE } from "./page.ts";

/** Asked before an account goes. `name`: of the service; `account`: what tells it from others there. */
export function disconnectPage(row: { id: string; name: string; account: string }): Promise<Response> {
  const which = row.account === "" ? row.name : `${row.account} of ${row.name}`;
  return confirmPage({
    title: `Disconnect ${which}?`,
    text: `Apps cannot use ${which} as you any more, at once. The service is told to forget this gateway, where it can be told. You can connect again at any time.`,
    action: `${PAGE}/disconnect`,
    id: row.id,
    label: "Disconnect",
  });
}

export function endPage(app: { id: string; name: string }): Promise<Response> {
  return confirmPage({
    title: `End ${app.name}?`,
    text: `${app.name} cannot act for you any more, at once. Your connections stay. It asks you again when it is used.`,
    action: `${PAGE}/end`,
    id: app.id,
    label: "End",
  });
}

export function endAllPage(count: number): Promise<Response> {
  return confirmPage({
    title: `End all ${count} apps?`,
    text: "None of them can act for you any more, at once. Your connections stay. Each asks you again when it is used.",
    action: `${PAGE}/end-all`,
    label: "End all",
  });
}

interface Question {
  title: string;
  text: string;
  action: string;
  id?: string;
  label: string;
}

function confirmPage({ title, text, action, id, label }: Question): Promise<Response> {
  return page({
    title,
    body: html`<h1>${title}</h1>
<p>${text}</p>
<div class="actions"><form method="post" action="${action}">${id === undefined ? "" : html`<input type="hidden" name="id" value="${id}">`}<button type="submit">${label}</button></form>
<a class="button quiet" href="${PAGE}">Keep it</a></div>`,
  });
}
