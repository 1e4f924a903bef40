import type { HttpBindings } from "@hono/node-server";
import { OpenAPIHono } from "@hono/zod-openapi";
import type { Context } from "hono";
import type { ZodType } from "zod";
import { newId, Problem, type Settings, type World } from "../base/index.ts";
import { readForm, readJson, unrepeated } from "./body.ts";
import { describeRoutes } from "./openapi.ts";
import { hostCheck, requireSameOrigin } from "./origin.ts";
import type { RateLimits } from "./rate-limits.ts";
import { refuse } from "./refuse.ts";
import { remoteAddress } from "./remote.ts";
import { noContent } from "./reply.ts";
import type { Route, RouteContext } from "./route.ts";
import { corsHeaders, secure } from "./security-headers.ts";

type Env = { Bindings: HttpBindings };

export interface MountOptions {
  world: World;
  settings: Settings;
  limits: RateLimits;
  /** Proves who calls, for the routes whose access says `admin`, `management` or `signed_in`; throws 401 or 403. */
  authenticate(request: Request, route: Pick<Route, "access" | "csrf">): Promise<unknown>;
}

/**
 * Makes the application out of the route table. Everything that holds for all routes happens here, in this order: Host,
 * rate, CSRF, who calls, validation; then the handler; then the translation of refusals and the security headers.
 */
export function mount(routes: readonly Route[], options: MountOptions): OpenAPIHono<Env> {
  const app = new OpenAPIHono<Env>({ strict: true });
  const isOurHost = hostCheck(options.settings);
  app.use(async (c, next) => {
    if (isOurHost(c.req.header("host") ?? new URL(c.req.url).host)) return next();
    const problem = new Problem(
      "misdirected",
      "unknown_host",
      "This host name is not one of this gateway's. Use its configured address.",
    );
    return finish(
      c.req.raw,
      await refuse(problem, "envelope", c.req.raw, newId(options.world, "req"), options.world.log),
      options,
    );
  });
  const byPath = Map.groupBy(routes, (route) => route.path);
  for (const [path, group] of byPath) {
    app.all(path.replaceAll(/\{(\w+)\}/g, ":$1"), (c) =>
      answer(c, pick(group, c.req.method), group, options),
    );
  }
  app.notFound((c) => answer(c, undefined, [], options));
  describeRoutes(app, routes);
  return app;
}

function pick(group: readonly Route[], method: string): Route | undefined {
  return group.find((route) => route.method === (method === "HEAD" ? "GET" : method));
}

async function answer(
  c: Context<Env>,
  route: Route | undefined,
  group: readonly Route[],
  options: MountOptions,
): Promise<Response> {
  const requestId = newId(options.world, "req");
  const request = c.req.raw;
  const log = options.world.log.child({ request_id: requestId });
  try {
    if (!route) return finish(request, unrouted(request, group), options, group[0]);
    if (route.effect && isHarmless(request)) return finish(request, noContent(), options, route);
    return finish(request, await run(c, route, requestId, options), options, route);
  } catch (error) {
    return finish(
      request,
      await refuse(error, (route ?? group[0])?.errors ?? "envelope", request, requestId, log),
      options,
      route ?? group[0],
    );
  }
}

/** HEAD, prefetch and link scanners must not use up a `state` or start a flow. */
function isHarmless(request: Request): boolean {
  const purpose = request.headers.get("sec-purpose") ?? request.headers.get("purpose") ?? "";
  return request.method === "HEAD" || purpose.includes("prefetch");
}

function unrouted(request: Request, group: readonly Route[]): Response {
  if (group.length === 0)
    throw new Problem("not_found", "not_found", "There is nothing at this address. Check the path.");
  const allow = [...new Set(group.map((route) => route.method))].join(", ");
  if (request.method === "OPTIONS") return noContent({ allow });
  throw new Problem("method_not_allowed", "method_not_allowed", `Use ${allow} here.`, { headers: { allow } });
}

async function run(
  c: Context<Env>,
  route: Route,
  requestId: string,
  options: MountOptions,
): Promise<Response> {
  const request = c.req.raw;
  const { settings, world } = options;
  const remote = remoteAddress(
    c.env?.incoming?.socket.remoteAddress,
    request.headers.get("x-forwarded-for"),
    settings.trustedProxies,
  );
  options.limits.take(route.rate, remote);
  if (route.csrf === "page") requireSameOrigin(request, settings);
  const caller = needsCaller(route) ? await options.authenticate(request, route) : undefined;
  const url = new URL(request.url);
  const context: RouteContext<unknown> = {
    request,
    url,
    params: parse(route.params, c.req.param()),
    query: route.query ? parse(route.query, unrepeated(url.searchParams)) : undefined,
    body: await readRouteBody(route, request),
    caller,
    remote,
    requestId,
    log: world.log.child({ request_id: requestId }),
  };
  return route.handle(context as never);
}

function needsCaller(route: Route): boolean {
  return route.access === "admin" || route.access === "management" || route.access === "signed_in";
}

async function readRouteBody(route: Route, request: Request): Promise<unknown> {
  if (route.json) return parse(route.json, await readJson(request));
  if (route.form) return parse(route.form, await readForm(request));
  return undefined;
}

/** The first fault, named by its field. */
function parse(schema: ZodType | undefined, value: unknown): unknown {
  if (!schema) return value;
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  const unknown = issue.code === "unrecognized_keys" ? issue.keys[0] : undefined;
  const param = [...issue.path, ...(unknown === undefined ? [] : [unknown])].map(String).join(".");
  const message =
    unknown === undefined
      ? `${param || "The body"}: ${issue.message}.`
      : `${unknown} is not a known field here. Leave it out or check its spelling.`;
  throw new Problem("invalid", "invalid_request", message, param === "" ? {} : { param });
}

function finish(request: Request, response: Response, options: MountOptions, route?: Route): Response {
  secure(response.headers, options.settings);
  if (route?.cors) corsHeaders(response.headers);
  return request.method === "HEAD" ? new Response(null, response) : response;
}
