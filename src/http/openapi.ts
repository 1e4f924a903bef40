import type { OpenAPIHono } from "@hono/zod-openapi";
import { z } from "zod";
import { json } from "./reply.ts";
import type { Route } from "./route.ts";

const errorSchema = z.object({
  event_id: z.string(),
  type: z.string(),
  is_bifrost_error: z.boolean(),
  status_code: z.number().int(),
  error: z.object({
    type: z.string(),
    code: z.string(),
    message: z.string(),
    param: z.string().optional(),
    event_id: z.string(),
  }),
  extra_fields: z.object({ provider: z.string(), model_requested: z.string(), request_type: z.string() }),
});

/** Adds `/api/openapi.json`, made from the route table. */
// biome-ignore lint/suspicious/noExplicitAny: any binding will do; only the registry is used
export function describeRoutes(app: OpenAPIHono<any>, routes: readonly Route[]): void {
  for (const route of routes) {
    if (!route.path.startsWith("/api/") && !route.path.startsWith("/.well-known/")) continue;
    if (route.method === "OPTIONS") continue;
    app.openAPIRegistry.registerPath({
      method: route.method.toLowerCase() as "get" | "post" | "put" | "delete",
      path: route.path,
      operationId: route.operationId,
      summary: route.summary,
      tags: [route.tag],
      request: {
        ...(route.params ? { params: route.params as never } : {}),
        ...(route.query ? { query: route.query as never } : {}),
        ...(bodyOf(route) ? { body: { content: bodyOf(route)!, required: true } } : {}),
      },
      responses: answersOf(route),
    });
  }
  let document: Response | undefined;
  app.get("/api/openapi.json", () => {
    document ??= json(
      app.getOpenAPI31Document({
        openapi: "3.1.0",
        info: {
          title: "Postern",
          version: "1",
          description: "The gateway's management, consent and OAuth endpoints.",
        },
      }),
    );
    return document.clone();
  });
}

function bodyOf(route: Route) {
  if (route.json) return { "application/json": { schema: route.json as never } };
  if (route.form) return { "application/x-www-form-urlencoded": { schema: route.form as never } };
  return undefined;
}

function answersOf(route: Route) {
  const answers: Record<string, { description: string; content?: Record<string, { schema: never }> }> = {};
  for (const [status, { description, schema }] of Object.entries(route.answers)) {
    answers[status] = {
      description,
      ...(schema ? { content: { "application/json": { schema: schema as never } } } : {}),
    };
  }
  answers.default = {
    description: "Refused; `error.code` and `error.message` say why and what to do next.",
    content: { "application/json": { schema: errorSchema as never } },
  };
  return answers;
}
