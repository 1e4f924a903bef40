import { z } from "zod";
import { json, noContent, type Route, redirect } from "../http/index.ts";
import { actorOf, type Identity, type Principal, route } from "../identity/index.ts";
import { identitiesPage } from "./account-page.ts";
import { type SsoParts, vouching } from "./parts.ts";
import { depart, providerOf, providerParams } from "./routes.ts";

const PAGE = "/account/identities";
const tag = "Account";

/** What a person has linked; seen by nobody else. */
export function accountRoutes(parts: SsoParts): Route[] {
  return [
    pageRoute(parts),
    linkRoute(parts),
    unlinkFormRoute(parts),
    ...apiRoutes(parts),
    ...administratorRoutes(parts),
  ];
}

function pageRoute(parts: SsoParts): Route {
  return route({
    method: "GET",
    path: PAGE,
    operationId: "linkedAccountsPage",
    summary: "The accounts a person signs in with",
    tag,
    access: "browser",
    csrf: "none",
    rate: "api",
    errors: "page",
    refuses: [],
    answers: { 200: { description: "A page" }, 303: { description: "To the sign-in page" } },
    handle: async ({ request }) => {
      const signedIn = await parts.sessions.of(request);
      if (!signedIn) return redirect(`/login?${new URLSearchParams({ return_to: PAGE })}`);
      const identities = await parts.identities.list(signedIn.user.id);
      return identitiesPage({
        person: signedIn.user,
        identities,
        providers: parts.sso.providers,
        isFresh: parts.sessions.isFresh(signedIn),
      });
    },
  });
}

function linkRoute(parts: SsoParts): Route {
  return route({
    method: "POST",
    path: `${PAGE}/link/{id}`,
    operationId: "linkAccount",
    summary: "Leaves for a provider, to link the account that is proved there",
    tag,
    access: "browser",
    csrf: "page",
    rate: "authorize",
    errors: "page",
    params: providerParams,
    refuses: [401, 403, 404, 503],
    answers: { 303: { description: "To the provider" } },
    handle: async ({ request, params }) => {
      const { user, sessionId } = await parts.sessions.fresh(request);
      const provider = providerOf(parts, params.id);
      const errand = { purpose: "link" as const, returnTo: PAGE, userId: user.id, sessionId };
      const departure = await depart(parts, provider, errand);
      return redirect(departure.url, 303, [departure.cookie]);
    },
  });
}

function unlinkFormRoute(parts: SsoParts): Route {
  return route({
    method: "POST",
    path: `${PAGE}/unlink`,
    operationId: "unlinkAccountForm",
    summary: "The button that unlinks an account",
    tag,
    access: "browser",
    csrf: "page",
    rate: "api",
    errors: "page",
    form: z.object({ identity_id: z.string().min(1).max(200) }),
    refuses: [401, 403, 404, 409],
    answers: { 303: { description: "Back to the page" } },
    handle: async ({ request, body, requestId }) => {
      await unlink(parts, request, body.identity_id, requestId);
      return redirect(PAGE);
    },
  });
}

function apiRoutes(parts: SsoParts): Route[] {
  const common = { tag, access: "signed_in", csrf: "session", rate: "api", errors: "envelope" } as const;
  return [
    route({
      ...common,
      method: "GET",
      path: "/api/account/identities",
      operationId: "listLinkedAccounts",
      summary: "The accounts the caller signs in with elsewhere",
      refuses: [],
      answers: {
        200: { description: "Oldest first", schema: z.object({ identities: z.array(identityRow) }) },
      },
      handle: async ({ caller }) => {
        const { userId } = caller as Extract<Principal, { kind: "user" }>;
        return json({ identities: (await parts.identities.list(userId)).map((one) => rowOf(parts, one)) });
      },
    }),
    route({
      ...common,
      method: "DELETE",
      path: "/api/account/identities/{id}",
      operationId: "unlinkAccount",
      summary: "Unlinks one, after a fresh sign-in; never the last way in",
      params: z.object({ id: z.string().min(1).max(200) }),
      refuses: [404, 409],
      answers: { 204: { description: "It signs nobody in any more" } },
      handle: async ({ request, params, requestId }) => {
        await unlink(parts, request, params.id, requestId);
        return noContent();
      },
    }),
  ];
}

/** An administrator sees how a person signs in, and can end a way of it: also the last, because they can let the person in again. */
function administratorRoutes(parts: SsoParts): Route[] {
  const common = { tag: "Users", access: "admin", csrf: "session", rate: "api", errors: "envelope" } as const;
  const user = z.object({ id: z.string().min(1).max(200) });
  return [
    route({
      ...common,
      method: "GET",
      path: "/api/users/{id}/identities",
      operationId: "listIdentitiesOfUser",
      summary: "The accounts elsewhere that a person signs in with",
      params: user,
      refuses: [404],
      answers: {
        200: { description: "Oldest first", schema: z.object({ identities: z.array(identityRow) }) },
      },
      handle: async ({ params: { id } }) => {
        await parts.users.get(id);
        return json({ identities: (await parts.identities.list(id)).map((one) => rowOf(parts, one)) });
      },
    }),
    route({
      ...common,
      method: "DELETE",
      path: "/api/users/{id}/identities/{identity_id}",
      operationId: "unlinkIdentityOfUser",
      summary: "Unlinks one; its browser sessions end",
      params: user.extend({ identity_id: z.string().min(1).max(200) }),
      // 409: the groups that it brought made the last administrator.
      refuses: [404, 409],
      answers: { 204: { description: "It signs nobody in any more" } },
      handle: async ({ params, caller, requestId }) => {
        const actor = actorOf(caller as Principal);
        const how = { ...waysOf(parts), sparesLast: false, requestId, actor };
        const identity = { userId: params.id, id: params.identity_id };
        await parts.database.transaction((tx) => parts.identities.unlink(tx, identity, how));
        return noContent();
      },
    }),
  ];
}

async function unlink(parts: SsoParts, request: Request, id: string, requestId: string): Promise<void> {
  const { user, sessionId } = await parts.sessions.fresh(request);
  const how = { ...waysOf(parts), keep: sessionId, requestId };
  await parts.database.transaction((tx) => parts.identities.unlink(tx, { userId: user.id, id }, how));
}

function waysOf({ sso }: SsoParts) {
  return { usable: sso.providers.map(vouching), local: sso.localSignIn };
}

const identityRow = z.object({
  id: z.string(),
  provider: z.string(),
  provider_name: z.string().optional(),
  issuer: z.string(),
  subject: z.string(),
  display: z.string(),
  created_at: z.string(),
  last_used_at: z.string(),
});

function rowOf({ sso }: SsoParts, identity: Identity): z.output<typeof identityRow> {
  const { id, provider, issuer, subject, display, createdAt, lastUsedAt } = identity;
  return {
    id,
    provider,
    provider_name: sso.providers.find((one) => vouching(one) === provider)?.name,
    issuer,
    subject,
    display,
    created_at: new Date(createdAt).toISOString(),
    last_used_at: new Date(lastUsedAt).toISOString(),
  };
}
