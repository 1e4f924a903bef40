import { z } from "zod";
import { Problem } from "../base/index.ts";
import { html, page, type Route, redirect } from "../http/index.ts";
import { route } from "../identity/index.ts";
import { checkAuthorizeRequest } from "./authorize-request.ts";
import type { Client } from "./client.ts";
import type { Clients } from "./clients.ts";
import { isCodePage, mayUseCodePage } from "./code-page.ts";
import { startConsent } from "./consent-start.ts";
import type { IssuerParts } from "./parts.ts";
import { paths } from "./paths.ts";
import { matchesRedirectUri, redirectHost, redirectUriFault, withParameters } from "./redirect-uri.ts";

const MAX_STATE = 2048;

/** RFC 6749 §3.1: a parameter without a value counts as omitted. */
const optional = z
  .string()
  .optional()
  .transform((value) => value || undefined);

const querySchema = z.object({
  client_id: optional,
  redirect_uri: optional,
  response_type: optional,
  response_mode: optional,
  code_challenge: optional,
  code_challenge_method: optional,
  scope: optional,
  resource: z.union([z.array(z.string()), optional]),
  state: optional,
});

type Query = z.output<typeof querySchema>;
type Parts = Pick<IssuerParts, "world" | "database" | "flows" | "hash" | "settings">;

/** The authorization endpoint (OAuth 2.1 §4.1.1): checks the request and starts the consent; approves nothing by itself. */
export function authorizeRoute(parts: Parts, clients: Clients): Route {
  return route({
    method: "GET",
    path: paths.authorize,
    operationId: "authorize",
    summary: "Authorization endpoint; leads to the consent pages",
    tag: "authorization",
    access: "public",
    csrf: "none",
    rate: "authorize",
    errors: "page",
    effect: true,
    query: querySchema,
    repeatable: ["resource"],
    // An unknown client is one whatever its id; `state` goes back as it came (RFC 6749 §4.1.2).
    verbatim: ["client_id", "redirect_uri", "state"],
    refuses: [503],
    answers: {
      302: { description: "To the consent page" },
      400: { description: "A page that says what is wrong" },
    },
    handle: async ({ query }) => {
      const { client, redirectUri } = await trustedDestination(parts, clients, query);
      const checked = checkAuthorizeRequest(query, parts.settings);
      if (!checked.ok) return refuse(parts, client, redirectUri, query.state, checked);
      const { challenge, scope, resource } = checked;
      const end = isCodePage(redirectUri, parts.settings) ? ({ by: "code_page" } as const) : undefined;
      const data = { client, redirectUri, end, challenge, scope, resource, guesses: 0 };
      return startConsent(parts, data, { state: query.state });
    },
  });
}

/** Client, then redirect URI. Until both hold, nothing is answered anywhere but here (OAuth 2.1 §4.1.2.1). */
async function trustedDestination(parts: Parts, clients: Clients, query: Query) {
  const client = query.client_id === undefined ? undefined : await clients.find(query.client_id);
  if (!client) {
    throw new Problem(
      "invalid",
      "unknown_client",
      "Nothing was allowed. Start again in your app; it may have to register here anew.",
      {
        param: "client_id",
      },
    );
  }
  const redirectUri = query.redirect_uri;
  if (
    redirectUri === undefined ||
    !client.redirectUris.some((registered) => matchesRedirectUri(registered, redirectUri)) ||
    redirectUriFault(redirectUri, parts.settings) !== undefined ||
    (isCodePage(redirectUri, parts.settings) && !mayUseCodePage(client, redirectUri))
  ) {
    throw new Problem(
      "invalid",
      "invalid_redirect_uri",
      "It asked to be answered at an address it has not registered. Nothing was allowed.",
      {
        param: "redirect_uri",
      },
    );
  }
  if ((query.state?.length ?? 0) > MAX_STATE) {
    throw new Problem(
      "invalid",
      "state_too_long",
      `The client's state is longer than ${MAX_STATE} characters.`,
      {
        param: "state",
      },
    );
  }
  return { client, redirectUri };
}

/** RFC 6749 §4.1.2.1, except that nobody's own client can use us to send people on without a click (AZ-21). */
function refuse(
  parts: Parts,
  client: Client,
  redirectUri: string,
  state: string | undefined,
  { error, message }: { error: string; message: string },
): Response | Promise<Response> {
  const iss = parts.settings.baseUrl.origin; // RFC 9207 §2
  const target = withParameters(redirectUri, { error, error_description: message, state, iss });
  if (client.verified) return redirect(target, 302);
  return page({
    title: "The app's request is not right",
    status: 400,
    body: html`<h1>${client.name} sent a request that is not right</h1>
<p>Nothing was allowed. This is a fault of the app; you can go back to it at <strong>${redirectHost(redirectUri)}</strong>.</p>
<p class="actions"><a class="button" href="${target}" rel="noreferrer">Return to ${client.name}</a></p>
<p class="fine">For whoever makes the app: ${message} (${error})</p>`,
  });
}
