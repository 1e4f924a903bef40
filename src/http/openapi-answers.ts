import { problemStatus } from "../base/index.ts";
import type { Answer, Route } from "./route.ts";

/** A JSON object of the document. */
export type Part = Record<string, unknown>;

const ref = (kind: string, name: string): Part => ({ $ref: `#/components/${kind}/${name}` });

/** What every status means here, whatever the route. */
const meanings: Readonly<Record<number, string>> = {
  400: "Malformed or contradictory: `error.param` names what is at fault.",
  401: "No valid credential came with the request.",
  403: "Known, and not allowed; or the request came from another site.",
  404: "There is no such thing, or the caller may not see it.",
  405: "Not with this method; `Allow` names those that are.",
  406: "`Accept` names nothing that can be answered.",
  409: "Not in the state that things are in now.",
  410: "It was there and has ended.",
  412: "It was changed since the version that `If-Match` names.",
  413: "The body is too large.",
  415: "The body is not of the type, encoding or character set that is read here.",
  421: "The `Host` is not one of this gateway's.",
  422: "Understood, and refused by the upstream.",
  429: "Too many requests; `Retry-After` says for how many seconds.",
  500: "A fault of this gateway; nothing was changed.",
  502: "The upstream, or its authorization server, did not answer as it must.",
  503: "Not possible just now; the same request can be sent again.",
  504: "The upstream did not answer in time.",
};

/**
 * The statuses that a declaration implies, with those the route names itself: `Host`, faults and a database that is away
 * everywhere, then rate, CSRF,
 * credentials, cookies, parameters, query and body, in the order in which mount.ts looks at them.
 */
export function refusalsOf(route: Route): number[] {
  const { access, params, query, json, form } = route;
  const found: number[] = [421, 500, 503, ...route.refuses];
  if (route.rate !== "none") found.push(429);
  if (route.csrf !== "none") found.push(403);
  // Two credentials at once, or one cookie twice.
  if (access !== "public") found.push(400);
  // 403: not an administrator, not a person, or a token without the scope.
  if (access === "admin" || access === "management" || access === "signed_in") found.push(401, 403);
  // /mcp proves its callers itself, by origin, credential and number of wrong keys (contract section 8).
  if (access === "mcp") found.push(403, ...(route.method === "OPTIONS" ? [] : [401, 429]));
  if (params) found.push(400, 404);
  if (query) found.push(400);
  if (json || form) found.push(400, 413, 415);
  return [...new Set(found)].filter((status) => !(status in route.answers)).toSorted((a, b) => a - b);
}

/**
 * The `responses` of an operation; `schemaOf` turns a route's schema into the document's. Refusals are the same for many
 * operations and stand once, in `shared`.
 */
export function responsesOf(route: Route, schemaOf: (answer: Answer) => Part, shared: Part): Part {
  const responses: Part = {};
  for (const [status, answer] of Object.entries(route.answers)) {
    responses[status] = success(route, Number(status), answer, schemaOf);
  }
  // HEAD and prefetch of what has an effect are answered without it.
  if (route.effect)
    responses[204] ??= { description: "HEAD or prefetch: nothing was done.", headers: plain() };
  for (const status of refusalsOf(route)) {
    const name = nameOf(status, route);
    shared[name] ??= refusal(status, route);
    responses[status] = ref("responses", name);
  }
  return responses;
}

/** Differs where `refusal` differs. */
function nameOf(status: number, { errors, access, cors }: Route): string {
  const words = access === "mcp" ? "mcp" : errors;
  const isOpen = status === 401 && (access === "public" || access === "browser");
  return `${words}${status}${isOpen ? "Open" : ""}${cors ? "Cors" : ""}`;
}

function success(route: Route, status: number, answer: Answer, schemaOf: (answer: Answer) => Part): Part {
  if (status >= 400 && !answer.schema) return { ...refusal(status, route), description: answer.description };
  const isPage = status === 200 && (route.errors === "page" || route.errors === "form");
  const media = answer.media ?? (isPage ? ["text/html"] : []);
  const content = Object.fromEntries(media.map((type) => [type, { schema: { type: "string" } as Part }]));
  const json = route.errors === "scim" ? "application/scim+json" : "application/json";
  if (answer.schema) content[json] = { schema: schemaOf(answer) };
  const headers = { ...plain(), ...(route.cors ? cors() : {}) };
  if (status === 302 || status === 303) headers.Location = ref("headers", "Location");
  for (const [name, description] of Object.entries(answer.headers ?? {})) {
    headers[name] = { description, required: true, schema: { type: "string" } };
  }
  return {
    description: answer.description,
    headers,
    ...(Object.keys(content).length > 0 ? { content } : {}),
  };
}

/** What a method that an address does not have is answered with, in the words of that address. */
export function wrongMethod(): Part {
  const { content: page } = refusal(405, { errors: "page", access: "public" });
  const either = [ref("schemas", "Error"), ref("schemas", "OAuthError")];
  const said = refusal(405, { errors: "envelope", access: "public" });
  const scim = errorContent(405, { errors: "scim", access: "public" });
  return {
    ...said,
    content: { "application/json": { schema: { anyOf: either } }, ...scim, ...(page as Part) },
  };
}

/** One refusal, in the words that the route refuses in. */
export function refusal(status: number, route: Pick<Route, "errors" | "access" | "cors">): Part {
  const headers = { ...plain(), ...(route.cors ? cors() : {}) };
  if (status === 405) headers.Allow = ref("headers", "Allow");
  if (status === 429 || status === 503) headers["Retry-After"] = ref("headers", "RetryAfter");
  if (status === 401) {
    const always = route.access !== "public" && route.access !== "browser";
    headers["WWW-Authenticate"] = always
      ? ref("headers", "WWWAuthenticate")
      : { description: "Where the client sent an Authorization header.", schema: { type: "string" } };
  }
  return { description: meanings[status]!, headers, content: errorContent(status, route) };
}

function errorContent(status: number, { errors, access }: Pick<Route, "errors" | "access">): Part {
  const html = { "text/html": { schema: { type: "string" } } };
  const envelope = { "application/json": { schema: ref("schemas", "Error") } };
  // Contract section 10: JSON-RPC bodies where the revision defines one.
  if (access === "mcp" && [400, 404, 406, 503].includes(status)) {
    const either = [ref("schemas", "Error"), ref("schemas", "JsonRpcError")];
    return { "application/json": { schema: { anyOf: either } } };
  }
  switch (errors) {
    case "oauth":
      return { "application/json": { schema: ref("schemas", "OAuthError") } };
    case "scim":
      return { "application/scim+json": { schema: ref("schemas", "ScimError") } };
    case "page":
      return html;
    case "form":
      return { ...envelope, ...html };
    case "envelope":
      return envelope;
  }
}

function plain(): Record<string, Part> {
  return { "Cache-Control": ref("headers", "CacheControl") };
}

function cors(): Record<string, Part> {
  return { "Access-Control-Allow-Origin": ref("headers", "AnyOrigin") };
}

const text = { type: "string" };

export const headers: Part = {
  CacheControl: { description: "Never kept by anybody.", required: true, schema: { const: "no-store" } },
  Location: { description: "Where to go on.", required: true, schema: text },
  Allow: { description: "The methods of this address.", required: true, schema: text },
  RetryAfter: {
    description: "Seconds.",
    required: true,
    schema: { type: "string", pattern: "^[1-9][0-9]*$" },
  },
  WWWAuthenticate: {
    description: "How to prove who calls (RFC 9110 §11.6.1, RFC 6750 §3, RFC 9728 §5.1).",
    required: true,
    schema: { type: "string", pattern: "^(Bearer|Basic) " },
  },
  AnyOrigin: {
    description: "Any page may read this; no credentials.",
    required: true,
    schema: { const: "*" },
  },
};

const kinds = Object.keys(problemStatus);
const requestId = { type: "string", description: "The request, as the log has it." };

const code = {
  type: "string",
  pattern: "^[a-z][a-z0-9_]*$",
  description: "A stable word; docs/guide/errors.md has them all.",
};
const message = { type: "string", minLength: 1, description: "What to do next." };
const param = { type: "string", description: "The field at fault." };

/** The shapes of a refusal: ours (contract section 10), OAuth's (RFC 6749 §5.2), SCIM's (RFC 7644 §3.12) and JSON-RPC's (2.0 §5.1). */
export const errorSchemas: Part = {
  Error: object({
    event_id: requestId,
    type: { enum: kinds },
    is_bifrost_error: { type: "boolean", description: "Whether the fault is this gateway's own." },
    status_code: { type: "integer", minimum: 400, maximum: 599 },
    error: object({ type: { enum: kinds }, code, message, event_id: requestId }, { param }),
    extra_fields: {
      ...object({ provider: text, model_requested: text, request_type: text }),
      additionalProperties: true,
    },
  }),
  OAuthError: object({ error: { type: "string", pattern: "^[a-z_]+$" }, error_description: message }),
  ScimError: object(
    { schemas: { type: "array", items: text }, status: text, detail: message },
    { scimType: text },
  ),
  JsonRpcError: object({
    jsonrpc: { const: "2.0" },
    id: { type: ["string", "integer", "null"] },
    error: object({ code: { type: "integer" }, message }, { data: {} }),
  }),
};

function object(properties: Part, optional: Part = {}): Part {
  return {
    type: "object",
    properties: { ...properties, ...optional },
    required: Object.keys(properties),
    additionalProperties: false,
  };
}
