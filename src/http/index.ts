/**
 * HTTP as every route meets it: the route table and its mounting, refusals in four styles, the page frame, cookies,
 * forms, CSRF and Host checks, rate limits, paging. It knows no route of its own but `/api/openapi.json` and the
 * stylesheet; who may call is told by identity/ through `MountOptions.authenticate`.
 */
export { html, raw } from "hono/html";
export { ago } from "./ago.ts";
export { MAX_BODY_BYTES, readBody, readForm, readJson, unrepeated } from "./body.ts";
export { type CookieKind, clearCookie, cookie, cookieName, readCookie } from "./cookies.ts";
export {
  answerWeb,
  type DirectContext,
  type DirectHandler,
  type HeaderReader,
  type Inbound,
  type PlainAnswer,
} from "./direct.ts";
export { envelope } from "./envelope.ts";
export { type Application, type MountOptions, mount } from "./mount.ts";
export { ownOrigins, requireSameOrigin } from "./origin.ts";
export { type Html, type PageContent, page, problemPage } from "./page.ts";
export { commaList, likeLiteral, pageAnswer, pageQuery } from "./paging.ts";
export { defaultRateLimits, type RateLimit, RateLimits } from "./rate-limits.ts";
export { prefersHtml } from "./refuse.ts";
export { json, noContent, redirect } from "./reply.ts";
export type {
  Access,
  Answer,
  Csrf,
  ErrorStyle,
  RateClass,
  RefusalStatus,
  Route,
  RouteContext,
  RouteDefinition,
} from "./route.ts";
export { defineRoute } from "./route.ts";
export { securityHeaders } from "./security-headers.ts";
export { stylesheet, stylesheetPath } from "./stylesheet.ts";
