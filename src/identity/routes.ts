import { z } from "zod";
import { Hidden, Problem, type Settings } from "../base/index.ts";
import {
  clearCookie,
  cookie,
  cookieName,
  json,
  noContent,
  type Route,
  readCookie,
  redirect,
} from "../http/index.ts";
import { setupPage, signInPage } from "./pages.ts";
import type { Recorder } from "./recorder.ts";
import { route } from "./route.ts";
import type { Sessions } from "./sessions.ts";
import { type Setup, spentLink } from "./setup.ts";
import type { User } from "./user-rows.ts";
import type { Users } from "./users.ts";

const SETUP_COOKIE_SECONDS = 15 * 60;

export interface IdentityRoutesParts {
  users: Users;
  sessions: Sessions;
  setup: Setup;
  settings: Settings;
  record: Recorder;
}

export function identityRoutes(parts: IdentityRoutesParts): Route[] {
  return [...sessionRoutes(parts), ...signInPages(parts), ...setupRoutes(parts)];
}

const credentials = { email: z.string().max(254), password: z.string().max(1024) };
const tag = "Sign-in";

function sessionRoutes(parts: IdentityRoutesParts): Route[] {
  const { users, sessions, settings } = parts;
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
      refuses: [401],
      answers: {
        200: {
          description: "Signed in; the dashboard cookie is set",
          schema: z.object({
            message: z.string(),
            user: z.object({
              id: z.string(),
              email: z.string(),
              name: z.string(),
              role: z.enum(["admin", "member"]),
            }),
          }),
          headers: { "Set-Cookie": "The dashboard session." },
        },
      },
      handle: async ({ body, requestId }) => {
        const user = await users.authenticate(body.email, new Hidden(body.password));
        if (!user) throw wrongCredentials();
        const { id, email, name, role } = user;
        return json(
          { message: "Signed in", user: { id, email, name, role } },
          200,
          Object.fromEntries([await signIn(parts, user, requestId)]),
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
      refuses: [400],
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
      refuses: [400],
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

function signInPages(parts: IdentityRoutesParts): Route[] {
  const { users, sessions, settings } = parts;
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
      refuses: [],
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
      refuses: [],
      answers: { 303: { description: "On to where the person came from" } },
      handle: async ({ body, requestId }) => {
        const returnTo = localPath(body.return_to, settings);
        const user = await users.authenticate(body.email, new Hidden(body.password));
        if (user) return redirect(returnTo, 303, [await signIn(parts, user, requestId)]);
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
      refuses: [400],
      answers: { 303: { description: "Back to the first page" } },
      handle: async ({ request }) => {
        await sessions.end(request);
        return redirect("/", 303, [clearCookie(sessions.cookieName, settings)]);
      },
    }),
  ];
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
      form: z.object(credentials),
      refuses: [410],
      answers: { 303: { description: "Signed in, on to the first page; or back with `error`" } },
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

async function signIn(
  { sessions, settings, record }: IdentityRoutesParts,
  user: User,
  requestId: string,
): Promise<[string, string]> {
  const session = await sessions.start(user);
  const owner = { mode: "user", id: user.id } as const;
  await record(undefined, { event: "session.started", actor: `user:${user.id}`, owner, requestId });
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
