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
import type { Admit, LocalSignIn, SignInOutcome } from "./local-sign-in.ts";
import type { Recorder } from "./recorder.ts";
import { localPath } from "./return-to.ts";
import { route } from "./route.ts";
import type { EndedSession, Sessions, StartedSession } from "./sessions.ts";
import { recordRefusal, startSession } from "./sign-in.ts";
import { codePage, type SignInProvider, signInPage } from "./sign-in-pages.ts";

/** As long as the flow itself lives. */
const CODE_SECONDS = 5 * 60;

export interface SignInRoutesParts {
  local: LocalSignIn;
  sessions: Sessions;
  settings: Settings;
  record: Recorder;
  /** Where people may sign in elsewhere; none unless told. */
  providers?: () => readonly SignInProvider[];
  /** False where accounts of this gateway sign in by set-up and recovery links only. */
  localSignIn?: boolean;
  /** Where the browser goes on to when its session has ended, so that the provider's ends too. */
  afterSignOut?: (ended: EndedSession) => Promise<URL | undefined>;
}

type By = { request: Request; requestId: string; remote: string };

const tag = "Sign-in";
const page = { tag, access: "public", errors: "page" } as const;
const credentials = { email: z.string().max(254), password: z.string().max(1024) };
const code = z.string().max(32);

/** Signing in with e-mail, password and code, in a form and over the API, and signing out. */
export function signInRoutes(parts: SignInRoutesParts): Route[] {
  return [
    loginRoute(parts),
    logoutRoute(parts),
    authEnabledRoute(parts),
    signInPageRoute(parts),
    signInForm(parts),
    codePageRoute(parts),
    codeForm(parts),
    signOutForm(parts),
  ];
}

function loginRoute(parts: SignInRoutesParts): Route {
  return route({
    method: "POST",
    path: "/api/session/login",
    operationId: "login",
    summary: "Sign in with e-mail and password, and the code of who has set up one-time codes",
    tag,
    access: "public",
    csrf: "page",
    rate: "guess",
    errors: "envelope",
    json: z.strictObject({ ...credentials, code: code.optional() }),
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
    handle: async ({ body, ...by }) => {
      requireLocal(parts);
      const attempt = { ...body, password: new Hidden(body.password), address: by.remote };
      const done = await parts.local.byPassword({ ...attempt, request: by.request }, admitting(parts, by));
      if (done.outcome !== "signed_in") throw await refusal(parts, done, by);
      const { id, email, name, role } = done.user;
      const answer = json({ message: "Signed in", user: { id, email, name, role } });
      for (const [header, value] of sessionCookies(parts, done.admitted, email))
        answer.headers.append(header, value);
      return answer;
    },
  });
}

function logoutRoute({ sessions, settings }: SignInRoutesParts): Route {
  return route({
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
  });
}

function authEnabledRoute({ sessions }: SignInRoutesParts): Route {
  return route({
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
  });
}

function signInPageRoute({ local, settings, providers, localSignIn = true }: SignInRoutesParts): Route {
  return route({
    ...page,
    method: "GET",
    path: "/login",
    operationId: "signInPage",
    summary: "The sign-in page",
    csrf: "none",
    rate: "api",
    query: z.object({
      return_to: z.string().default("/"),
      again: z.literal("1").optional(),
      error: z.string().optional(),
    }),
    refuses: [],
    answers: { 200: { description: "A page" } },
    handle: ({ request, query }) =>
      signInPage({
        returnTo: localPath(query.return_to, settings),
        again: query.again !== undefined,
        error: query.error,
        providers: providers?.() ?? [],
        local: localSignIn,
        passkeys: localSignIn && local.passkeys.workAt(request),
      }),
  });
}

function signInForm(parts: SignInRoutesParts): Route {
  const { local, settings } = parts;
  return route({
    ...page,
    method: "POST",
    path: "/login",
    operationId: "signInForm",
    summary: "The sign-in form",
    csrf: "page",
    rate: "guess",
    form: z.object({ ...credentials, return_to: z.string().default("/") }),
    refuses: [403],
    answers: {
      303: { description: "On to where the person came from, or to the page that asks for a code" },
    },
    handle: async ({ body, ...by }) => {
      requireLocal(parts);
      const returnTo = localPath(body.return_to, settings);
      const attempt = {
        email: body.email,
        password: new Hidden(body.password),
        returnTo,
        address: by.remote,
      };
      const done = await local.byPassword({ ...attempt, request: by.request }, admitting(parts, by));
      if (done.outcome === "signed_in")
        return redirect(returnTo, 303, sessionCookies(parts, done.admitted, done.user.email));
      if (done.outcome === "code_required" && done.token)
        return redirect("/login/code", 303, [codeCookie(settings, done.token)]);
      const { code: error } = await refusal(parts, done, by);
      return redirect(`/login?${new URLSearchParams({ return_to: returnTo, error })}`);
    },
  });
}

function codePageRoute({ local, settings }: SignInRoutesParts): Route {
  return route({
    ...page,
    method: "GET",
    path: "/login/code",
    operationId: "codePage",
    summary: "Asks for the one-time code of who has proved their password",
    csrf: "none",
    rate: "api",
    query: z.object({ error: z.string().optional() }),
    refuses: [400],
    answers: {
      200: { description: "A page" },
      303: { description: "To the sign-in page, when that is over" },
    },
    handle: async ({ request, query }) => {
      const token = readCookie(request, cookieName("second_factor", settings));
      const person = token === undefined ? undefined : await local.waiting(token);
      return person ? codePage(person.email, query.error) : redirect("/login?error=sign_in_ended");
    },
  });
}

function codeForm(parts: SignInRoutesParts): Route {
  const { local, settings } = parts;
  const name = cookieName("second_factor", settings);
  return route({
    ...page,
    method: "POST",
    path: "/login/code",
    operationId: "codeForm",
    summary: "The form for the one-time code",
    csrf: "page",
    rate: "guess",
    form: z.object({ code }),
    refuses: [400],
    answers: { 303: { description: "On to where the person came from; or back with `error`" } },
    handle: async ({ body, ...by }) => {
      const { request } = by;
      const token = readCookie(request, name);
      if (token === undefined) return redirect("/login?error=sign_in_ended");
      const done = await local.byCode(token, { code: body.code, request }, admitting(parts, by));
      if (done.outcome === "ended")
        return redirect("/login?error=sign_in_ended", 303, [clearCookie(name, settings)]);
      if (done.outcome === "wrong_code") {
        await recordRefusal(parts, { ...by, method: "password+totp", userId: done.userId });
        return redirect("/login/code?error=wrong_code");
      }
      const cookies = sessionCookies(parts, done.admitted, done.user.email);
      return redirect(done.returnTo, 303, [...cookies, clearCookie(name, settings)]);
    },
  });
}

function signOutForm({ sessions, settings, afterSignOut }: SignInRoutesParts): Route {
  return route({
    ...page,
    method: "POST",
    path: "/logout",
    operationId: "signOutForm",
    summary: "The sign-out button",
    csrf: "page",
    rate: "api",
    refuses: [400],
    answers: { 303: { description: "Back to the first page, or to the provider, whose session ends too" } },
    handle: async ({ request }) => {
      const ended = await sessions.end(request);
      const onward = ended && (await afterSignOut?.(ended));
      return redirect(onward ?? "/", 303, [clearCookie(sessions.cookieName, settings)]);
    },
  });
}

/** Of the browser that has to bring a code: nobody else's code page is this person's. */
export function codeCookie(settings: Settings, token: Hidden): [string, string] {
  return cookie(cookieName("second_factor", settings), token.reveal(), CODE_SECONDS, settings);
}

/** Starts the session of somebody who proved everything, in the transaction that made sure of it. */
export function admitting(parts: SignInRoutesParts, { request, requestId }: By): Admit<StartedSession> {
  return (tx, user, method) => startSession(parts, user, { method, request, requestId }, tx);
}

/** The session, and that this browser is one of its person's. */
export function sessionCookies(
  { sessions, local }: Pick<SignInRoutesParts, "sessions" | "local">,
  started: StartedSession,
  email: string,
): [string, string][] {
  return [sessions.cookie(started), local.guesses.known(email)];
}

async function refusal(
  parts: SignInRoutesParts,
  done: Exclude<SignInOutcome<unknown>, { outcome: "signed_in" }>,
  by: By,
): Promise<Problem> {
  if (done.outcome === "code_required")
    return new Problem(
      "unauthenticated",
      "code_required",
      "Send the code of your authenticator app as `code`.",
    );
  const isCode = done.outcome === "wrong_code";
  await recordRefusal(parts, { ...by, method: isCode ? "password+totp" : "password", userId: done.userId });
  return isCode ? wrongCode() : wrongCredentials();
}

/** Links of an administrator go on working where people sign in elsewhere. */
export function requireLocal({ localSignIn = true }: SignInRoutesParts): void {
  if (localSignIn) return;
  throw new Problem(
    "forbidden",
    "local_sign_in_off",
    "Passwords and passkeys are not used to sign in here. Use one of the buttons of the sign-in page.",
  );
}

function wrongCredentials(): Problem {
  return new Problem(
    "unauthenticated",
    "wrong_credentials",
    "E-mail and password do not match an account. Check both and try again.",
  );
}

function wrongCode(): Problem {
  return new Problem(
    "unauthenticated",
    "wrong_code",
    "This code is wrong or was used already. Wait for the next one and try again.",
  );
}
