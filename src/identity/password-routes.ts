import { z } from "zod";
import { Hidden, Problem, type Settings } from "../base/index.ts";
import {
  clearCookie,
  cookie,
  cookieName,
  noContent,
  type RateLimits,
  type Route,
  readCookie,
  redirect,
} from "../http/index.ts";
import { passwordPage } from "./pages.ts";
import { type PasswordChanges, spentPasswordLink } from "./password-changes.ts";
import { aboutUser, type Recorder } from "./recorder.ts";
import { route } from "./route.ts";
import type { Sessions } from "./sessions.ts";
import { codeCookie } from "./sign-in-routes.ts";

export interface PasswordRoutesParts {
  passwords: PasswordChanges;
  sessions: Sessions;
  limits: RateLimits;
  settings: Settings;
  record: Recorder;
}

const COOKIE_SECONDS = 15 * 60;
const password = z.string().max(1024);
const common = { tag: "Sign-in", rate: "guess" } as const;

/** A person comes to a password: by the page behind a one-time link, or with the present one. */
export function passwordRoutes(parts: PasswordRoutesParts): Route[] {
  return [linkPage(parts), linkForm(parts), changeRoute(parts)];
}

function linkPage({ passwords, settings }: PasswordRoutesParts): Route {
  const name = cookieName("setup", settings, "password");
  return route({
    ...common,
    method: "GET",
    path: "/password",
    operationId: "passwordPage",
    summary: "Chooses a password; opened by the one-time link of an administrator",
    access: "public",
    csrf: "none",
    errors: "page",
    query: z.object({ token: z.string().max(256).optional(), error: z.string().optional() }),
    refuses: [400, 410],
    answers: {
      200: { description: "A page" },
      303: { description: "The same page, without the token in its address" },
    },
    handle: async ({ request, query }) => {
      const token = query.token ?? readCookie(request, name);
      const person = token === undefined ? undefined : await passwords.personOf(token);
      if (!person) throw spentPasswordLink();
      // The token leaves the address bar at once; it must not stay in the browser's history or a Referer.
      if (query.token !== undefined)
        return redirect("/password", 303, [cookie(name, query.token, COOKIE_SECONDS, settings)]);
      return passwordPage(person.email, query.error);
    },
  });
}

function linkForm({ passwords, sessions, settings, record }: PasswordRoutesParts): Route {
  const name = cookieName("setup", settings, "password");
  return route({
    ...common,
    method: "POST",
    path: "/password",
    operationId: "passwordForm",
    summary: "The form of the page that chooses a password",
    access: "public",
    csrf: "page",
    errors: "page",
    form: z.object({ password }),
    refuses: [400, 410],
    answers: { 303: { description: "Signed in, on to the first page; or back with what is wrong" } },
    handle: async ({ request, body, requestId }) => {
      const token = readCookie(request, name);
      if (token === undefined) throw spentPasswordLink();
      try {
        const done = await passwords.finish(token, new Hidden(body.password), request, (tx, user) =>
          aboutUser(record, "user.password_set", { caller: `user:${user.id}`, requestId })(tx, user),
        );
        const spent = clearCookie(name, settings);
        if ("waiting" in done)
          return redirect("/login/code", 303, [codeCookie(settings, done.waiting), spent]);
        return redirect("/", 303, [sessions.cookie(done.session), spent]);
      } catch (error) {
        if (error instanceof Problem && error.param !== undefined)
          return redirect(`/password?error=${error.code}`);
        throw error;
      }
    },
  });
}

function changeRoute({ passwords, sessions, limits, record }: PasswordRoutesParts): Route {
  return route({
    ...common,
    method: "POST",
    path: "/api/session/password",
    operationId: "changePassword",
    summary: "Changes one's own password; every other browser is signed out",
    access: "signed_in",
    csrf: "session",
    errors: "envelope",
    json: z.strictObject({ current_password: password, new_password: password }),
    refuses: [],
    answers: {
      204: {
        description: "Changed; the dashboard cookie is a new one",
        headers: { "Set-Cookie": "The new session" },
      },
    },
    handle: async ({ request, body, caller, requestId }) => {
      const current = await sessions.of(request);
      if (!current) throw new Problem("unauthenticated", "authentication_required", "Sign in first.");
      // A stolen session must not guess from many addresses.
      limits.take("guess", `password ${current.user.id}`);
      const started = await passwords.change(
        current,
        { present: new Hidden(body.current_password), next: new Hidden(body.new_password) },
        aboutUser(record, "user.password_changed", { caller, requestId }),
      );
      return noContent(Object.fromEntries([sessions.cookie(started)]));
    },
  });
}
