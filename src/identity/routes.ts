import { z } from "zod";
import { Hidden, Problem } from "../base/index.ts";
import { clearCookie, cookie, cookieName, type Route, readCookie, redirect } from "../http/index.ts";
import { setupPage } from "./pages.ts";
import { passkeySignInRoutes } from "./passkey-routes.ts";
import { route } from "./route.ts";
import { type Setup, spentLink } from "./setup.ts";
import { type SignInRoutesParts, signInRoutes } from "./sign-in-routes.ts";

const SETUP_COOKIE_SECONDS = 15 * 60;
const tag = "Sign-in";

export interface IdentityRoutesParts extends SignInRoutesParts {
  setup: Setup;
}

/** Everything before somebody is signed in. */
export function identityRoutes(parts: IdentityRoutesParts): Route[] {
  return [...signInRoutes(parts), ...passkeySignInRoutes(parts), ...setupRoutes(parts)];
}

function setupRoutes({ setup, sessions, settings }: IdentityRoutesParts): Route[] {
  const name = cookieName("setup", settings);
  return [
    route({
      method: "GET",
      path: "/setup",
      operationId: "setupPage",
      summary: "Makes the first administrator; opened by the one-time link",
      tag,
      access: "public",
      csrf: "none",
      rate: "guess",
      errors: "page",
      query: z.object({ token: z.string().optional(), error: z.string().optional() }),
      refuses: [400, 410],
      answers: {
        200: { description: "A page" },
        303: { description: "The same page, without the link's token in its address" },
      },
      handle: async ({ request, query }) => {
        const token = query.token ?? readCookie(request, name);
        if (token === undefined || !(await setup.accepts(token))) throw spentLink();
        // The token leaves the address bar at once; it must not stay in the browser's history or a Referer.
        if (query.token !== undefined)
          return redirect("/setup", 303, [cookie(name, token, SETUP_COOKIE_SECONDS, settings)]);
        return setupPage(query.error);
      },
    }),
    route({
      method: "POST",
      path: "/setup",
      operationId: "setupForm",
      summary: "The form of the set-up page",
      tag,
      access: "public",
      csrf: "page",
      rate: "guess",
      errors: "page",
      form: z.object({ email: z.string().max(254), password: z.string().max(1024) }),
      refuses: [410],
      answers: { 303: { description: "Signed in, on to the first page; or back with `error`" } },
      handle: async ({ request, body }) => {
        const token = readCookie(request, name);
        if (token === undefined) throw spentLink();
        try {
          const session = await setup.finish(
            token,
            { email: body.email, password: new Hidden(body.password) },
            request,
          );
          return redirect("/", 303, [sessions.cookie(session), clearCookie(name, settings)]);
        } catch (error) {
          if (error instanceof Problem && error.param !== undefined)
            return redirect(`/setup?error=${error.code}`);
          throw error;
        }
      },
    }),
  ];
}
