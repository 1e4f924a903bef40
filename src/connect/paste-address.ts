import { z } from "zod";
import { html, page, type Route, redirect } from "../http/index.ts";
import { route } from "../identity/index.ts";
import { comeBack } from "./callback.ts";
import { errorNote, pastePath } from "./pages.ts";
import type { ConnectParts } from "./parts.ts";

const LONGEST_ADDRESS = 8192;

/**
 * For a browser that a provider sends back to an address it cannot open, as when the gateway is on another computer and is
 * called `localhost`: the person brings that address here. It counts as if the browser had opened it, with the same checks.
 */
export function pasteRoutes(parts: ConnectParts): Route[] {
  const common = { path: pastePath, tag: "Connect", access: "browser", errors: "page" } as const;
  return [
    route({
      ...common,
      method: "GET",
      operationId: "pasteAddressPage",
      summary: "Asks for the address at which a browser ended after signing in at a provider",
      csrf: "none",
      rate: "api",
      query: z.object({ error: z.string().max(100).optional() }),
      refuses: [],
      answers: { 200: { description: "A page" } },
      handle: ({ query }) => pastePage(query.error),
    }),
    route({
      ...common,
      method: "POST",
      operationId: "pasteAddress",
      summary: "A provider's answer, brought by hand",
      csrf: "page",
      rate: "authorize",
      form: z.object({ address: z.string().max(LONGEST_ADDRESS).default("") }),
      refuses: [403, 409, 410, 502],
      answers: { 303: { description: "To the services page or the connected page, or back with `error`" } },
      handle: ({ request, body }) => {
        const url = readAddress(parts, body.address);
        return url ? comeBack(parts, request, url) : redirect(`${pastePath}?error=wrong_address`);
      },
    }),
  ];
}

/** A way back that we gave to a provider, whatever this browser makes of it; else undefined. */
function readAddress({ settings }: ConnectParts, text: string): URL | undefined {
  const url = URL.parse(text.trim());
  const isOurs = url?.origin === settings.baseUrl.origin && url.pathname.startsWith("/api/oauth/callback");
  return isOurs && url.searchParams.has("state") ? url : undefined;
}

function pastePage(error: string | undefined): Promise<Response> {
  const invalid = error === undefined ? html`` : html` aria-invalid="true"`;
  return page({
    title: "Paste the address",
    body: html`<h1>Paste the address your browser ended at</h1>
${errorNote(error)}
<p>After you signed in at the service, your browser was sent to an address of this gateway that did not open. Copy it whole, from the
address bar, and paste it here. Do it in the browser in which you started.</p>
<form method="post" action="${pastePath}">
<label for="address">Address</label>
<input id="address" name="address" type="text" inputmode="url" autocomplete="off" autocapitalize="off" spellcheck="false" required
maxlength="${LONGEST_ADDRESS}" aria-describedby="address-hint"${invalid}>
<p class="hint" id="address-hint">It has /api/oauth/callback and state= in it. It works once; give it to nobody else.</p>
<div class="actions"><button type="submit">Go on</button></div>
</form>`,
  });
}
