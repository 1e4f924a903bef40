import type { IncomingMessage, ServerResponse } from "node:http";
import { type Context, Hono } from "hono";
import type { ZodType } from "zod";
import { type Log, newId, Problem, type Settings, type World } from "../base/index.ts";
import { mediaOf, readForm, readJson, unrepeated } from "./body.ts";
import { DirectRoutes } from "./direct-routes.ts";
import { IncomingRequest } from "./incoming.ts";
import { findNul } from "./nul.ts";
import { openapiRoute } from "./openapi.ts";
import { hostCheck, requireSameOrigin, unknownHost } from "./origin.ts";
import type { RateLimits } from "./rate-limits.ts";
import { refuse } from "./refuse.ts";
import { noContent } from "./reply.ts";
import type { Route } from "./route.ts";
import { corsHeaders, secure } from "./security-headers.ts";

/** The connection of a request, as far as it matters here. */
interface Connection {
  incoming?: { socket: { remoteAddress?: string } };
}

type Env = { Bindings: Connection };

export interface MountOptions {
  world: World;
  settings: Settings;
  limits: RateLimits;
  /** Proves who calls, for the routes whose access says `admin`, `management` or `signed_in`; throws 401 or 403. */
  authenticate(
    request: Request,
    route: Pick<Route, "access" | "csrf" | "method" | "tag">,
    log: Log,
  ): Promise<unknown>;
}

/** All routes, answering. */
export interface Application {
  fetch(request: Request, connection?: Connection): Response | Promise<Response>;
  /** Answers a request for a direct route; false when it is for another. */
  direct(incoming: IncomingMessage, outgoing: ServerResponse): boolean;
  /** The same from a URL, for tests without a port. */
  request(url: string | URL, init?: RequestInit): Promise<Response>;
}

/**
 * Makes the application out of the route table. Everything that holds for all routes happens here, in this order: Host,
 * rate, CSRF, who calls, validation; then the handler; then the translation of refusals and the security headers.
 */
export function mount(routes: readonly Route[], options: MountOptions): Application {
  const table = new Table(options);
  const all = [...routes, openapiRoute(routes, options.settings)];
  const groups = Map.groupBy(all, (route) => route.path);
  const router = new Hono<Env>({ strict: true });
  for (const [path, group] of groups) {
    const handle = (c: Context<Env>) => table.answer(incoming(c), group);
    router.all(path.replaceAll(/\{(\w+)\}/g, ":$1"), handle);
  }
  router.notFound((c) => table.answer(incoming(c), []));
  // A path without parameters needs no router; the hot path is one of them.
  const exact = new Map([...groups].filter(([path]) => !path.includes("{")));
  const answer = (request: Request, connection?: Connection) => {
    const group = exact.get(pathOf(request.url));
    if (!group) return router.fetch(request, connection);
    return table.answer({ request, params: {}, peer: connection?.incoming?.socket.remoteAddress }, group);
  };
  const direct = new DirectRoutes(routes, options);
  return {
    fetch: answer,
    direct: (incoming, outgoing) => direct.serve(incoming, outgoing),
    request: async (url, init) => answer(new Request(url, init)),
  };
}

interface Incoming {
  request: Request;
  params: Record<string, string>;
  peer: string | undefined;
}

function incoming(c: Context<Env>): Incoming {
  return { request: c.req.raw, params: c.req.param(), peer: c.env?.incoming?.socket.remoteAddress };
}

/** The path as it stands in the URL: what is encoded stays so and matches nothing (MC-37). */
function pathOf(url: string): string {
  const start = url.indexOf("/", url.indexOf("//") + 2);
  const query = url.indexOf("?", start);
  return query < 0 ? url.slice(start) : url.slice(start, query);
}

/** Answers for one group of routes: the methods of one path. */
class Table {
  readonly #options: MountOptions;
  readonly #isOurHost: (host: string) => boolean;

  constructor(options: MountOptions) {
    this.#options = options;
    this.#isOurHost = hostCheck(options.settings);
  }

  async answer(at: Incoming, group: readonly Route[]): Promise<Response> {
    const { world, settings } = this.#options;
    const { request } = at;
    const route = pick(group, request.method);
    const context = new IncomingRequest({ ...at, requestId: newId(world, "req"), world, settings });
    try {
      this.#checkHost(request);
      // `/mcp` sets the security headers itself, once for all its answers: no header is looked at twice on the hot path.
      if (route?.access === "mcp" && request.method !== "HEAD") return await this.#run(route, context);
      return this.#finish(request, await this.#dispatch(route, group, context), route ?? group[0]);
    } catch (error) {
      // At no address of ours at all a person gets a page, a program the envelope.
      const style = (route ?? group[0])?.errors ?? "form";
      const refused = await refuse(error, style, request, context.requestId, context.log);
      return this.#finish(request, refused, route ?? group[0]);
    }
  }

  #checkHost(request: Request): void {
    if (!this.#isOurHost(request.headers.get("host") ?? new URL(request.url).host)) throw unknownHost();
  }

  async #dispatch(
    route: Route | undefined,
    group: readonly Route[],
    context: IncomingRequest,
  ): Promise<Response> {
    const { request } = context;
    if (!route) return unrouted(request, group);
    if (route.effect && isHarmless(request)) return noContent();
    return this.#run(route, context);
  }

  async #run(route: Route, context: IncomingRequest): Promise<Response> {
    const { limits, settings, authenticate } = this.#options;
    const { request } = context;
    limits.take(route.rate, context.remote);
    if (route.csrf === "page") requireSameOrigin(request, settings);
    if (needsCaller(route)) context.caller = await authenticate(request, route, context.log);
    if (findNul(context.params)) throw nothingHere();
    if (route.params) context.params = parse(route.params, context.params) as Record<string, string>;
    if (route.query)
      context.query = parse(
        route.query,
        unrepeated(context.url.searchParams, route.repeatable),
        route.verbatim,
      );
    if (route.json) context.body = parse(route.json, await readJson(request, { media: mediaOf(route) }));
    else if (route.form) context.body = parse(route.form, await readForm(request));
    return route.handle(context as never);
  }

  #finish(request: Request, response: Response, route: Route | undefined): Response {
    secure(response.headers, this.#options.settings);
    if (route?.cors) corsHeaders(response.headers);
    return request.method === "HEAD" ? new Response(null, response) : response;
  }
}

function pick(group: readonly Route[], method: string): Route | undefined {
  return group.find((route) => route.method === (method === "HEAD" ? "GET" : method));
}

/** HEAD, prefetch and link scanners must not use up a `state` or start a flow. */
function isHarmless(request: Request): boolean {
  const purpose = request.headers.get("sec-purpose") ?? request.headers.get("purpose") ?? "";
  return request.method === "HEAD" || purpose.includes("prefetch");
}

function unrouted(request: Request, group: readonly Route[]): Response {
  if (group.length === 0) {
    throw nothingHere();
  }
  const allow = [...new Set(group.map((route) => route.method))].join(", ");
  if (request.method === "OPTIONS") return noContent({ allow });
  throw new Problem("method_not_allowed", "method_not_allowed", `Use ${allow} here.`, { headers: { allow } });
}

function nothingHere(): Problem {
  return new Problem("not_found", "not_found", "There is nothing at this address. Check the path.");
}

function needsCaller(route: Route): boolean {
  return route.access === "admin" || route.access === "management" || route.access === "signed_in";
}

/** The first fault, named by its field. */
function parse(schema: ZodType, value: unknown, verbatim: readonly string[] = []): unknown {
  const nul = findNul(value, verbatim);
  if (nul) {
    const param = nul.join(".");
    const message = `${param || "The body"} has a NUL character in it. Leave it out.`;
    throw new Problem("invalid", "invalid_request", message, param === "" ? {} : { param });
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  const unknown = issue.code === "unrecognized_keys" ? issue.keys[0] : undefined;
  const param = [...issue.path, ...(unknown === undefined ? [] : [unknown])].map(String).join(".");
  const message =
    unknown !== undefined
      ? `${unknown} is not a known field here. Leave it out or check its spelling.`
      : issue.message.endsWith("received undefined")
        ? `${param || "The body"} is missing. Send it.`
        : `${param || "The body"}: ${issue.message}.`;
  throw new Problem("invalid", "invalid_request", message, param === "" ? {} : { param });
}
