import type { Settings } from "../base/index.ts";
import { DEVICE_GRANT } from "./grant-names.ts";

const MAX_CHARACTERS = 2000;
const HOST = /^(?:[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?|\[[0-9a-f:.]+\])$/;
const LOOPBACK_HOSTS = ["127.0.0.1", "[::1]", "localhost"];
const LOOPBACK = /^http:\/\/(127\.0\.0\.1|\[::1\]|localhost)(?::([1-9][0-9]{0,4}))?((?:[/?].*)?)$/;
/** What we add ourselves: a URI that brings its own could make a client read the wrong one (AZ-12). */
const OURS = ["code", "state", "iss", "error"];

/**
 * Why a redirect URI cannot be registered or used, as a sentence for the client's developer; undefined when it can.
 * The text must already be in normal form, so that every later comparison and every browser reads the same URL.
 */
export function redirectUriFault(
  text: string,
  settings: Pick<Settings, "nativeRedirectSchemes">,
): string | undefined {
  if (text.length > MAX_CHARACTERS) return `A redirect URI may have ${MAX_CHARACTERS} characters at most.`;
  if (!/^[\x21-\x7e]+$/.test(text))
    return "A redirect URI is ASCII without spaces; write host names in punycode.";
  const url = URL.parse(text);
  if (url === null) return "A redirect URI is an absolute URI.";
  if (text.includes("#")) return "A redirect URI has no fragment."; // RFC 6749 §3.1.2
  if (url.username !== "" || url.password !== "") return "A redirect URI has no user name or password.";
  if (OURS.some((name) => url.searchParams.has(name))) {
    return "The query of a redirect URI must not contain code, state, iss or error.";
  }
  if (settings.nativeRedirectSchemes.includes(url.protocol.slice(0, -1))) {
    return text.startsWith(`${url.protocol}//`) ? undefined : "Write the redirect URI as scheme://….";
  }
  if (url.protocol !== "https:" && url.protocol !== "http:")
    return "This scheme is not allowed for redirect URIs.";
  if (url.href !== text && url.href !== `${text}/`)
    return `Write the redirect URI in its normal form: ${url.href}`;
  if (!HOST.test(url.hostname) || url.port === "0")
    return "The host or port of the redirect URI is not valid.";
  // RFC 8252 §7.3: plain http only on the loopback interface.
  if (url.protocol === "http:" && !LOOPBACK_HOSTS.includes(url.hostname)) {
    return "http is allowed on 127.0.0.1, [::1] and localhost only; use https.";
  }
  return undefined;
}

/** Exact string comparison (RFC 9700 §4.1.3), except that the port of a loopback URI is free (RFC 8252 §7.3). */
export function matchesRedirectUri(registered: string, presented: string): boolean {
  if (registered === presented) return true;
  const a = LOOPBACK.exec(registered);
  const b = LOOPBACK.exec(presented);
  return a !== null && b !== null && Number(b[2] ?? 80) <= 65535 && a[1] === b[1] && a[3] === b[3];
}

export function isLoopback(redirectUri: string): boolean {
  return LOOPBACK.test(redirectUri);
}

/** What a person is shown of where the answer goes: the host (punycode as it is), or the scheme of an application. */
export function redirectHost(redirectUri: string): string {
  // In place of a redirect URI where a device asks for its tokens itself; no client can register it.
  if (redirectUri === DEVICE_GRANT) return "another device";
  const url = new URL(redirectUri);
  return url.protocol === "https:" || url.protocol === "http:" ? url.host : `${url.protocol}//${url.host}`;
}

/** The CSP source under which a form of ours may end at this URI; CSP knows no IPv6 hosts (CSP3 §2.3.1). */
export function formActionSource(redirectUri: string): string {
  if (redirectUri === DEVICE_GRANT) return "'self'";
  const url = new URL(redirectUri);
  const isWeb = url.protocol === "https:" || url.protocol === "http:";
  return isWeb && !url.hostname.startsWith("[") ? url.origin : url.protocol;
}

/** Adds parameters and keeps the URI's own query byte for byte (RFC 6749 §3.1.2). */
export function withParameters(redirectUri: string, parameters: Record<string, string | undefined>): string {
  const added = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) if (value !== undefined) added.append(name, value);
  return `${redirectUri}${redirectUri.includes("?") ? "&" : "?"}${added}`;
}
