import { z } from "zod";
import { html, page, type Route, type RouteContext } from "../http/index.ts";
import { route } from "../identity/index.ts";
import { arrive } from "./arrive.ts";
import type { SsoParts } from "./parts.ts";
import { unknownProvider } from "./refusals.ts";
import { providerOf, providerParams, telling } from "./routes.ts";
import { arrivalOf, landSaml, type SamlTrip } from "./saml.ts";
import type { SamlProvider } from "./saml-config.ts";
import { serviceProviderMetadata } from "./saml-peer.ts";
import { claimTrip, endTripCookie } from "./trip.ts";

/** A RelayState of ours is a secret value; an IdP's own is an address of ours. */
const handle = z.string().min(1).max(2048);
const common = { tag: "Sign-in", access: "public", errors: "page", params: providerParams } as const;

/** What providers of type `saml` need: our metadata, the address they post to, and where the browser comes back. */
export function samlRoutes(parts: SsoParts): Route[] {
  return [
    route({
      ...common,
      method: "GET",
      path: "/login/sso/{id}/metadata",
      operationId: "samlMetadata",
      summary: "This gateway as a SAML service provider, for the identity provider's administrator",
      csrf: "none",
      rate: "api",
      refuses: [404],
      answers: { 200: { description: "SAML metadata", media: ["application/samlmetadata+xml"] } },
      handle: async ({ params }) =>
        new Response(await serviceProviderMetadata(parts, samlProviderOf(parts, params.id)), {
          headers: { "content-type": "application/samlmetadata+xml" },
        }),
    }),
    route({
      ...common,
      method: "POST",
      path: "/login/sso/{id}/acs",
      operationId: "samlAcs",
      summary: "Takes a SAML response (assertion consumer service)",
      // It comes from the provider's page; what it proves counts only for the browser that left for it (saml.ts).
      csrf: "none",
      rate: "authorize",
      form: z.object({ SAMLResponse: z.string().min(1), RelayState: handle.optional() }),
      refuses: [400, 403, 404, 410],
      answers: { 303: { description: "To the step that signs the person in, in their browser" } },
      handle: (context) => {
        const { SAMLResponse: response, RelayState: relayState } = context.body;
        const provider = samlProviderOf(parts, context.params.id);
        return telling(parts, provider, context, () => landSaml(parts, provider, { response, relayState }));
      },
    }),
    ...finishRoutes(parts),
  ];
}

function finishRoutes(parts: SsoParts): Route[] {
  const shared = {
    ...common,
    path: "/login/sso/{id}/finish",
    rate: "authorize",
    query: z.object({ trip: handle, landing: handle }),
    refuses: [400, 403, 404, 409, 410],
  } as const;
  return [
    route({
      ...shared,
      method: "GET",
      operationId: "samlFinish",
      summary: "Ends a SAML sign-in in the browser that began it",
      csrf: "none",
      effect: true,
      answers: {
        200: { description: "A page that asks, where the identity provider began" },
        303: { description: "Signed in or linked, on to where the person came from" },
      },
      handle: async (context) => {
        const provider = samlProviderOf(parts, context.params.id);
        return (await unaskedPage(parts, provider, context.query.trip)) ?? finish(parts, provider, context);
      },
    }),
    route({
      ...shared,
      method: "POST",
      operationId: "samlFinishForm",
      summary: "The button of the page that asks whether to sign in",
      csrf: "page",
      answers: { 303: { description: "Signed in, on to where the provider wanted" } },
      handle: (context) => finish(parts, samlProviderOf(parts, context.params.id), context),
    }),
  ];
}

function finish(
  parts: SsoParts,
  provider: SamlProvider,
  context: Pick<RouteContext<never>, "request" | "requestId" | "log"> & {
    query: { trip: string; landing: string };
  },
): Promise<Response> {
  const { trip, landing } = context.query;
  return telling(parts, provider, context, async () => {
    const claimed = await claimTrip<SamlTrip>(parts, context.request, provider, trip);
    const response = await arrive(parts, arrivalOf(parts, provider, claimed, landing), context);
    response.headers.append(...endTripCookie(parts, trip));
    return response;
  });
}

/**
 * Where the provider began, nobody has said yet that they want to be this person here (log-in CSRF, attack
 * CB-24). The form goes to the page's own address.
 */
async function unaskedPage(
  parts: SsoParts,
  provider: SamlProvider,
  trip: string,
): Promise<Response | undefined> {
  const key = { handleHash: parts.hash.of("sign_in", trip) };
  const found = await parts.flows.peek<SamlTrip>(parts.database.db, "sign_in", key);
  if (found.state !== "pending" || found.flow.data.provider !== provider.id) return undefined;
  const { request, landed } = found.flow.data;
  if (request !== undefined || !landed) return undefined;
  const { email, name, subject } = landed.assertion;
  return page({
    title: "Sign in",
    body: html`<h1>Sign in as ${email ?? name ?? subject}?</h1>
<p>${provider.name} sent you here. Go on only if you started this yourself there.</p>
<form method="post">
<button type="submit">Sign in</button>
</form>
<p><a href="/">Do not sign in</a></p>`,
  });
}

function samlProviderOf(parts: SsoParts, id: string): SamlProvider {
  const provider = providerOf(parts, id);
  if (provider.type !== "saml") throw unknownProvider();
  return provider;
}
