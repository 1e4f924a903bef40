import type { Settings } from "../base/index.ts";

/** On every answer, errors of the framework included. A route's own value wins. */
export function secure(headers: Headers, settings: Settings): void {
  setUnless(headers, "x-content-type-options", "nosniff");
  setUnless(headers, "cache-control", "no-store");
  setUnless(headers, "content-security-policy", "default-src 'none'; frame-ancestors 'none'");
  setUnless(headers, "x-frame-options", "DENY");
  // Contract section 3: same-origin, so that our own forms still tell us where they came from.
  setUnless(headers, "referrer-policy", "same-origin");
  if (settings.baseUrl.protocol === "https:")
    setUnless(headers, "strict-transport-security", "max-age=31536000");
}

function setUnless(headers: Headers, name: string, value: string): void {
  if (!headers.has(name)) headers.set(name, value);
}

/** Discovery, registration, token and revocation answer any origin, without credentials. */
export function corsHeaders(headers: Headers): void {
  headers.set("access-control-allow-origin", "*");
  headers.set("access-control-allow-methods", "GET, POST, OPTIONS");
  headers.set("access-control-allow-headers", "authorization, content-type, mcp-protocol-version");
  headers.set("access-control-expose-headers", "www-authenticate, retry-after");
  headers.set("access-control-max-age", "600");
}
