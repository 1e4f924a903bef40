import { Problem, type Settings } from "../base/index.ts";

/** Every cookie of ours, by what it proves. One per flow where `id` is given, so parallel tabs do not disturb each other. */
export type CookieKind =
  | "session"
  | "flow"
  | "grant"
  | "state"
  | "setup"
  | "swap"
  | "second_factor"
  | "passkey"
  | "known"
  | "sign_in";

/** `__Host-` binds a cookie to this exact origin; browsers refuse the prefix over http, which we serve on loopback only. */
export function cookieName(kind: CookieKind, settings: Settings, id?: string): string {
  const name = id === undefined ? `postern-${kind}` : `postern-${kind}-${id}`;
  return isSecure(settings) ? `__Host-${name}` : name;
}

function isSecure(settings: Settings): boolean {
  return settings.baseUrl.protocol === "https:";
}

/**
 * Reads one cookie of ours. The same name twice is refused: somebody planted one (cookie tossing). Only SP and HTAB are
 * trimmed, so names that merely look like ours never match.
 */
export function readCookie(request: Request, name: string): string | undefined {
  const header = request.headers.get("cookie");
  if (header === null) return undefined;
  let found: string | undefined;
  for (const pair of header.split(";")) {
    const equals = pair.indexOf("=");
    if (equals < 0 || trim(pair.slice(0, equals)) !== name) continue;
    if (found !== undefined) {
      throw new Problem(
        "invalid",
        "repeated_cookie",
        "The browser sent a cookie of this site twice. Clear this site's cookies and start again.",
      );
    }
    found = trim(pair.slice(equals + 1));
  }
  return found === "" ? undefined : found;
}

function trim(text: string): string {
  return text.replace(/^[ \t]+|[ \t]+$/g, "");
}

/** A `Set-Cookie` value. Lax, because the provider's redirect back to us must carry it. */
export function cookie(
  name: string,
  value: string,
  maxAgeSeconds: number,
  settings: Settings,
): [string, string] {
  const secure = isSecure(settings) ? "; Secure" : "";
  return [
    "set-cookie",
    `${name}=${value}; Path=/; HttpOnly; SameSite=Lax; Max-Age=${Math.floor(maxAgeSeconds)}${secure}`,
  ];
}

export function clearCookie(name: string, settings: Settings): [string, string] {
  return cookie(name, "", 0, settings);
}
