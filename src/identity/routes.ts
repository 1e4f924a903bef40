import { z } from "zod";
import { Hidden, Problem, type Settings } from "../base/index.ts";
import {
  clearCookie,
  cookie,
  cookieName,
  defineRoute,
  json,
  noContent,
  type Route,
  readCookie,
  redirect,
} from "../http/index.ts";
import { setupPage, signInPage } from "./pages.ts";
import type { Principal } from "./principal.ts";
import type { Sessions } from "./sessions.ts";
import { type Setup, spentLink } from "./setup.ts";
import type { User, Users } from "./users.ts";

/** Defines a route whose caller is a proved principal (for `admin`, `management`, `signed_in`). */
export const route = defineRoute<Principal>();

const SETUP_COOKIE_SECONDS = 15 * 60;

interface Parts {
  users: Users;
  sessions: Sessions;
  setup: Setup;
  settings: Settings;
}

export function identityRoutes(parts: Parts): Route[] {
  return [...sessionRoutes(parts), ...signInPages(parts), ...setupRoutes(parts)];
}

const credentials = { email: z.string().max(254), password: z.string().max(1024) };
const tag = "Sign-in";

function sessionRoutes({ users, sessions, settings }: Parts): Route[] {
  return [
    route({
      method: "POST",
      path: "/api/session/login",
      operationId: "login",
      summary: "Sign in with e-mail and password",
      tag,
      access: "public",
      csrf: "page",
      rate: "guess",
      errors: "envelope",
      json: z.strictObject(credentials),
      answers: { 200: { description: "Signed in; the dashboard cookie is set" } },
      handle: async ({ body }) => {
        const user = await users.authenticate(body.email, new Hidden(body.password));
        if (!user) throw wrongCredentials();
        const { id, email, name, role } = user;
        return json(
          { message: "Signed in", user: { id, email, name, role } },
          200,
          Object.fromEntries([await signIn(user, sessions, settings)]),
        );
      },
    }),
    route({
      method: "POST",
      path: "/api/session/logout",
      operationId: "logout",
      summary: "End this browser's session",
      tag,
      access: "public",
      csrf: "page",
      rate: "api",
      errors: "envelope",
      answers: { 204: { description: "Signed out" } },
      handle: async ({ request }) => {
        await sessions.end(request);
        return noContent(Object.fromEntries([clearCookie(sessions.cookieName, settings)]));
      },
    }),
    route({
      method: "GET",
      path: "/api/session/is-auth-enabled",
      operationId: "isAuthEnabled",
      summary: "Whether signing in is needed, and whether this browser is signed in",
      tag,
      access: "public",
      csrf: "none",
      rate: "api",
      errors: "envelope",
      answers: {
        200: {
          description: "Always enabled",
          schema: z.object({ is_auth_enabled: z.boolean(), has_valid_token: z.boolean() }),
        },
      },
      handle: async ({ request }) =>
        json({ is_auth_enabled: true, has_valid_token: (await sessions.of(request)) !== undefined }),
    }),
  ];
}

function signInPages({ users, sessions, settings }: Parts): Route[] {
  return [
    route({
      method: "GET",
      path: "/login",
      operationId: "signInPage",
      summary: "The sign-in page",
      tag,
      access: "public",
      csrf: "none",
      rate: "api",
      errors: "page",
      query: z.object({ return_to: z.string().default("/"), error: z.string().optional() }),
      answers: { 200: { description: "A page" } },
      handle: ({ query }) =>
        signInPage({ returnTo: localPath(query.return_to, settings), error: query.error }),
    }),
    route({
      method: "POST",
      path: "/login",
      operationId: "signInForm",
      summary: "The sign-in form",
      tag,
      access: "public",
      csrf: "page",
      rate: "guess",
      errors: "page",
      form: z.object({ ...credentials, return_to: z.string().default("/") }),
      answers: { 303: { description: "On to where the person came from" } },
      handle: async ({ body }) => {
        const returnTo = localPath(body.return_to, settings);
        const user = await users.authenticate(body.email, new Hidden(body.password));
        if (user) return redirect(returnTo, 303, [await signIn(user, sessions, settings)]);
        return redirect(`/login?${new URLSearchParams({ return_to: returnTo, error: "wrong_credentials" })}`);
      },
    }),
    route({
      method: "POST",
      path: "/logout",
      operationId: "signOutForm",
      summary: "The sign-out button",
      tag,
      access: "public",
      csrf: "page",
      rate: "api",
      errors: "page",
      answers: { 303: { description: "Back to the first page" } },
      handle: async ({ request }) => {
        await sessions.end(request);
        return redirect("/", 303, [clearCookie(sessions.cookieName, settings)]);
      },
    }),
  ];
}

function setupRoutes({ setup, sessions, settings }: Parts): Route[] {
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
      answers: { 200: { description: "A page" } },
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
      form: z.object(credentials),
      answers: { 303: { description: "Signed in, on to the first page" } },
      handle: async ({ request, body }) => {
        const token = readCookie(request, name);
        if (token === undefined) throw spentLink();
        try {
          const session = await setup.finish(token, body.email, new Hidden(body.password));
          return redirect("/", 303, [
            cookie(sessions.cookieName, session.value.reveal(), session.maxAgeSeconds, settings),
            clearCookie(name, settings),
          ]);
        } catch (error) {
          if (error instanceof Problem && error.param !== undefined)
            return redirect(`/setup?error=${error.code}`);
          throw error;
        }
      },
    }),
  ];
}

async function signIn(user: User, sessions: Sessions, settings: Settings): Promise<[string, string]> {
  const session = await sessions.start(user);
  return cookie(sessions.cookieName, session.value.reveal(), session.maxAgeSeconds, settings);
}

function wrongCredentials(): Problem {
  return new Problem(
    "unauthenticated",
    "wrong_credentials",
    "E-mail and password do not match an account. Check both and try again.",
  );
}

/** A path of ours, or `/`: the sign-in page is not an open redirector. */
function localPath(text: string, settings: Settings): string {
  const url = URL.parse(text, settings.baseUrl.href);
  if (!text.startsWith("/") || url?.origin !== settings.baseUrl.origin) return "/";
  return url.pathname + url.search;
}
