import { z } from "zod";
import type { VirtualKeys } from "../access/index.ts";
import { Problem, type Settings, type World } from "../base/index.ts";
import type { Connect } from "../connect/index.ts";
import { redirect } from "../http/index.ts";
import type { Principal, Sessions, User } from "../identity/index.ts";
import type { Issuer } from "../issuer/index.ts";
import { PAGE } from "./page.ts";
import type { ServicesParts } from "./services.ts";
import { isKnownError } from "./words.ts";

export interface ConnectionsParts extends ServicesParts {
  world: World;
  settings: Pick<Settings, "signInOrigins">;
  sessions: Pick<Sessions, "of">;
  connect: Pick<Connect, "connectOwn" | "reauth" | "disconnect">;
  issuer: Pick<Issuer, "grantsOfPerson" | "revokeGrant" | "revokeGrantsOf">;
  keys: Pick<VirtualKeys, "ofUser">;
}

export const id = z.string().min(1).max(200);
const common = { tag: "Connections", rate: "api", errors: "page" } as const;
/** Pages: who is not signed in is sent to sign in, and comes back. */
export const shown = { ...common, method: "GET", access: "browser", csrf: "none" } as const;
/** Buttons of the pages. */
export const pressed = { ...common, method: "POST", access: "signed_in", csrf: "page" } as const;
export const toSignIn = { 303: { description: "To the sign-in page" } };
export const back = {
  303: { description: "On to the next step, or back to the page with what came of it" },
};

/** For who is signed in in this browser; anybody else signs in first and comes back to the same address. */
export async function forPerson(
  { sessions }: Pick<ConnectionsParts, "sessions">,
  request: Request,
  url: URL,
  show: (person: User) => Promise<Response>,
): Promise<Response> {
  const signedIn = await sessions.of(request);
  if (signedIn) return show(signedIn.user);
  return redirect(`/login?${new URLSearchParams({ return_to: url.pathname + url.search })}`);
}

/** The page with a short notice; `service`: what it is about. */
export function done(code: string, service?: string): string {
  return `${PAGE}?${new URLSearchParams({ done: code, ...(service !== undefined && { service }) })}`;
}

/** What somebody can do something about is said on the page itself; everything else as everywhere. */
export async function orBack(service: string, act: () => Promise<Response>): Promise<Response> {
  try {
    return await act();
  } catch (error) {
    if (!(error instanceof Problem) || !isKnownError(error.code)) throw error;
    return redirect(`${PAGE}?${new URLSearchParams({ error: error.code, service })}`);
  }
}

export function userIdOf(caller: Principal): string {
  if (caller.kind !== "user") throw new Error("a caller who is not signed in");
  return caller.userId;
}
