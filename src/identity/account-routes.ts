import { z } from "zod";
import { Hidden } from "../base/index.ts";
import { type Route, redirect } from "../http/index.ts";
import { accountCodeRoutes } from "./account-codes.ts";
import { ACCOUNT, type AccountRoutesParts, accountRoute, done, form, whoever } from "./account-form.ts";
import { accountPage } from "./account-page.ts";
import { accountPasskeyRoutes } from "./account-passkeys.ts";
import { route } from "./route.ts";

const id = z.object({ id: z.string().max(128) });

/**
 * The account page of a person and its forms; they work without script, but for passkeys. What changes how somebody signs in
 * needs a sign-in of the last ten minutes, and the password alone the present one.
 */
export function accountRoutes(parts: AccountRoutesParts): Route[] {
  return [
    showRoute(parts),
    passwordForm(parts),
    ...accountPasskeyRoutes(parts),
    ...accountCodeRoutes(parts),
    endSessionForm(parts),
    endOthersForm(parts),
  ];
}

function showRoute(parts: AccountRoutesParts): Route {
  const { identities, local, sessions, world } = parts;
  return route({
    ...accountRoute,
    method: "GET",
    path: ACCOUNT,
    operationId: "accountPage",
    summary: "One's own account: password, passkeys, one-time codes, open sessions",
    csrf: "none",
    rate: "api",
    query: z.object({ error: z.string().optional(), done: z.string().optional() }),
    refuses: [400],
    answers: { 200: { description: "A page" }, 303: { description: "To the sign-in page" } },
    handle: async ({ request, query }) => {
      const signedIn = await sessions.of(request);
      if (!signedIn) return redirect("/login?return_to=%2Faccount");
      const { user, sessionId } = signedIn;
      return accountPage({
        ...query,
        user,
        isFresh: sessions.isFresh(signedIn),
        passkeys: await local.passkeys.list(user.id),
        canAddPasskey: local.passkeys.workAt(request),
        codes: await local.totp.isOn(user.id),
        sessions: await sessions.list(user.id),
        currentSession: sessionId,
        linked: (await identities.list(user.id)).length,
        now: world.now().getTime(),
        signInOrigins: parts.settings.signInOrigins,
      });
    },
  });
}

function passwordForm(parts: AccountRoutesParts): Route {
  const { limits, passwords, sessions } = parts;
  const password = z.string().max(1024);
  return form(parts, {
    path: "/password",
    operationId: "accountPasswordForm",
    summary: "Changes the password with the present one, or sets a first one",
    rate: "guess",
    form: z.object({ current_password: password.optional(), new_password: password }),
    run: async ({ request, body, about }) => {
      const next = new Hidden(body.new_password);
      const current = await whoever(parts, request);
      if (!current.user.hasPassword) {
        await passwords.choose((await sessions.fresh(request)).user, next, about("user.password_set"));
        return done("password");
      }
      limits.take("guess", `password ${current.user.id}`);
      const present = new Hidden(body.current_password ?? "");
      const started = await passwords.change(current, { present, next }, about("user.password_changed"));
      return done("password", [sessions.cookie(started)]);
    },
  });
}

function endSessionForm(parts: AccountRoutesParts): Route {
  const { database, sessions } = parts;
  return form(parts, {
    path: "/sessions/{id}/end",
    operationId: "endSessionForm",
    summary: "Signs one browser out",
    rate: "api",
    params: id,
    form: z.object({}),
    run: async ({ request, params, about }) => {
      const { user } = await whoever(parts, request);
      await database.transaction(async (tx) => {
        await sessions.endOne(tx, user.id, params.id);
        await about("session.ended", { sessions: 1 })(tx, user);
      });
      return done("session");
    },
  });
}

function endOthersForm(parts: AccountRoutesParts): Route {
  const { database, sessions } = parts;
  return form(parts, {
    path: "/sessions/end-others",
    operationId: "endOtherSessionsForm",
    summary: "Signs every other browser out",
    rate: "api",
    form: z.object({}),
    run: async ({ request, about }) => {
      const { user, sessionId } = await whoever(parts, request);
      await database.transaction(async (tx) => {
        const ended = await sessions.endAll(tx, user.id, sessionId);
        if (ended > 0) await about("session.ended", { sessions: ended })(tx, user);
      });
      return done("sessions");
    },
  });
}
