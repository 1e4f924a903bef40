import { z } from "zod";
import { Problem } from "../base/index.ts";
import type { Route } from "../http/index.ts";

/** The parts of the management API a token can be held to: the tags of its routes, as words. */
const areas = [
  "audit",
  "clients",
  "connect",
  "grants",
  "groups",
  "mcp-clients",
  "mcp-sessions",
  "scim",
  "service-accounts",
  "settings",
  "sign-in",
  "tokens",
  "users",
  "virtual-keys",
  "virtual-mcps",
] as const;

export type Area = (typeof areas)[number];
type Verb = "read" | "write";
export type Scope = Verb | `${Verb}:${Area}`;

const everyScope: readonly Scope[] = [
  "read",
  "write",
  ...areas.flatMap((area): Scope[] => [`read:${area}`, `write:${area}`]),
];

export const scopeSchema = z.enum(everyScope as [Scope, ...Scope[]]);

/** The area of a route's tag; undefined for one that only `read` or `write` as a whole reaches. */
export function areaOf(tag: string): Area | undefined {
  const word = tag.toLowerCase().replaceAll(" ", "-");
  return areas.find((area) => area === word);
}

/** Whether a token with `scopes` may call the route: GET reads, everything else writes, and who may write may read. */
export function allows(scopes: readonly string[], route: Pick<Route, "method" | "tag">): boolean {
  const verbs: Verb[] = route.method === "GET" ? ["read", "write"] : ["write"];
  const area = areaOf(route.tag);
  return verbs.some(
    (verb) => scopes.includes(verb) || (area !== undefined && scopes.includes(`${verb}:${area}`)),
  );
}

/** RFC 6750 §3.1. */
export function insufficientScope(route: Pick<Route, "method" | "tag">): Problem {
  const verb = route.method === "GET" ? "read" : "write";
  const area = areaOf(route.tag);
  const needed = area === undefined ? verb : `${verb}:${area}`;
  return new Problem(
    "forbidden",
    "insufficient_scope",
    `This token may not do that. Make one with the scope ${needed}.`,
    {
      headers: {
        "www-authenticate": `Bearer realm="postern", error="insufficient_scope", scope="${needed}"`,
      },
    },
  );
}
