import type { Settings } from "../base/index.ts";

/** On every answer, errors of the framework included. */
export function securityHeaders(settings: Settings): Record<string, string> {
  return {
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "x-frame-options": "DENY",
    // Contract section 3: same-origin, so that our own forms still tell us where they came from.
    "referrer-policy": "same-origin",
    ...(settings.baseUrl.protocol === "https:" ? { "strict-transport-security": "max-age=31536000" } : {}),
  };
}

/** Adds them to an answer. A route's own value wins. */
export function secure(headers: Headers, settings: Settings): void {
  for (const [name, value] of Object.entries(securityHeaders(settings))) {
    if (!headers.has(name)) headers.set(name, value);
  }
}

/** Discovery, registration, token and revocation answer any origin, without credentials. */
export function corsHeaders(headers: Headers): void {
  headers.set("access-control-allow-origin", "*");
  headers.set("access-control-allow-methods", "GET, POST, OPTIONS");
  headers.set("access-control-allow-headers", "authorization, content-type, mcp-protocol-version");
  headers.set("access-control-expose-headers", "www-authenticate, retry-after");
  headers.set("access-control-max-age", "600");
}
