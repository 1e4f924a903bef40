import { z } from "zod";
import { Problem } from "../base/index.ts";
import { type Route, redirect } from "../http/index.ts";
import { actorOf, route } from "../identity/index.ts";
import { endAllPage, endPage } from "./confirm-pages.ts";
import { PAGE } from "./page.ts";
import {
  back,
  type ConnectionsParts,
  done,
  forPerson,
  id,
  pressed,
  shown,
  toSignIn,
  userIdOf,
} from "./parts.ts";

const onePath = `${PAGE}/end`;
const allPath = `${PAGE}/end-all`;

/** Which apps act for a person, and taking it back from one or all. */
export function appRoutes(parts: ConnectionsParts): Route[] {
  return [...endOneRoutes(parts), ...endAllRoutes(parts)];
}

function endOneRoutes(parts: ConnectionsParts): Route[] {
  return [
    route({
      ...shown,
      path: onePath,
      operationId: "endAppPage",
      summary: "Asks before an app's access is ended",
      query: z.object({ id }),
      refuses: [404],
      answers: { 200: { description: "A page" }, ...toSignIn },
      handle: ({ request, url, query }) =>
        forPerson(parts, request, url, async (person) => {
          const { clientName } = await ownApp(parts, query.id, person.id);
          return endPage({ id: query.id, name: clientName });
        }),
    }),
    route({
      ...pressed,
      path: onePath,
      operationId: "endApp",
      summary: "Ends an app's access",
      form: z.object({ id }),
      refuses: [404],
      answers: back,
      handle: async ({ body, caller, requestId }) => {
        await ownApp(parts, body.id, userIdOf(caller));
        await parts.issuer.revokeGrant({ id: body.id, caller, requestId });
        return redirect(done("ended"));
      },
    }),
  ];
}

function endAllRoutes(parts: ConnectionsParts): Route[] {
  return [
    route({
      ...shown,
      path: allPath,
      operationId: "endAllAppsPage",
      summary: "Asks before every app's access is ended",
      refuses: [],
      answers: { 200: { description: "A page" }, ...toSignIn },
      handle: ({ request, url }) =>
        forPerson(parts, request, url, async (person) =>
          endAllPage((await parts.issuer.grantsOfPerson(person.id)).length),
        ),
    }),
    route({
      ...pressed,
      path: allPath,
      operationId: "endAllApps",
      summary: "Ends every app's access",
      refuses: [],
      answers: back,
      handle: async ({ caller, requestId }) => {
        const owner = { mode: "user", id: userIdOf(caller) } as const;
        const by = { actor: actorOf(caller), requestId };
        await parts.database.transaction((tx) => parts.issuer.revokeGrantsOf(tx, { owner }, by));
        return redirect(done("ended_all"));
      },
    }),
  ];
}

/** The person's own; anybody else's is 404 here, for administrators as well. */
async function ownApp(parts: ConnectionsParts, grantId: string, userId: string) {
  const found = (await parts.issuer.grantsOfPerson(userId)).find((grant) => grant.id === grantId);
  if (found) return found;
  throw new Problem(
    "not_found",
    "grant_not_found",
    "This app cannot act for you any more already. Go back to your connections.",
  );
}
