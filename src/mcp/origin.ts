import { Problem, type Settings } from "../base/index.ts";
import { ownOrigins, securityHeaders } from "../http/index.ts";

const allowedHeaders =
  "authorization, content-type, accept, mcp-protocol-version, mcp-session-id, mcp-method, mcp-name, last-event-id, x-bf-vk, x-bf-mcp-session-id, x-bf-mcp-include-clients, x-bf-mcp-include-tools";

/** Which browsers may call: our own pages and `client.allowed_origins`, exactly as written. */
export class Origins {
  readonly #own: ReadonlySet<string>;
  readonly #settings: Settings;
  readonly #always: Record<string, string>;

  constructor(settings: Settings) {
    this.#own = ownOrigins(settings);
    this.#settings = settings;
    this.#always = { ...securityHeaders(settings), vary: "Authorization, Origin" };
  }

  /** MCP Streamable HTTP "Security Warning": MUST be 403 when invalid, before anything else is looked at (MC-01). */
  check(origin: string | null): void {
    if (origin === null || this.#own.has(origin) || this.#allows(origin)) return;
    throw new Problem(
      "forbidden",
      "origin_not_allowed",
      "Pages of this origin may not call this gateway. An administrator can add it to client.allowed_origins.",
    );
  }

  /** Headers of every answer. Credentials of the browser are never allowed: cookies do not count here. */
  headers(origin: string | null): Record<string, string> {
    const headers = { ...this.#always };
    if (origin === null || !this.#allows(origin)) return headers;
    headers["access-control-allow-origin"] = origin;
    headers["access-control-expose-headers"] = "www-authenticate, mcp-session-id, retry-after";
    return headers;
  }

  /** Asked each time: the list may change while the gateway runs. */
  #allows(origin: string): boolean {
    return this.#settings.allowedOrigins.includes(origin);
  }

  preflight(origin: string | null): Record<string, string> {
    const headers = this.headers(origin);
    if (headers["access-control-allow-origin"] === undefined) return headers;
    headers["access-control-allow-methods"] = "POST";
    headers["access-control-allow-headers"] = allowedHeaders;
    headers["access-control-max-age"] = "600";
    return headers;
  }
}
