import type { Settings } from "../base/index.ts";
import { json, type Route, stylesheet, stylesheetPath } from "../http/index.ts";
import { route } from "../identity/index.ts";
import { type HomeView, homePage } from "./home.ts";
import type { Metrics } from "./metrics.ts";

export interface FrontParts {
  settings: Settings;
  metrics: Metrics;
  /** Whether the database answers. */
  ready(): Promise<boolean>;
  hasAdmin(): Promise<boolean>;
  personOf(request: Request): Promise<HomeView["person"]>;
  upstreams(): HomeView["upstreams"];
}

const open = { access: "public", csrf: "none", rate: "none", tag: "Process" } as const;

export function frontRoutes(parts: FrontParts): Route[] {
  return [
    route({
      ...open,
      method: "GET",
      path: "/",
      operationId: "home",
      summary: "What runs, and what to do next",
      errors: "page",
      answers: { 200: { description: "A page" } },
      handle: async ({ request }) => {
        const person = await parts.personOf(request);
        return homePage({
          settings: parts.settings,
          hasAdmin: await parts.hasAdmin(),
          person,
          upstreams: person?.isAdmin ? parts.upstreams() : [],
        });
      },
    }),
    route({
      ...open,
      method: "GET",
      path: stylesheetPath,
      operationId: "stylesheet",
      summary: "The pages' stylesheet",
      errors: "envelope",
      answers: { 200: { description: "CSS" } },
      handle: () =>
        new Response(stylesheet, {
          headers: {
            "content-type": "text/css; charset=utf-8",
            "cache-control": "public, max-age=31536000, immutable",
          },
        }),
    }),
    ...probes(parts),
  ];
}

function probes(parts: FrontParts): Route[] {
  return [
    route({
      ...open,
      method: "GET",
      path: "/health",
      operationId: "health",
      summary: "The process is alive",
      errors: "envelope",
      answers: { 200: { description: "Alive" } },
      handle: () => json({ status: "ok" }),
    }),
    route({
      ...open,
      method: "GET",
      path: "/ready",
      operationId: "ready",
      summary: "The process can serve: its database answers",
      errors: "envelope",
      answers: { 200: { description: "Ready" }, 503: { description: "Not yet" } },
      handle: async () =>
        (await parts.ready()) ? json({ status: "ready" }) : json({ status: "database_unavailable" }, 503),
    }),
    route({
      ...open,
      method: "GET",
      path: "/metrics",
      operationId: "metrics",
      summary: "Metrics in the Prometheus text format",
      errors: "envelope",
      answers: { 200: { description: "Metrics" } },
      handle: async () =>
        new Response(await parts.metrics.text(), {
          headers: { "content-type": "text/plain; version=0.0.4; charset=utf-8" },
        }),
    }),
  ];
}
