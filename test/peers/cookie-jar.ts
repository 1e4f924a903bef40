interface Cookie {
  name: string;
  value: string;
  /** Whose cookie: an origin or a host, as the jar was told to tell sites apart. */
  owner: string;
  path: string;
  secure: boolean;
  sameSite: "strict" | "lax" | "none";
  /** Milliseconds since the epoch; Infinity for a session cookie. */
  expiresAt: number;
}

export interface CookieContext {
  /** The request was started by another site. */
  crossSite: boolean;
  /** A top-level GET navigation; cross-site, only that takes `Lax` cookies along. */
  safe: boolean;
}

const LOOPBACK = /^(127\.\d+\.\d+\.\d+|\[::1\]|localhost)$/;

/** The cookies of one browser: what RFC 6265bis says about hosts, paths, prefixes, `Secure` and `SameSite`. */
export class CookieJar {
  /** `Set-Cookie` lines a browser would have dropped, with the reason, for assertions and for finding mistakes. */
  readonly dropped: { line: string; reason: string }[] = [];
  readonly #cookies = new Map<string, Cookie>();
  readonly #ownerOf: (url: URL) => string;

  constructor(ownerOf: (url: URL) => string) {
    this.#ownerOf = ownerOf;
  }

  store(url: URL, line: string): void {
    const [pair = "", ...rest] = line.split(";");
    const split = pair.indexOf("=");
    const name = pair.slice(0, split).trim();
    const attributes = new Map(rest.map(attribute));
    const reason = split < 1 ? "no name" : refusal(url, name, attributes);
    if (reason) {
      this.dropped.push({ line, reason });
      return;
    }
    const given = attributes.get("path");
    const cookie: Cookie = {
      name,
      value: pair.slice(split + 1).trim(),
      owner: this.#ownerOf(url),
      path: given?.startsWith("/") ? given : defaultPath(url.pathname),
      secure: attributes.has("secure"),
      sameSite: sameSite(attributes.get("samesite")),
      expiresAt: expiry(attributes),
    };
    const key = `${cookie.owner} ${cookie.path} ${name}`;
    if (cookie.expiresAt <= Date.now()) this.#cookies.delete(key);
    else this.#cookies.set(key, cookie);
  }

  /** The `Cookie` header of a request, or undefined. */
  header(url: URL, { crossSite, safe }: CookieContext): string | undefined {
    const sent = this.visible(url).filter(
      (c) => !crossSite || c.sameSite === "none" || (c.sameSite === "lax" && safe),
    );
    return sent.length === 0 ? undefined : sent.map((c) => `${c.name}=${c.value}`).join("; ");
  }

  /** Every cookie for this URL, longest path first, whoever asks. */
  visible(url: URL): Cookie[] {
    const owner = this.#ownerOf(url);
    return [...this.#cookies.values()]
      .filter((c) => c.owner === owner && c.expiresAt > Date.now() && pathMatches(url.pathname, c.path))
      .filter((c) => !c.secure || trustworthy(url))
      .sort((a, b) => b.path.length - a.path.length);
  }

  clear(): void {
    this.#cookies.clear();
  }
}

function attribute(part: string): [string, string] {
  const split = part.indexOf("=");
  if (split < 0) return [part.trim().toLowerCase(), ""];
  return [part.slice(0, split).trim().toLowerCase(), part.slice(split + 1).trim()];
}

function refusal(url: URL, name: string, attributes: Map<string, string>): string | undefined {
  const secure = attributes.has("secure");
  const domain = attributes.get("domain");
  if (domain && domain.replace(/^\./, "") !== url.hostname) return "for another domain";
  if (secure && !trustworthy(url)) return "Secure over plain http";
  if (attributes.get("samesite")?.toLowerCase() === "none" && !secure) return "SameSite=None without Secure";
  if (name.startsWith("__Secure-") && !secure) return "__Secure- without Secure";
  if (name.startsWith("__Host-") && (!secure || domain || attributes.get("path") !== "/")) {
    return "__Host- needs Secure, Path=/ and no Domain";
  }
  return undefined;
}

/** Browsers count loopback as secure even without TLS, for cookies too. */
function trustworthy(url: URL): boolean {
  return url.protocol === "https:" || LOOPBACK.test(url.hostname);
}

function sameSite(value: string | undefined): Cookie["sameSite"] {
  const lower = value?.toLowerCase();
  return lower === "strict" || lower === "none" ? lower : "lax";
}

function expiry(attributes: Map<string, string>): number {
  const maxAge = attributes.get("max-age");
  if (maxAge !== undefined && /^-?\d+$/.test(maxAge)) return Date.now() + Number(maxAge) * 1000;
  const expires = Date.parse(attributes.get("expires") ?? "");
  return Number.isNaN(expires) ? Number.POSITIVE_INFINITY : expires;
}

function defaultPath(pathname: string): string {
  return pathname.slice(0, pathname.lastIndexOf("/")) || "/";
}

function pathMatches(pathname: string, path: string): boolean {
  return pathname === path || pathname.startsWith(path.endsWith("/") ? path : `${path}/`);
}
