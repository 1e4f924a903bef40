import { slugPattern } from "../access/index.ts";
import type { Settings } from "../base/index.ts";
import { ownOrigins } from "../http/index.ts";

const PATH = new RegExp(`^/mcp(?:/(${slugPattern.source.slice(1, -1)}))?/?$`);

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

/** The slug of a resource that we stored; undefined: `/mcp` itself. */
export function slugOf(resource: string): string | undefined {
  return PATH.exec(new URL(resource).pathname)?.[1];
}

/**
 * Whether a token for `resource` counts at `/mcp/<slug>`, or at `/mcp` without a slug (contract section 4; RFC 8707 §2):
 * one for `/mcp` everywhere, one for a slug there alone.
 */
export function serves(resource: string, slug: string | undefined): boolean {
  // Not the end of the text: a virtual MCP may be called "mcp". Our origins have no path of their own.
  const path = resource.slice(resource.indexOf("/", "https://".length));
  return path === "/mcp" || (slug !== undefined && path === `/mcp/${slug}`);
}
