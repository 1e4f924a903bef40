import type { Route } from "../http/index.ts";
import { type PasswordRoutesParts, passwordRoutes } from "./password-routes.ts";
import { type TokenRoutesParts, tokenRoutes } from "./token-routes.ts";
import { type UserRoutesParts, userRoutes } from "./user-routes.ts";
import { whoAmI } from "./who-am-i.ts";

export type PeopleRoutesParts = UserRoutesParts & TokenRoutesParts & PasswordRoutesParts;

/** People and their tokens (contract section 7), and what a person does for themselves. */
export function peopleRoutes(parts: PeopleRoutesParts): Route[] {
  return [whoAmI(parts.users), ...passwordRoutes(parts), ...userRoutes(parts), ...tokenRoutes(parts)];
}
