import { z } from "zod";
import { Problem, type Settings } from "../base/index.ts";
import { clearCookie, cookie, cookieName, type Route, readCookie, redirect } from "../http/index.ts";
import type { Challenge } from "./passkeys.ts";
import { localPath } from "./return-to.ts";
import { route } from "./route.ts";
import { recordRefusal } from "./sign-in.ts";
import { passkeyPage } from "./sign-in-pages.ts";
import { admitting, requireLocal, type SignInRoutesParts, sessionCookies } from "./sign-in-routes.ts";

/** As long as the challenge itself. */
const CHALLENGE_SECONDS = 5 * 60;

const common = { tag: "Sign-in", access: "public", csrf: "page", errors: "page" } as const;

/** Signing in with a passkey: a page that asks the browser for one, and where its answer goes. */
export function passkeySignInRoutes(parts: SignInRoutesParts): Route[] {
  return [askRoute(parts), answerRoute(parts)];
}

function askRoute(parts: SignInRoutesParts): Route {
  const { local, settings } = parts;
  return route({
    ...common,
    method: "POST",
    path: "/login/passkey",
    operationId: "passkeySignIn",
    summary: "Asks the browser for a passkey",
    rate: "authorize",
    form: z.object({ return_to: z.string().default("/") }),
    refuses: [403],
    answers: { 200: { description: "A page whose script asks the browser" } },
    handle: async ({ request, body }) => {
      requireLocal(parts);
      const returnTo = localPath(body.return_to, settings);
      const asked = await local.passkeys.askToSignIn(request, returnTo);
      return withChallenge(await passkeyPage({ options: asked.options, returnTo }), asked, settings);
    },
  });
}

function answerRoute(parts: SignInRoutesParts): Route {
  const { local, settings } = parts;
  return route({
    ...common,
    method: "POST",
    path: "/login/passkey/answer",
    operationId: "passkeySignInAnswer",
    summary: "The browser's answer",
    rate: "guess",
    form: z.object({ credential: credentialText, return_to: z.string().default("/") }),
    refuses: [403],
    answers: { 303: { description: "On to where the person came from; or back with `error`" } },
    handle: async ({ body, ...by }) => {
      requireLocal(parts);
      const { request } = by;
      const admit = admitting(parts, by);
      try {
        const { admitted, user, returnTo } = await local.passkeys.signIn(
          request,
          { token: challengeOf(request, settings), response: parseCredential(body.credential) },
          (tx, person) => admit(tx, person, "passkey"),
        );
        const cookies = sessionCookies(parts, admitted, user.email);
        return redirect(returnTo, 303, [...cookies, clearCookie(challengeCookie(settings), settings)]);
      } catch (error) {
        if (!(error instanceof Problem) || error.code !== "passkey_refused") throw error;
        await recordRefusal(parts, { ...by, method: "passkey" });
        const back = { return_to: localPath(body.return_to, settings), error: error.code };
        return redirect(`/login?${new URLSearchParams(back)}`);
      }
    },
  });
}

/** A page and the cookie that binds its challenge to this browser. */
export function withChallenge(response: Response, { token }: Challenge, settings: Settings): Response {
  const [name, value] = cookie(challengeCookie(settings), token.reveal(), CHALLENGE_SECONDS, settings);
  response.headers.append(name, value);
  return response;
}

export function challengeOf(request: Request, settings: Settings): string | undefined {
  return readCookie(request, challengeCookie(settings));
}

export function challengeCookie(settings: Settings): string {
  return cookieName("passkey", settings);
}

/** What a browser gives is a few hundred bytes; with an attestation some thousands. */
export const credentialText = z.string().max(20_000);

/** Undefined for what is no JSON object; it is judged like any other wrong answer. */
export function parseCredential(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}
