import { z } from "zod";
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
      refuses: [400],
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
      refuses: [],
      answers: {
        200: {
          description: "CSS",
          media: ["text/css"],
          headers: { "Cache-Control": "A year: the address changes with it." },
        },
      },
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

const statusAnswer = (status: string) => z.object({ status: z.literal(status) });

function probes(parts: FrontParts): Route[] {
  return [
    route({
      ...open,
      method: "GET",
      path: "/health",
      operationId: "health",
      summary: "The process is alive",
      errors: "envelope",
      refuses: [],
      answers: { 200: { description: "Alive", schema: statusAnswer("ok") } },
      handle: () => json({ status: "ok" }),
    }),
    route({
      ...open,
      method: "GET",
      path: "/ready",
      operationId: "ready",
      summary: "The process can serve: its database answers",
      errors: "envelope",
      refuses: [],
      answers: {
        200: { description: "Ready", schema: statusAnswer("ready") },
        503: { description: "Not yet", schema: statusAnswer("database_unavailable") },
      },
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
      refuses: [],
      answers: { 200: { description: "Metrics", media: ["text/plain"] } },
      handle: async () =>
        new Response(await parts.metrics.text(), {
          headers: { "content-type": "text/plain; version=0.0.4; charset=utf-8" },
        }),
    }),
  ];
}
