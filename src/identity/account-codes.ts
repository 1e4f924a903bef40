import { z } from "zod";
import { type Route, redirect } from "../http/index.ts";
import { ACCOUNT, type AccountRoutesParts, accountRoute, done, form } from "./account-form.ts";
import { codeSetupPage } from "./account-page.ts";
import { route } from "./route.ts";

/** What the authenticator app shows the codes for. */
const ISSUER = "Postern";

/** A person's one-time codes, on their account page: set up, confirmed by a first one, turned off. */
export function accountCodeRoutes(parts: AccountRoutesParts): Route[] {
  return [beginCodesForm(parts), codeSetupRoute(parts), confirmCodesForm(parts), codesOffForm(parts)];
}

function beginCodesForm(parts: AccountRoutesParts): Route {
  const { local, sessions } = parts;
  return form(parts, {
    path: "/codes",
    operationId: "beginCodes",
    summary: "Begins to set one-time codes up",
    rate: "api",
    form: z.object({}),
    run: async ({ request }) => {
      const { user } = await sessions.fresh(request);
      await local.totp.begin(user.id);
      return redirect(`${ACCOUNT}/codes`);
    },
  });
}

function codeSetupRoute(parts: AccountRoutesParts): Route {
  const { local, sessions } = parts;
  return route({
    ...accountRoute,
    method: "GET",
    path: `${ACCOUNT}/codes`,
    operationId: "codeSetupPage",
    summary: "The QR code of one-time codes that are being set up",
    csrf: "none",
    rate: "api",
    query: z.object({ error: z.string().optional() }),
    refuses: [400],
    answers: {
      200: { description: "A page" },
      303: { description: "To the account page, when there is nothing to set up" },
    },
    handle: async ({ request, query }) => {
      const signedIn = await sessions.of(request);
      if (!signedIn || !sessions.isFresh(signedIn)) return redirect(ACCOUNT);
      const setup = await local.totp.pending(signedIn.user, ISSUER);
      if (!setup) return redirect(ACCOUNT);
      const { renderSVG } = await import("uqr");
      return codeSetupPage(setup, renderSVG(setup.url, { pixelSize: 5, border: 3 }), query.error);
    },
  });
}

function confirmCodesForm(parts: AccountRoutesParts): Route {
  const { database, local, sessions } = parts;
  return form(parts, {
    path: "/codes/confirm",
    operationId: "confirmCodes",
    summary: "The first code: from here on one is asked for after the password",
    rate: "guess",
    form: z.object({ code: z.string().max(32) }),
    run: async ({ request, body, about }) => {
      const { user } = await sessions.fresh(request);
      const confirmed = await database.transaction(async (tx) => {
        const right = await local.totp.confirm(tx, user.id, body.code);
        if (right) await about("totp.on")(tx, user);
        return right;
      });
      return confirmed ? done("codes_on") : redirect(`${ACCOUNT}/codes?error=wrong_code`);
    },
  });
}

function codesOffForm(parts: AccountRoutesParts): Route {
  const { database, local, sessions } = parts;
  return form(parts, {
    path: "/codes/off",
    operationId: "codesOff",
    summary: "Turns one-time codes off",
    rate: "api",
    form: z.object({}),
    run: async ({ request, about }) => {
      const { user } = await sessions.fresh(request);
      await database.transaction(async (tx) => {
        if (await local.totp.remove(tx, user.id)) await about("totp.off")(tx, user);
      });
      return done("codes_off");
    },
  });
}
