import type { Settings } from "../base/index.ts";
import { ownOrigins } from "../http/index.ts";

const PATH = /^\/mcp(?:\/([A-Za-z0-9][A-Za-z0-9_-]{0,62}))?\/?$/;

/** The MCP endpoint's own address, or a virtual MCP's. */
export function mcpResource(settings: Settings, slug?: string): string {
  return `${settings.baseUrl.origin}/mcp${slug === undefined ? "" : `/${slug}`}`;
}

/**
 * The resource a `resource` parameter names (RFC 8707 §2), in the one form we store: no trailing slash, our public
 * origin also where an alias was used. None means `/mcp`. Undefined: not one of ours.
 */
export function ownResource(text: string | undefined, settings: Settings): string | undefined {
  if (text === undefined) return mcpResource(settings);
  const url = URL.parse(text);
  if (url === null || text.includes("#") || text.includes("?")) return undefined;
  if (url.username !== "" || url.password !== "" || !ownOrigins(settings).has(url.origin)) return undefined;
  const path = PATH.exec(url.pathname);
  return path === null ? undefined : mcpResource(settings, path[1]);
}
