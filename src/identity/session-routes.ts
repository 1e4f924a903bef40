import { z } from "zod";
import type { Database, Flows } from "../db/index.ts";
import { json, noContent, type Route } from "../http/index.ts";
import type { Principal } from "./principal.ts";
import { aboutUser, type Recorder } from "./recorder.ts";
import { route } from "./route.ts";
import type { OpenSession, Sessions } from "./sessions.ts";
import type { Users } from "./users.ts";

export interface SessionRoutesParts {
  database: Database;
  flows: Flows;
  sessions: Sessions;
  users: Users;
  record: Recorder;
}

const id = z.object({ id: z.string().max(128) });
const sessionView = z.object({
  id: z.string(),
  method: z.enum(["password", "password+totp", "passkey", "link", "sso"]),
  agent: z.string().optional(),
  created_at: z.iso.datetime(),
  last_seen_at: z.iso.datetime(),
  expires_at: z.iso.datetime(),
  current: z.boolean(),
});

const own = {
  tag: "Sign-in",
  access: "signed_in",
  rate: "api",
  errors: "envelope",
} as const;

/** The browsers a person is signed in with: seen and ended by themselves, ended by an administrator. */
export function sessionRoutes(parts: SessionRoutesParts): Route[] {
  return [listRoute(parts), endRoute(parts), endOthersRoute(parts), endAllRoute(parts)];
}

function listRoute({ sessions }: SessionRoutesParts): Route {
  return route({
    ...own,
    method: "GET",
    path: "/api/session/sessions",
    operationId: "listOwnSessions",
    summary: "The browsers the caller is signed in with, the last used first",
    csrf: "none",
    refuses: [],
    answers: {
      200: { description: "All of them", schema: z.object({ sessions: z.array(sessionView) }) },
    },
    handle: async ({ caller }) => {
      const { userId, sessionId } = caller as SignedInCaller;
      const open = await sessions.list(userId);
      return json({ sessions: open.map((one) => view(one, sessionId)) });
    },
  });
}

function endRoute(parts: SessionRoutesParts): Route {
  const { database, sessions } = parts;
  return route({
    ...own,
    method: "DELETE",
    path: "/api/session/sessions/{id}",
    operationId: "endOwnSession",
    summary: "Signs one browser out",
    csrf: "session",
    params: id,
    refuses: [],
    answers: { 204: { description: "It is signed out, on every replica" } },
    handle: async ({ params, caller, requestId }) => {
      await database.transaction(async (tx) => {
        await sessions.endOne(tx, (caller as SignedInCaller).userId, params.id);
        await recordEnded(parts, caller as SignedInCaller, requestId)(tx, caller as SignedInCaller, 1);
      });
      return noContent();
    },
  });
}

function endOthersRoute(parts: SessionRoutesParts): Route {
  const { database, sessions } = parts;
  return route({
    ...own,
    method: "DELETE",
    path: "/api/session/sessions",
    operationId: "endOtherSessions",
    summary: "Signs every other browser out",
    csrf: "session",
    refuses: [],
    answers: { 200: { description: "How many", schema: z.object({ ended: z.int() }) } },
    handle: async ({ caller, requestId }) => {
      const by = caller as SignedInCaller;
      const ended = await database.transaction(async (tx) => {
        const count = await sessions.endAll(tx, by.userId, by.sessionId);
        if (count > 0) await recordEnded(parts, by, requestId)(tx, by, count);
        return count;
      });
      return json({ ended });
    },
  });
}

function endAllRoute(parts: SessionRoutesParts): Route {
  const { database, flows, sessions, users } = parts;
  return route({
    method: "DELETE",
    path: "/api/users/{id}/sessions",
    operationId: "endSessionsOfUser",
    summary: "Signs every browser of a person out",
    tag: "Users",
    access: "admin",
    csrf: "session",
    rate: "api",
    errors: "envelope",
    params: id,
    refuses: [],
    answers: { 200: { description: "How many", schema: z.object({ ended: z.int() }) } },
    handle: async ({ params, caller, requestId }) => {
      const user = await users.get(params.id);
      const ended = await database.transaction(async (tx) => {
        const count = await sessions.endAll(tx, user.id);
        // Nor does one begin that has got as far as the code.
        await flows.end(tx, { kind: "second_factor", owner: { mode: "user", id: user.id } }, "revoked");
        const about = { userId: user.id, email: user.email };
        await recordEnded(parts, caller, requestId)(tx, about, count);
        return count;
      });
      return json({ ended });
    },
  });
}

type SignedInCaller = Principal & { kind: "user" };

function recordEnded({ record }: Pick<SessionRoutesParts, "record">, caller: Principal, requestId: string) {
  return (
    tx: Parameters<ReturnType<typeof aboutUser>>[0],
    { userId, email }: { userId: string; email: string },
    sessions: number,
  ) => aboutUser(record, "session.ended", { caller, requestId }, { sessions })(tx, { id: userId, email });
}

function view(session: OpenSession, currentId: string): z.output<typeof sessionView> {
  const time = (at: number) => new Date(at).toISOString();
  return {
    id: session.id,
    method: session.method,
    agent: session.agent,
    created_at: time(session.startedAt),
    last_seen_at: time(session.lastSeenAt),
    expires_at: time(session.expiresAt),
    current: session.id === currentId,
  };
}
