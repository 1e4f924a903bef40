import { z } from "zod";
import type { Database } from "../db/index.ts";
import { json, noContent, type Route } from "../http/index.ts";
import {
  changedServiceAccount,
  serviceAccountAnswer,
  serviceAccountBody,
  serviceAccountPage,
  serviceAccountPatchBody,
  serviceAccountQuery,
  viewServiceAccount,
} from "./machine-account-body.ts";
import { personOf, type ServiceAccounts, unknownServiceAccount } from "./machine-accounts.ts";
import { isAdmin } from "./principal.ts";
import { aboutUser, type Recorder } from "./recorder.ts";
import { route } from "./route.ts";
import type { UserConfigs } from "./user-body.ts";
import type { User } from "./user-rows.ts";

export interface ServiceAccountRoutesParts {
  database: Database;
  serviceAccounts: ServiceAccounts;
  configs: UserConfigs;
  record: Recorder;
}

const path = "/api/service-accounts";
const id = z.object({ id: z.string().max(128) });
const common = { tag: "Service accounts", rate: "api", errors: "envelope" } as const;
const read = { ...common, access: "management", csrf: "none" } as const;
const write = { ...common, access: "admin", csrf: "session" } as const;

/** The identities of machines. Administrators make and change them; who looks after one may read it. */
export function serviceAccountRoutes(parts: ServiceAccountRoutesParts): Route[] {
  return [...readRoutes(parts), createRoute(parts), updateRoute(parts), deleteRoute(parts)];
}

function readRoutes(parts: ServiceAccountRoutesParts): Route[] {
  const { serviceAccounts } = parts;
  return [
    route({
      ...read,
      method: "GET",
      path,
      operationId: "listServiceAccounts",
      summary: "The service accounts, newest first; for who is no administrator, those they look after",
      query: serviceAccountQuery,
      refuses: [],
      answers: { 200: { description: "A page of them", schema: serviceAccountPage } },
      handle: async ({ query: { limit, offset, search }, caller }) => {
        const managerId = isAdmin(caller) ? undefined : (personOf(caller) ?? "");
        const { accounts, total } = await serviceAccounts.list({ limit, offset, search, managerId });
        const service_accounts = await viewAll(parts, accounts);
        return json({
          service_accounts,
          count: service_accounts.length,
          total_count: total,
          limit,
          offset,
        });
      },
    }),
    route({
      ...read,
      method: "GET",
      path: `${path}/{id}`,
      operationId: "getServiceAccount",
      summary: "One service account",
      params: id,
      refuses: [],
      answers: { 200: { description: "It", schema: serviceAccountAnswer } },
      handle: async ({ params, caller }) => {
        const account = await serviceAccounts.get(params.id);
        if (!isAdmin(caller) && (personOf(caller) ?? "") !== account.managerId) throw unknownServiceAccount();
        return json({ service_account: await view(parts, account) });
      },
    }),
  ];
}

function createRoute(parts: ServiceAccountRoutesParts): Route {
  const { database, serviceAccounts, configs, record } = parts;
  return route({
    ...write,
    method: "POST",
    path,
    operationId: "createServiceAccount",
    summary: "Makes a service account; virtual keys of it are made with its id as user_id",
    json: serviceAccountBody,
    refuses: [409],
    answers: { 200: { description: "Created", schema: changedServiceAccount } },
    handle: async ({ body: { name, manager_id, mcp_configs }, caller, requestId }) => {
      const resolved = configs.resolve(mcp_configs ?? []);
      const managerId = manager_id ?? undefined;
      const account = await database.transaction(async (tx) => {
        const made = await serviceAccounts.insert(tx, { name, managerId });
        await configs.replace(tx, made.id, resolved);
        await aboutUser(
          record,
          "service_account.created",
          { caller, requestId },
          { name, manager_id: managerId },
        )(tx, made);
        return made;
      });
      const message = "Service account made. Make a virtual key with its id as user_id.";
      return json({ message, service_account: await view(parts, account) });
    },
  });
}

function updateRoute(parts: ServiceAccountRoutesParts): Route {
  const { serviceAccounts, configs, record } = parts;
  return route({
    ...write,
    method: "PUT",
    path: `${path}/{id}`,
    operationId: "updateServiceAccount",
    summary: "Changes the fields that are sent",
    params: id,
    json: serviceAccountPatchBody,
    refuses: [409],
    answers: { 200: { description: "Changed", schema: changedServiceAccount } },
    handle: async ({ params, body, caller, requestId }) => {
      const { name, is_active: isActive, manager_id: managerId } = body;
      const resolved = body.mcp_configs && configs.resolve(body.mcp_configs);
      const line = aboutUser(
        record,
        "service_account.updated",
        { caller, requestId },
        { fields: Object.keys(body), is_active: isActive, manager_id: managerId },
      );
      const account = await serviceAccounts.update(
        params.id,
        { name, isActive, managerId },
        async (tx, after) => {
          if (resolved) await configs.replace(tx, after.id, resolved);
          await line(tx, after);
        },
      );
      return json({ message: "Service account changed.", service_account: await view(parts, account) });
    },
  });
}

function deleteRoute({ serviceAccounts, record }: ServiceAccountRoutesParts): Route {
  return route({
    ...write,
    method: "DELETE",
    path: `${path}/{id}`,
    operationId: "deleteServiceAccount",
    summary: "Removes a service account with its credentials, grants and virtual keys",
    params: id,
    refuses: [],
    answers: { 204: { description: "Removed" } },
    handle: async ({ params, caller, requestId }) => {
      const line = aboutUser(record, "service_account.deleted", { caller, requestId });
      await serviceAccounts.delete(params.id, line);
      return noContent();
    },
  });
}

async function view(parts: ServiceAccountRoutesParts, account: User) {
  return (await viewAll(parts, [account]))[0]!;
}

async function viewAll({ database: { db }, configs }: ServiceAccountRoutesParts, accounts: readonly User[]) {
  const ids = accounts.map((account) => account.id);
  const managerIds = [...new Set(accounts.flatMap(({ managerId }) => managerId ?? []))];
  const managers =
    managerIds.length === 0
      ? []
      : await db.selectFrom("users").select(["id", "name"]).where("id", "in", managerIds).execute();
  const byId = new Map(managers.map((manager) => [manager.id, manager]));
  const byAccount = ids.length === 0 ? new Map() : await configs.read(db, ids);
  return accounts.map((account) =>
    viewServiceAccount(account, byId.get(account.managerId ?? ""), byAccount.get(account.id) ?? []),
  );
}
