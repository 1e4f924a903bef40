import type { ZodType } from "zod";
import type { Route } from "../../src/http/index.ts";

export interface Sent {
  method: string;
  target: string;
  headers: Record<string, string>;
  body?: string;
}

const nothing = { "no such field": "1" };

/** A request that gets as far as who asks, and changes nothing: no id that there is, no body that is one. `json`: in its place. */
export function harmless(route: Route, json?: unknown, id = "nope"): Sent {
  const target = route.path.replaceAll(/\{\w+\}/g, id);
  const { method } = route;
  if (route.json)
    return {
      method,
      target,
      headers: { "content-type": "application/json" },
      body: JSON.stringify(json ?? nothing),
    };
  if (route.form) {
    const headers = { "content-type": "application/x-www-form-urlencoded", "sec-fetch-site": "same-origin" };
    return {
      method,
      target,
      headers,
      body: new URLSearchParams((json ?? nothing) as typeof nothing).toString(),
    };
  }
  return { method, target, headers: {} };
}

/** Whether even that does something, because the route needs nothing that could be wrong: sent last, by callers of its own. */
export function isDeed(route: Route): boolean {
  if (
    route.access === "mcp" ||
    route.method === "GET" ||
    route.method === "OPTIONS" ||
    route.path.includes("{")
  )
    return false;
  const schema: ZodType | undefined = route.json ?? route.form;
  return schema === undefined || schema.safeParse(nothing).success;
}
