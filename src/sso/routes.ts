import { z } from "zod";
import { Problem } from "../base/index.ts";
import { html, json, page, type Route, type RouteContext, redirect, unrepeated } from "../http/index.ts";
import { localPath, route } from "../identity/index.ts";
import { arrive } from "./arrive.ts";
import type { OidcProvider, SsoProvider } from "./config.ts";
import { departOidc, proveOidc } from "./oidc.ts";
import { type SsoParts, vouching } from "./parts.ts";
import { strayAnswer, unknownProvider } from "./refusals.ts";
import { departSaml } from "./saml.ts";
import { claimTrip, type Departure, type Errand, endTripCookie } from "./trip.ts";

const tag = "Sign-in";
export const providerParams = z.object({ id: z.string().min(1).max(40) });

/** Out to a provider, and back. */
export function signInRoutes(parts: SsoParts): Route[] {
  return [listRoute(parts), startRoute(parts), callbackRoute(parts), signedOutRoute(parts)];
}

function listRoute({ sso }: SsoParts): Route {
  return route({
    method: "GET",
    path: "/api/session/providers",
    operationId: "listSignInProviders",
    summary: "The ways to sign in here",
    tag,
    access: "public",
    csrf: "none",
    rate: "api",
    errors: "envelope",
    refuses: [],
    answers: {
      200: {
        description: "The providers, in the order of the configuration",
        schema: z.object({
          local_sign_in: z.boolean(),
          providers: z.array(
            z.object({
              id: z.string(),
              name: z.string(),
              type: z.enum(["oidc", "saml"]),
              start_url: z.string().meta({ description: "POST it as a form of a page of this gateway" }),
            }),
          ),
        }),
      },
    },
    handle: () =>
      json({
        local_sign_in: sso.localSignIn,
        providers: sso.providers.map(({ id, name, type }) => ({
          id,
          name,
          type,
          start_url: `/login/sso/${id}`,
        })),
      }),
  });
}

function startRoute(parts: SsoParts): Route {
  return route({
    method: "POST",
    path: "/login/sso/{id}",
    operationId: "startSignInElsewhere",
    summary: "Leaves for a sign-in provider",
    tag,
    access: "public",
    csrf: "page",
    rate: "authorize",
    errors: "page",
    params: providerParams,
    form: z.object({
      return_to: z.string().max(4096).default("/"),
      /** Somebody else than the one whom the provider remembers in this browser. */
      again: z.literal("1").optional(),
    }),
    refuses: [404, 503],
    answers: { 303: { description: "To the provider" } },
    handle: async ({ params, body }) => {
      const returnTo = localPath(body.return_to, parts.settings);
      const again = body.again !== undefined;
      const errand = { purpose: "sign_in" as const, returnTo, ...(again && { again }) };
      const departure = await depart(parts, providerOf(parts, params.id), errand);
      return redirect(departure.url, 303, [departure.cookie]);
    },
  });
}

/** Leaves for whatever kind of provider it is. */
export function depart(parts: SsoParts, provider: SsoProvider, errand: Errand): Promise<Departure> {
  if (provider.type === "saml") return departSaml(parts, provider, errand);
  return departOidc(parts, provider, errand);
}

function callbackRoute(parts: SsoParts): Route {
  return route({
    method: "GET",
    path: "/login/sso/{id}/callback",
    operationId: "signInCallback",
    summary: "A sign-in provider's answer",
    tag,
    access: "browser",
    csrf: "none",
    rate: "authorize",
    errors: "page",
    effect: true,
    params: providerParams,
    refuses: [403, 404, 409, 410, 502, 503],
    answers: { 303: { description: "Signed in, on to where the person wanted to go" } },
    handle: (context) => {
      const provider = oidcProviderOf(parts, context.params.id);
      return telling(parts, provider, context, () => comeBack(parts, provider, context));
    },
  });
}

async function comeBack(
  parts: SsoParts,
  provider: OidcProvider,
  { request, url, requestId }: Pick<RouteContext<never>, "request" | "url" | "requestId">,
): Promise<Response> {
  const { state } = unrepeated(url.searchParams);
  if (!state) throw strayAnswer();
  const trip = await claimTrip<Parameters<typeof proveOidc>[2]["data"]>(parts, request, provider, state);
  const arrival = await proveOidc(parts, provider, trip, url.searchParams);
  const response = await arrive(parts, arrival, { request, requestId });
  response.headers.append(...endTripCookie(parts, state));
  return response;
}

/** A sign-in that was refused changes nothing; that it was is written down, once, with the reason that its page does not tell. */
export async function telling(
  parts: SsoParts,
  provider: SsoProvider,
  { requestId, log }: Pick<RouteContext<never>, "requestId" | "log">,
  signIn: () => Promise<Response>,
): Promise<Response> {
  try {
    return await signIn();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    const { code, status } = error;
    const detail = { ...error.log, method: "sso", provider: vouching(provider), code };
    // What is our or their machinery's fault is logged where it is answered (http/refuse.ts).
    if (status < 500) log.warn("sso.refused", detail);
    await parts.record(undefined, { event: "session.refused", actor: "system", requestId, detail });
    throw error;
  }
}

function signedOutRoute(parts: SsoParts): Route {
  return route({
    method: "GET",
    path: "/login/sso/{id}/signed-out",
    operationId: "signedOutElsewhere",
    summary: "Where a provider sends people after it signed them out",
    tag,
    access: "public",
    csrf: "none",
    rate: "api",
    errors: "page",
    params: providerParams,
    refuses: [404],
    answers: { 200: { description: "A page" } },
    handle: ({ params }) => {
      const { name } = providerOf(parts, params.id);
      return page({
        title: "Signed out",
        body: html`<h1>Signed out</h1>
<p>You are signed out here and at ${name}.</p>
<p><a href="/login">Sign in again</a></p>`,
      });
    },
  });
}

export function providerOf({ sso }: SsoParts, id: string): SsoProvider {
  const provider = sso.providers.find((one) => one.id === id);
  if (!provider) throw unknownProvider();
  return provider;
}

/** For what providers of another kind do elsewhere. */
export function oidcProviderOf(parts: SsoParts, id: string): OidcProvider {
  const provider = providerOf(parts, id);
  if (provider.type !== "oidc") throw unknownProvider();
  return provider;
}
