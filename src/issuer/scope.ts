import type { Settings } from "../base/index.ts";

/** `offline_access` is listed for clients that ask for what they see; refresh tokens do not depend on it. */
export function scopesSupported(settings: Pick<Settings, "grantMaxMs">): string[] {
  return settings.grantMaxMs > 0 ? ["mcp", "offline_access"] : ["mcp"];
}

/**
 * The scope that is granted: what was asked and exists, at least `mcp` (contract section 4: unknown scopes are dropped).
 * Undefined when the parameter is not a scope at all (RFC 6749 §3.3).
 */
export function grantedScope(
  asked: string | undefined,
  settings: Pick<Settings, "grantMaxMs">,
): string | undefined {
  if (asked === undefined) return "mcp";
  if (!/^[\x21\x23-\x5b\x5d-\x7e]+( +[\x21\x23-\x5b\x5d-\x7e]+)*$/.test(asked.trim())) return undefined;
  const words = new Set(["mcp", ...asked.split(" ")]);
  return scopesSupported(settings)
    .filter((scope) => words.has(scope))
    .join(" ");
}

/** Whether a refresh asks for nothing beyond the grant (RFC 6749 §6). */
export function isWithin(asked: string, granted: string): boolean {
  const words = new Set(granted.split(" "));
  return asked.split(" ").every((scope) => scope === "" || words.has(scope));
}
