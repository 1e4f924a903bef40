import { z } from "zod";
import { type Route, redirect } from "../http/index.ts";
import { route } from "../identity/index.ts";
import { chooseIdentity, countGuess, forgetIdentity } from "./choose-identity.ts";
import type { Clients } from "./clients.ts";
import type { ConsentError } from "./consent-errors.ts";
import { type Choice, flowId, openConsent } from "./consent-flow.ts";
import { identityPage } from "./consent-pages.ts";
import { signInPath } from "./consent-parts.ts";
import { deny } from "./deny.ts";
import type { Grants } from "./grants.ts";
import { mayConnect } from "./may-connect.ts";
import { nextStep } from "./next-step.ts";
import type { IssuerParts } from "./parts.ts";
import { consentPath, paths } from "./paths.ts";
import { mayUseResource, servicesOf } from "./services.ts";
import { servicesPage } from "./services-page.ts";
import { submit } from "./submit.ts";

const pageQuery = z.object({
  flow_id: flowId,
  error: z.string().max(200).optional(),
  /** The upstream that the person comes back from. */
  service: z.string().max(200).optional(),
});
const MAX_KEY = 1000;

/** The consent pages and their forms (contract section 3). */
export function consentRoutes(parts: IssuerParts, clients: Clients, grants: Grants): Route[] {
  return [
    ...pageRoutes(parts),
    keyForm(parts),
    userForm(parts),
    notYouForm(parts),
    skipForm(parts),
    ...finalForms(parts, clients, grants),
  ];
}

function pageRoutes(parts: IssuerParts): Route[] {
  const common = {
    method: "GET",
    tag: "consent",
    access: "browser",
    csrf: "none",
    rate: "api",
    errors: "page",
    query: pageQuery,
    answers: { 200: { description: "A page" } },
  } as const;
  return [
    route({
      ...common,
      path: paths.consent,
      operationId: "consentPage",
      refuses: [403, 409, 410],
      summary: "Who the person is, and whether the client may act for them",
      handle: async ({ request, query }) => {
        const flow = await openConsent(parts, request, query.flow_id);
        const session = await parts.sessionOf(request);
        return identityPage({
          flow,
          session,
          error: query.error,
          settings: parts.settings,
          world: parts.world,
        });
      },
    }),
    route({
      ...common,
      path: paths.services,
      operationId: "consentServicesPage",
      summary: "The services that can be connected now",
      refuses: [403, 409, 410],
      answers: {
        200: { description: "A page" },
        303: { description: "To the identity page, as long as the client is not approved" },
      },
      handle: async ({ request, query }) => {
        const flow = await openConsent(parts, request, query.flow_id);
        const session = await parts.sessionOf(request);
        const step = nextStep(flow.data, session, parts.settings);
        if (step.page === "identity") return redirect(consentPath("consent", flow.id, step.error));
        const services = await servicesOf(parts, flow, step.choice);
        const canConnect = await mayConnect(parts.database.db, step.choice, session);
        const { choice } = step;
        return servicesPage({
          flow,
          choice,
          services,
          mayConnect: canConnect,
          error: query.error,
          service: query.service,
          world: parts.world,
        });
      },
    }),
  ];
}

/** What all forms share; `page`: a POST from another site never gets here. */
const form = { method: "POST", tag: "consent", access: "browser", csrf: "flow", errors: "form" } as const;

const chosen = (id: string) => redirect(consentPath("services", id));
const failed = (id: string, error: ConsentError) => redirect(consentPath("consent", id, error));
/** Records the choice and goes on, unless nothing could come of it: an address that the identity may not use. */
async function choose(parts: IssuerParts, request: Request, id: string, choice: Choice): Promise<Response> {
  const flow = await openConsent(parts, request, id);
  if (!(await mayUseResource(parts, flow, choice))) return failed(id, "address_not_allowed");
  await chooseIdentity(parts, request, id, choice);
  return chosen(id);
}

const choiceAnswers = { 303: { description: "To the services page, or back with an error" } };

function keyForm(parts: IssuerParts): Route {
  return route({
    ...form,
    path: paths.chooseKey,
    operationId: "consentWithKey",
    summary: "Approve the client as the identity of a virtual key",
    rate: "guess",
    form: z.object({ flow_id: flowId, vk: z.string().max(MAX_KEY).default("") }),
    refuses: [409, 410, 429, 503],
    answers: choiceAnswers,
    handle: async ({ request, body }) => {
      await countGuess(parts, request, body.flow_id);
      // One answer for unknown, inactive and expired keys (CB-25).
      const proved = await parts.virtualKeys.authenticate(body.vk.trim());
      if (!proved.ok) return failed(body.flow_id, "invalid_key");
      const { id, name, userId } = proved.key;
      const display = `virtual key ${name}${await ownerWords(parts, userId)}`;
      return choose(parts, request, body.flow_id, { by: "key", virtualKeyId: id, userId, display });
    },
  });
}

function userForm(parts: IssuerParts): Route {
  return route({
    ...form,
    path: paths.chooseUser,
    operationId: "consentAsUser",
    summary: "Approve the client as the signed-in person",
    rate: "api",
    form: z.object({ flow_id: flowId, user_id: z.string().max(200).default("") }),
    refuses: [409, 410, 503],
    answers: choiceAnswers,
    handle: async ({ request, body }) => {
      await openConsent(parts, request, body.flow_id);
      const session = await parts.sessionOf(request);
      if (!session) return failed(body.flow_id, "sign_in_first");
      const { userId, name, email } = session;
      // Contract section 3: no self-declared identities (ID-07).
      if (userId !== body.user_id) return failed(body.flow_id, "other_account");
      const display = name === email ? email : `${name} (${email})`;
      return choose(parts, request, body.flow_id, { by: "login", userId, display });
    },
  });
}

/** Whose key it is, in words: an app that gets it acts as them. */
async function ownerWords({ database }: IssuerParts, userId: string | undefined): Promise<string> {
  if (userId === undefined) return "";
  const owner = await database.db
    .selectFrom("users")
    .select(["name", "kind"])
    .where("id", "=", userId)
    .executeTakeFirst();
  if (!owner) return "";
  return owner.kind === "service" ? ` of the service account ${owner.name}` : ` of ${owner.name}`;
}

/** "Not you?": this browser's sign-in ends and the consent goes on with whoever signs in next. */
function notYouForm(parts: IssuerParts): Route {
  return route({
    ...form,
    path: paths.notYou,
    operationId: "consentNotYou",
    summary: "Sign out of this browser and choose again who one is",
    rate: "api",
    form: z.object({ flow_id: flowId }),
    refuses: [409, 410, 503],
    answers: { 303: { description: "To the sign-in page, which leads back to this consent" } },
    handle: async ({ request, body }) => {
      await openConsent(parts, request, body.flow_id);
      await forgetIdentity(parts, request, body.flow_id);
      return redirect(signInPath(body.flow_id, "again"), 303, [await parts.signOut(request)]);
    },
  });
}

function skipForm(parts: IssuerParts): Route {
  return route({
    ...form,
    path: paths.skip,
    operationId: "consentWithoutIdentity",
    summary: "Approve the client without an identity, where the gateway allows it",
    rate: "api",
    form: z.object({ flow_id: flowId }),
    refuses: [409, 410, 503],
    answers: choiceAnswers,
    handle: async ({ request, body }) => {
      await openConsent(parts, request, body.flow_id);
      if (parts.settings.enforceAuthOnInference) return failed(body.flow_id, "skip_not_allowed");
      return choose(parts, request, body.flow_id, { by: "skip" });
    },
  });
}

function finalForms(parts: IssuerParts, clients: Clients, grants: Grants): Route[] {
  const body = { form: z.object({ flow_id: flowId }), rate: "api" } as const;
  const answers = {
    200: { description: "A page, where no redirect reaches the client" },
    302: { description: "To the client's redirect URI" },
  };
  return [
    route({
      ...form,
      ...body,
      path: paths.submit,
      operationId: "consentSubmit",
      summary: "Finish the consent: the client gets its code",
      refuses: [409, 410],
      answers: { ...answers, 303: { description: "Back to the identity page" } },
      handle: ({ request, body: { flow_id }, requestId }) =>
        submit(parts, clients, grants, { request, flowId: flow_id, requestId }),
    }),
    route({
      ...form,
      ...body,
      path: paths.deny,
      operationId: "consentDeny",
      summary: "Refuse the client",
      refuses: [409, 410],
      answers,
      handle: ({ request, body: { flow_id }, requestId }) =>
        deny(parts, { request, flowId: flow_id, requestId }),
    }),
  ];
}
