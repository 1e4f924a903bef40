import type { ZodType, z } from "zod";
import type { Log } from "../base/index.ts";
import type { DirectHandler } from "./direct.ts";

/**
 * Who may call. `public`: anybody. `admin`: an administrator. `management`: administrators, members and virtual keys, each
 * seeing what is theirs. `signed_in`: a person with a dashboard session. `browser`: the route reads its own cookie (flow,
 * grant); nothing else counts. `mcp`: the MCP endpoint decides by bearer.
 */
export type Access = "public" | "admin" | "management" | "signed_in" | "browser" | "mcp";

/**
 * `none`: nothing changes, or only a bearer counts. `page`: the POST of a page of ours (contract section 3).
 * `flow`: the same, asked by the route itself once it has looked the flow up, because the contract's table answers an
 * unknown or expired flow first. `session`: when the caller came by dashboard cookie, the request must be same-origin; bearers are not affected.
 */
export type Csrf = "none" | "page" | "flow" | "session";

/** Which budget a request draws on, per address (http/rate-limits.ts). */
export type RateClass = "none" | "guess" | "register" | "authorize" | "token" | "api";

/** In which words a refusal is answered: the envelope, OAuth JSON, SCIM's, a page, or a page only for those who prefer HTML. */
export type ErrorStyle = "envelope" | "oauth" | "scim" | "page" | "form";

/**
 * Statuses a route may refuse with. Most follow from its declaration (http/openapi.ts says which); `refuses` names those
 * that its own work adds.
 */
export type RefusalStatus =
  | 400
  | 401
  | 403
  | 404
  | 406
  | 409
  | 410
  | 412
  | 413
  | 415
  | 422
  | 429
  | 502
  | 503
  | 504;

/** A successful answer, as the OpenAPI document tells it. */
export interface Answer {
  description: string;
  /** What the JSON looks like. */
  schema?: ZodType;
  /** Media types without a schema; unless told, a 200 of a route whose refusals are pages is a page. */
  media?: readonly string[];
  /** Headers that are always there, with what they say; `Location` of a redirect and `Cache-Control` go without saying. */
  headers?: Readonly<Record<string, string>>;
}

export interface RouteContext<C, P = unknown, Q = unknown, B = unknown> {
  request: Request;
  url: URL;
  params: P;
  query: Q;
  /** The validated JSON or form body. */
  body: B;
  /** Who calls, as far as `access` asked for it. */
  caller: C;
  /** The address that counts for rate limits. */
  remote: string;
  requestId: string;
  log: Log;
}

export interface RouteDefinition<
  C,
  P extends ZodType = ZodType,
  Q extends ZodType = ZodType,
  B extends ZodType = ZodType,
> {
  method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS";
  /** OpenAPI notation: `/api/mcp/sessions/{id}`. */
  path: string;
  operationId: string;
  summary: string;
  tag: string;
  access: Access;
  csrf: Csrf;
  rate: RateClass;
  errors: ErrorStyle;
  /** A GET that has an effect: HEAD and prefetch are answered without it. */
  effect?: boolean;
  /** `*` without credentials, as the contract says for discovery, registration, token and revocation. */
  cors?: boolean;
  params?: P;
  query?: Q;
  /** Query parameters that may come more than once, for the route to judge; they arrive as an array. */
  repeatable?: readonly string[];
  /** Query parameters that the route judges or gives back whatever is in them, also a NUL; they reach no database as text. */
  verbatim?: readonly string[];
  /** JSON body; a route that answers refusals as SCIM takes `application/scim+json` as well (RFC 7644 §3.1). */
  json?: B;
  /** `application/x-www-form-urlencoded` body. */
  form?: B;
  /** Successful answers by status, for the OpenAPI document. */
  answers: Readonly<Record<number, Answer>>;
  /** What the route refuses with beyond what its declaration implies: `[]` where it adds nothing. */
  refuses: readonly RefusalStatus[];
  handle(context: RouteContext<C, z.output<P>, z.output<Q>, z.output<B>>): Promise<Response> | Response;
  /** The same for the hot path, where it differs (http/direct.ts). Only for access `mcp`. */
  direct?: DirectHandler;
}

/** A route as the table holds it, its types checked where it was defined. */
export type Route = RouteDefinition<never>;

/** Defines a route; identity/ fixes the caller's type. */
export function defineRoute<C>() {
  return <P extends ZodType, Q extends ZodType, B extends ZodType>(
    route: RouteDefinition<C, P, Q, B>,
  ): Route => route as unknown as Route;
}
