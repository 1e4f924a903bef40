import { z } from "zod";
import { Hidden, Problem } from "../base/index.ts";
import type { Database } from "../db/index.ts";
import { json, noContent, type Route } from "../http/index.ts";
import type { Groups } from "./groups.ts";
import type { PasswordChanges, PasswordLink } from "./password-changes.ts";
import { aboutUser, type Recorder } from "./recorder.ts";
import { route } from "./route.ts";
import {
  changedAnswer,
  createdAnswer,
  linkAnswer,
  listAnswer,
  recoveryBody,
  type UserConfigs,
  userAnswer,
  userBody,
  userPatchBody,
  userQuery,
  viewUser,
} from "./user-body.ts";
import type { User } from "./user-rows.ts";
import type { Users } from "./users.ts";

export interface UserRoutesParts {
  database: Database;
  users: Users;
  groups: Groups;
  passwords: PasswordChanges;
  configs: UserConfigs;
  record: Recorder;
}

const path = "/api/users";
const id = z.object({ id: z.string().max(128) });
const common = { tag: "Users", access: "admin", rate: "api", errors: "envelope" } as const;
const read = { ...common, csrf: "none", refuses: [] } as const;
const write = { ...common, csrf: "session" } as const;

/** The people of the gateway (contract section 7); administrators only. */
export function userRoutes(parts: UserRoutesParts): Route[] {
  return [
    ...readRoutes(parts),
    createRoute(parts),
    updateRoute(parts),
    deleteRoute(parts),
    recoveryRoute(parts),
  ];
}

function readRoutes(parts: UserRoutesParts): Route[] {
  const { users } = parts;
  return [
    route({
      ...read,
      method: "GET",
      path,
      operationId: "listUsers",
      summary: "The people, newest first",
      query: userQuery,
      answers: { 200: { description: "A page of them", schema: listAnswer } },
      handle: async ({ query: { limit, offset, search, role, is_active, kind } }) => {
        const isActive = is_active === undefined ? undefined : is_active === "true";
        const { users: page, total } = await users.list({ limit, offset, search, role, isActive, kind });
        const rows = await viewAll(parts, page);
        return json({ users: rows, count: rows.length, total_count: total, limit, offset });
      },
    }),
    route({
      ...read,
      method: "GET",
      path: `${path}/{id}`,
      operationId: "getUser",
      summary: "One person",
      params: id,
      answers: { 200: { description: "The person", schema: userAnswer } },
      handle: async ({ params }) => json({ user: await view(parts, await users.get(params.id)) }),
    }),
  ];
}

function createRoute(parts: UserRoutesParts): Route {
  const { database, users, configs, passwords, record } = parts;
  return route({
    ...write,
    method: "POST",
    path,
    operationId: "createUser",
    summary:
      "Makes an account; without a password the answer has a one-time link for the person to choose one",
    json: userBody,
    answers: { 200: { description: "Created", schema: createdAnswer } },
    refuses: [409],
    handle: async ({ body, caller, requestId }) => {
      const { email, name, role } = body;
      const resolved = configs.resolve(body.mcp_configs ?? []);
      const password = body.password === undefined ? undefined : new Hidden(body.password);
      const prepared = await users.prepare({ email, name, role, password });
      const { user, setup } = await database.transaction(async (tx) => {
        const made = await users.insert(tx, prepared);
        await configs.replace(tx, made.id, resolved);
        await aboutUser(record, "user.created", { caller, requestId }, { role })(tx, made);
        return { user: made, setup: password ? undefined : await passwords.link(tx, made) };
      });
      const message = setup
        ? "Account made. Give the person the link; it works once, for a day."
        : "Account made.";
      return json({ message, user: await view(parts, user), setup: setup && viewLink(setup) });
    },
  });
}

function updateRoute(parts: UserRoutesParts): Route {
  const { users, configs, record } = parts;
  return route({
    ...write,
    method: "PUT",
    path: `${path}/{id}`,
    operationId: "updateUser",
    summary: "Changes the fields that are sent",
    params: id,
    json: userPatchBody,
    answers: { 200: { description: "Changed", schema: changedAnswer } },
    refuses: [409],
    handle: async ({ params, body, caller, requestId }) => {
      const resolved = body.mcp_configs && configs.resolve(body.mcp_configs);
      const { name, role, is_active: isActive } = body;
      const line = aboutUser(
        record,
        "user.updated",
        { caller, requestId },
        { fields: Object.keys(body), role, is_active: isActive },
      );
      const user = await users.update(params.id, { name, role, isActive }, async (tx, after) => {
        refuseMachine(after);
        if (resolved) await configs.replace(tx, after.id, resolved);
        await line(tx, after);
      });
      return json({ message: "Account changed.", user: await view(parts, user) });
    },
  });
}

function deleteRoute({ users, record }: UserRoutesParts): Route {
  return route({
    ...write,
    method: "DELETE",
    path: `${path}/{id}`,
    operationId: "deleteUser",
    summary: "Removes a person with their credentials, grants, virtual keys and tokens",
    params: id,
    answers: { 204: { description: "Removed" } },
    refuses: [409],
    handle: async ({ params, caller, requestId }) => {
      await users.delete(params.id, aboutUser(record, "user.deleted", { caller, requestId }));
      return noContent();
    },
  });
}

function recoveryRoute({ database, users, passwords, record }: UserRoutesParts): Route {
  return route({
    ...write,
    method: "POST",
    path: `${path}/{id}/recovery-link`,
    operationId: "createRecoveryLink",
    summary: "A one-time link by which the person chooses a new password; earlier links end",
    params: id,
    json: recoveryBody,
    answers: { 200: { description: "The link, shown only here", schema: linkAnswer } },
    refuses: [409],
    handle: async ({ params, body = {}, caller, requestId }) => {
      const { reset_second_factor: resetSecondFactor, remove_passkeys: removePasskeys } = body;
      const link = await database.transaction(async (tx) => {
        const user = await users.locked(tx, params.id);
        refuseMachine(user);
        await aboutUser(record, "user.recovery_link_made", { caller, requestId }, body)(tx, user);
        return passwords.link(tx, user, { resetSecondFactor, removePasskeys });
      });
      const message = "Give the person the link; it works once, for a day.";
      return json({ message, ...viewLink(link) });
    },
  });
}

/** A role or a way to sign in is a person's. */
function refuseMachine({ kind }: User): void {
  if (kind === "person") return;
  throw new Problem(
    "forbidden",
    "service_account",
    "This is a machine's account: it has no role and never signs in. Change it at /api/service-accounts.",
  );
}

async function view(parts: UserRoutesParts, user: User) {
  return (await viewAll(parts, [user]))[0]!;
}

async function viewAll({ configs, groups, database: { db } }: UserRoutesParts, page: readonly User[]) {
  const ids = page.map((user) => user.id);
  const byUser = await configs.read(db, ids);
  const memberships = await groups.ofUsers(ids);
  return page.map((user) => viewUser(user, byUser.get(user.id) ?? [], memberships.get(user.id) ?? []));
}

function viewLink({ url, expiresAt }: PasswordLink) {
  return { url, expires_at: new Date(expiresAt).toISOString() };
}
