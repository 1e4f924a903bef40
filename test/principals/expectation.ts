import type { Route } from "../../src/http/index.ts";
import type { Caller } from "./callers.ts";
import { exceptions } from "./exceptions.ts";

/** How a request ends, as far as who asks has to do with it. `yes`: not with the others. */
export type Verdict = "yes" | 401 | 403 | 400;

export type RouteLine = Pick<
  Route,
  "method" | "path" | "operationId" | "summary" | "tag" | "access" | "csrf"
>;

/** What must come of a caller at a route; undefined: the same as of nobody, because credentials do not count there. */
export function expected(route: RouteLine, caller: Caller): Verdict | undefined {
  const exception = exceptionFor(route, caller);
  if (exception) return exception.answer;
  switch (route.access) {
    case "public":
    case "browser":
      return undefined;
    case "mcp":
      return route.method === "OPTIONS" ? undefined : atMcp(caller);
    default:
      return atManagement(route, caller);
  }
}

export function exceptionFor({ operationId }: Pick<RouteLine, "operationId">, caller: Caller) {
  return exceptions[operationId]?.find(({ who }) => who(caller));
}

/** Contract section 1: cookies never count on /mcp, nor do tokens of the management API. */
function atMcp({ proof, isForMcp, name }: Caller): Verdict {
  if (proof === "two") return 400;
  return isForMcp && name !== "nobody" ? "yes" : 401;
}

function atManagement(route: RouteLine, { proof, isAdmin, scopes }: Caller): Verdict {
  if (proof === "two") return 400;
  if (proof === "nothing" || proof === "client_token") return 401;
  if (route.access === "admin" && !isAdmin) return 403;
  if (route.access === "signed_in" && proof !== "session") return 403;
  return scopes && !reaches(scopes, route) ? 403 : "yes";
}

/** A scope is a verb, or a verb and the tag of routes in small letters with hyphens. */
export function scopesFor({ method, tag }: Pick<RouteLine, "method" | "tag">): string[] {
  const area = tag.toLowerCase().replaceAll(" ", "-");
  const verbs = method === "GET" ? ["read", "write"] : ["write"];
  return verbs.flatMap((verb) => [verb, `${verb}:${area}`]);
}

function reaches(scopes: readonly string[], route: RouteLine): boolean {
  return scopesFor(route).some((scope) => scopes.includes(scope));
}
