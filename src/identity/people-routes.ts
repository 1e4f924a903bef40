import type { Route } from "../http/index.ts";
import type { AccountRoutesParts } from "./account-form.ts";
import { accountRoutes } from "./account-routes.ts";
import { type GroupRoutesParts, groupRoutes } from "./group-routes.ts";
import { type ServiceAccountRoutesParts, serviceAccountRoutes } from "./machine-account-routes.ts";
import { type PasswordRoutesParts, passwordRoutes } from "./password-routes.ts";
import { type SessionRoutesParts, sessionRoutes } from "./session-routes.ts";
import { type TokenRoutesParts, tokenRoutes } from "./token-routes.ts";
import { type UserRoutesParts, userRoutes } from "./user-routes.ts";
import { whoAmI } from "./who-am-i.ts";

export type PeopleRoutesParts = AccountRoutesParts &
  UserRoutesParts &
  TokenRoutesParts &
  PasswordRoutesParts &
  SessionRoutesParts &
  GroupRoutesParts &
  ServiceAccountRoutesParts;

/** People and their tokens (contract section 7), and what a person does for themselves. */
export function peopleRoutes(parts: PeopleRoutesParts): Route[] {
  return [
    whoAmI(parts.users),
    ...passwordRoutes(parts),
    ...accountRoutes(parts),
    ...sessionRoutes(parts),
    ...userRoutes(parts),
    ...groupRoutes(parts),
    ...serviceAccountRoutes(parts),
    ...tokenRoutes(parts),
  ];
}
