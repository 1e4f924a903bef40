import type { z } from "zod";
import { Problem, type Settings, type World } from "../base/index.ts";
import type { Database, Tx } from "../db/index.ts";
import { type Answer, type RateLimits, type Route, type RouteContext, redirect } from "../http/index.ts";
import type { Identities } from "./identities.ts";
import type { LocalSignIn } from "./local-sign-in.ts";
import type { PasswordChanges } from "./password-changes.ts";
import { aboutUser, type Recorder } from "./recorder.ts";
import { route } from "./route.ts";
import type { Sessions, SignedIn } from "./sessions.ts";

export interface AccountRoutesParts {
  database: Database;
  world: World;
  settings: Settings;
  limits: RateLimits;
  local: LocalSignIn;
  sessions: Sessions;
  passwords: PasswordChanges;
  identities: Identities;
  record: Recorder;
}

export const ACCOUNT = "/account";
export const accountRoute = { tag: "Account", access: "browser", errors: "page" } as const;

export interface FormContext<P, B> extends Pick<RouteContext<unknown>, "request" | "requestId"> {
  params: P;
  body: B;
  /** An audit line about the person, in the transaction of the change. */
  about(event: string, detail?: Record<string, unknown>): (tx: Tx, user: SignedIn["user"]) => Promise<void>;
}

export interface FormOptions<P extends z.ZodType, B extends z.ZodType> {
  path: string;
  operationId: string;
  summary: string;
  rate: Route["rate"];
  params?: P;
  form: B;
  /** What it answers, when it is not the account page again. */
  page?: string;
  run(context: FormContext<z.output<P>, z.output<B>>): Promise<Response>;
}

/** A form of the account page: what is refused is said on that page. */
export function form<P extends z.ZodType, B extends z.ZodType>(
  { record }: AccountRoutesParts,
  { path, page, run, ...options }: FormOptions<P, B>,
): Route {
  return route<P, z.ZodType, B>({
    ...accountRoute,
    ...options,
    method: "POST",
    path: ACCOUNT + path,
    csrf: "page",
    refuses: [401, 403, 404, 409],
    answers: {
      303: { description: "Back to the account page, with `done` or `error`" },
      ...(page === undefined ? {} : ({ 200: { description: page } } as Record<number, Answer>)),
    },
    handle: async (context) => {
      const { requestId } = context;
      try {
        return await run({
          ...{ request: context.request, requestId, params: context.params, body: context.body },
          about: (event, detail) => (tx, user) =>
            aboutUser(record, event, { caller: `user:${user.id}`, requestId }, detail)(tx, user),
        });
      } catch (error) {
        if (!(error instanceof Problem) || error.status >= 429) throw error;
        const isNobody = error.kind === "unauthenticated" && error.code === "authentication_required";
        return redirect(isNobody ? "/login?return_to=%2Faccount" : `${ACCOUNT}?error=${error.code}`);
      }
    },
  });
}

/** Who is signed in. Throws 401. */
export async function whoever({ sessions }: AccountRoutesParts, request: Request): Promise<SignedIn> {
  const signedIn = await sessions.of(request);
  if (signedIn) return signedIn;
  throw new Problem("unauthenticated", "authentication_required", "Sign in first.");
}

/** The account page again, with what was done. */
export function done(what: string, headers: [string, string][] = []): Response {
  return redirect(`${ACCOUNT}?done=${what}`, 303, headers);
}
