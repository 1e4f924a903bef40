import { z } from "zod";
import { clearCookie, type Route } from "../http/index.ts";
import { type AccountRoutesParts, done, form, whoever } from "./account-form.ts";
import {
  challengeCookie,
  challengeOf,
  credentialText,
  parseCredential,
  withChallenge,
} from "./passkey-routes.ts";
import { passkeyPage } from "./sign-in-pages.ts";

const name = z.string().trim().min(1).max(64);
const id = z.object({ id: z.string().max(128) });

/** A person's passkeys, on their account page: made, named, removed. */
export function accountPasskeyRoutes(parts: AccountRoutesParts): Route[] {
  return [newPasskeyForm(parts), passkeyForm(parts), renamePasskeyForm(parts), removePasskeyForm(parts)];
}

function newPasskeyForm(parts: AccountRoutesParts): Route {
  const { local, sessions, settings } = parts;
  return form(parts, {
    path: "/passkeys/new",
    operationId: "newPasskey",
    summary: "Asks the browser to make a passkey",
    rate: "authorize",
    form: z.object({ name }),
    page: "A page whose script asks the browser",
    run: async ({ request, body }) => {
      const { user } = await sessions.fresh(request);
      const asked = await local.passkeys.askToCreate(request, user);
      return withChallenge(await passkeyPage({ options: asked.options, name: body.name }), asked, settings);
    },
  });
}

function passkeyForm(parts: AccountRoutesParts): Route {
  const { local, sessions, settings } = parts;
  return form(parts, {
    path: "/passkeys",
    operationId: "addPasskey",
    summary: "Stores the passkey that the browser made",
    rate: "guess",
    form: z.object({ name, credential: credentialText }),
    run: async ({ request, body, about }) => {
      const { user } = await sessions.fresh(request);
      const answer = {
        token: challengeOf(request, settings),
        response: parseCredential(body.credential),
        name: body.name,
      };
      await local.passkeys.create(request, answer, user, about("passkey.added", { name: body.name }));
      return done("passkey", [clearCookie(challengeCookie(settings), settings)]);
    },
  });
}

function renamePasskeyForm(parts: AccountRoutesParts): Route {
  return form(parts, {
    path: "/passkeys/{id}/rename",
    operationId: "renamePasskey",
    summary: "Gives a passkey another name",
    rate: "api",
    params: id,
    form: z.object({ name }),
    run: async ({ request, body, params }) => {
      const { user } = await whoever(parts, request);
      await parts.local.passkeys.rename(user.id, params.id, body.name);
      return done("renamed");
    },
  });
}

function removePasskeyForm(parts: AccountRoutesParts): Route {
  const { database, local, sessions } = parts;
  return form(parts, {
    path: "/passkeys/{id}/remove",
    operationId: "removePasskey",
    summary: "Removes a passkey, but not the only way to sign in",
    rate: "api",
    params: id,
    form: z.object({}),
    run: async ({ request, params, about }) => {
      const { user } = await sessions.fresh(request);
      await database.transaction(async (tx) => {
        await local.passkeys.remove(tx, user, params.id);
        await about("passkey.removed", { passkey_id: params.id })(tx, user);
      });
      return done("passkey_removed");
    },
  });
}
