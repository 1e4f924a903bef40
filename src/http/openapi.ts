import { type ZodType, z } from "zod";
import type { Settings } from "../base/index.ts";
import { mediaOf } from "./body.ts";
import { cookieName } from "./cookies.ts";
import { errorSchemas, headers, type Part, refusal, responsesOf, wrongMethod } from "./openapi-answers.ts";
import { json } from "./reply.ts";
import type { Access, Route } from "./route.ts";

const description = `The gateway's management, consent, OAuth and MCP endpoints.

Every answer has \`Cache-Control\`, \`X-Content-Type-Options: nosniff\`, \`Content-Security-Policy\`, \`X-Frame-Options\` and
\`Referrer-Policy\`. HEAD is answered like GET, without the body. OPTIONS names the methods of an address; any other method that
an address does not have is the response \`MethodNotAllowed\`, an address that is not here the response \`NotFound\`.
\`error.code\` is a stable word; docs/guide/errors.md explains each.`;

/** `/api/openapi.json`, made from the route table; it is in the table, and in the document, itself. */
export function openapiRoute(routes: readonly Route[], settings: Settings): Route {
  let text: string | undefined;
  const self: Route = {
    method: "GET",
    path: "/api/openapi.json",
    operationId: "openapi",
    summary: "This document (OpenAPI 3.1)",
    tag: "Process",
    access: "public",
    csrf: "none",
    rate: "api",
    errors: "envelope",
    refuses: [],
    answers: { 200: { description: "The document", schema: z.looseObject({ openapi: z.string() }) } },
    handle: () => {
      text ??= JSON.stringify(describe([...routes, self], settings));
      return new Response(text, { headers: json(null).headers });
    },
  };
  return self;
}

/** The OpenAPI 3.1 document of a route table. Throws when two routes share a method and path, or an operationId. */
export function describe(routes: readonly Route[], settings: Settings): Part {
  const schemas: Part = { ...errorSchemas };
  const anywhere = { errors: "envelope", access: "public" } as const;
  const responses: Part = { MethodNotAllowed: wrongMethod(), NotFound: refusal(404, anywhere) };
  const paths: Record<string, Part> = {};
  const seen = new Set<string>();
  for (const route of routes) {
    const item = paths[route.path] ?? {};
    paths[route.path] = item;
    const method = route.method.toLowerCase();
    if (method in item || seen.has(route.operationId)) {
      throw new Error(`${route.method} ${route.path} (${route.operationId}) is in the table twice`);
    }
    seen.add(route.operationId);
    item[method] = operationOf(route, schemas, responses);
  }
  return {
    openapi: "3.1.0",
    info: { title: "Postern", version: "1", description },
    jsonSchemaDialect: "https://json-schema.org/draft/2020-12/schema",
    servers: [{ url: settings.baseUrl.origin }],
    tags: [...new Set(routes.map(({ tag }) => tag))].map((name) => ({ name })),
    paths,
    components: {
      schemas,
      headers,
      responses,
      securitySchemes: securitySchemes(settings),
    },
  };
}

function operationOf(route: Route, schemas: Part, shared: Part): Part {
  const parameters = [...parametersOf(route, "path"), ...parametersOf(route, "query")];
  const body = bodyOf(route);
  return {
    operationId: route.operationId,
    summary: route.summary,
    tags: [route.tag],
    security: security[route.access],
    ...(parameters.length > 0 ? { parameters } : {}),
    ...(body ? { requestBody: body } : {}),
    responses: responsesOf(route, ({ schema }) => hoist(toSchema(schema!, "output"), schemas), shared),
  };
}

function parametersOf(route: Route, at: "path" | "query"): Part[] {
  const schema = at === "path" ? route.params : route.query;
  const { properties = {}, required = [] } = schema ? (toSchema(schema, "input") as Shape) : {};
  const declared = Object.entries(properties).map(([name, property]) => ({
    name,
    in: at,
    required: at === "path" || required.includes(name),
    schema: property,
  }));
  if (at === "query") return declared;
  // A route that leaves its parameters to itself has them nevertheless.
  const names = [...route.path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name!);
  return names.map(
    (name) =>
      declared.find((parameter) => parameter.name === name) ?? {
        name,
        in: at,
        required: true,
        schema: { type: "string" },
      },
  );
}

interface Shape {
  properties?: Part;
  required?: string[];
}

function bodyOf(route: Route): Part | undefined {
  const schema = route.json ?? route.form;
  if (!schema) return undefined;
  const types = route.json ? mediaOf(route) : ["application/x-www-form-urlencoded"];
  const required = !schema.safeParse(undefined).success;
  const described = { schema: toSchema(schema, "input") };
  return { required, content: Object.fromEntries(types.map((type) => [type, described])) };
}

function toSchema(schema: ZodType, io: "input" | "output"): Part {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: "any" }) as Part;
  return rest;
}

/** Schemas with a name of their own stand once, under `components`. */
function hoist({ $defs, ...schema }: Part, schemas: Part): Part {
  for (const [name, definition] of Object.entries(($defs ?? {}) as Part)) {
    schemas[name] = pointed(definition);
  }
  return pointed(schema) as Part;
}

function pointed(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value).replaceAll('"#/$defs/', '"#/components/schemas/'));
}

const keyHeaders = ["x-bf-vk", "x-api-key", "x-goog-api-key"];
const anyKey = keyHeaders.map((name) => ({ [name]: [] }));

/** Each entry of a list is enough by itself; exactly one credential may come. */
const security: Readonly<Record<Access, Part[]>> = {
  public: [],
  admin: [{ bearer: [] }, { dashboard: [] }],
  management: [{ bearer: [] }, ...anyKey, { dashboard: [] }],
  signed_in: [{ dashboard: [] }],
  browser: [],
  mcp: [{ bearer: [] }, ...anyKey, { "x-bf-mcp-session-id": [] }],
};

function securitySchemes(settings: Settings): Part {
  const header = (name: string, description: string) => [
    name,
    { type: "apiKey", in: "header", name, description },
  ];
  return {
    bearer: {
      type: "http",
      scheme: "bearer",
      description:
        "An administrator's or management token under /api, an access token of this gateway on /mcp, or a virtual key.",
    },
    dashboard: {
      type: "apiKey",
      in: "cookie",
      name: cookieName("session", settings),
      description:
        "A signed-in person; requests that change something must come from this gateway's own pages.",
    },
    ...Object.fromEntries(keyHeaders.map((name) => header(name, "A virtual key."))),
    ...Object.fromEntries([
      header(
        "x-bf-mcp-session-id",
        "An anonymous session, where the gateway allows it; 32 to 512 characters.",
      ),
    ]),
  };
}
