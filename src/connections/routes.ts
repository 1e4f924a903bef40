import { z } from "zod";
import { Problem } from "../base/index.ts";
import { type Route, redirect } from "../http/index.ts";
import { type Principal, route } from "../identity/index.ts";
import { findSession, type SessionRow } from "../vault/index.ts";
import { appRoutes } from "./app-routes.ts";
import { disconnectPage } from "./confirm-pages.ts";
import { connectionsPage, PAGE } from "./page.ts";
import {
  back,
  type ConnectionsParts,
  done,
  forPerson,
  id,
  orBack,
  pressed,
  shown,
  toSignIn,
  userIdOf,
} from "./parts.ts";
import { groups, servicesOf } from "./services.ts";

/** A person's own page, and what its buttons do. */
export function connectionRoutes(parts: ConnectionsParts): Route[] {
  return [pageRoute(parts), ...connectingRoutes(parts), ...disconnectingRoutes(parts), ...appRoutes(parts)];
}

function pageRoute(parts: ConnectionsParts): Route {
  return route({
    ...shown,
    path: PAGE,
    operationId: "connectionsPage",
    summary: "A person's own page: their services, accounts, apps and keys",
    query: z.object({
      q: z.string().max(100).default(""),
      show: z.enum(groups).optional(),
      done: z.string().max(100).optional(),
      error: z.string().max(100).optional(),
      service: id.optional(),
    }),
    refuses: [],
    answers: { 200: { description: "A page" }, ...toSignIn },
    handle: ({ request, url, query }) =>
      forPerson(parts, request, url, async (person) => {
        const now = parts.world.now().getTime();
        const { signInOrigins } = parts.settings;
        const [services, apps, keys] = await Promise.all([
          servicesOf(parts, person.id, now),
          parts.issuer.grantsOfPerson(person.id),
          parts.keys.ofUser(person.id),
        ]);
        const about = services.find((service) => service.id === query.service)?.name ?? "The service";
        return connectionsPage({ ...query, person, services, apps, keys, about, now, signInOrigins });
      }),
  });
}

function connectingRoutes(parts: ConnectionsParts): Route[] {
  const { connect } = parts;
  return [
    route({
      ...pressed,
      path: `${PAGE}/connect`,
      operationId: "connectOwnAccount",
      summary: "Connects an account, or another one by a label",
      form: z.object({ service: id, account: z.string().max(100).optional() }),
      refuses: [],
      answers: back,
      handle: ({ body: { service, account }, caller, requestId }) =>
        orBack(service, async () => {
          const to = { upstreamId: service, account, requestId, returnTo: done("connected", service) };
          return redirect((await connect.connectOwn(caller, to)).url);
        }),
    }),
    route({
      ...pressed,
      path: `${PAGE}/again`,
      operationId: "renewOwnAccount",
      summary: "Signs in again, or edits values",
      form: z.object({ id }),
      refuses: [404],
      answers: back,
      handle: async ({ body, caller, requestId }) => {
        const row = await ownRow(parts, body.id, caller);
        return orBack(row.upstream_id, async () => {
          const returnTo = done("connected", row.upstream_id);
          return redirect((await connect.reauth({ id: row.id, caller, requestId, returnTo })).url);
        });
      },
    }),
  ];
}

function disconnectingRoutes(parts: ConnectionsParts): Route[] {
  const path = `${PAGE}/disconnect`;
  return [
    route({
      ...shown,
      path,
      operationId: "disconnectPage",
      summary: "Asks before an account is disconnected",
      query: z.object({ id }),
      refuses: [404],
      answers: { 200: { description: "A page" }, ...toSignIn },
      handle: ({ request, url, query }) =>
        forPerson(parts, request, url, async (person) => {
          const row = await rowOf(parts, query.id, person.id);
          return disconnectPage({
            id: row.id,
            name: row.upstream_name,
            account: row.account_name ?? row.account,
          });
        }),
    }),
    route({
      ...pressed,
      path,
      operationId: "disconnectOwnAccount",
      summary: "Disconnects an account",
      form: z.object({ id }),
      refuses: [404],
      answers: back,
      handle: async ({ body, caller, requestId }) => {
        const row = await ownRow(parts, body.id, caller);
        return orBack(row.upstream_id, async () => {
          await parts.connect.disconnect(row.id, caller, requestId);
          return redirect(done("disconnected", row.upstream_id));
        });
      },
    }),
  ];
}

/** A connection of the person's own; anybody else's is 404 here, for administrators as well. */
async function rowOf(parts: ConnectionsParts, rowId: string, userId: string): Promise<SessionRow> {
  const now = parts.world.now().getTime();
  const row = await findSession(parts.database.db, { mode: "user", id: userId }, rowId, now);
  if (row) return row;
  throw new Problem(
    "not_found",
    "session_not_found",
    "There is no such connection of yours any more. Go back to your connections.",
  );
}

function ownRow(parts: ConnectionsParts, rowId: string, caller: Principal): Promise<SessionRow> {
  return rowOf(parts, rowId, userIdOf(caller));
}
