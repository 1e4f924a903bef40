import { Problem, type Settings } from "../base/index.ts";

const LOOPBACK = ["localhost", "127.0.0.1", "[::1]"];

/** Every origin that is ours: the base URL, its aliases, and, for a loopback one, the other loopback names of its port. */
export function ownOrigins(settings: Settings): Set<string> {
  const origins = new Set<string>();
  for (const text of [settings.baseUrl.origin, ...settings.aliases]) {
    const url = new URL(text);
    origins.add(url.origin);
    if (!LOOPBACK.includes(url.hostname)) continue;
    for (const name of LOOPBACK) origins.add(`${url.protocol}//${name}${url.port ? `:${url.port}` : ""}`);
  }
  return origins;
}

/** A `Host` that is not ours is refused before routing (DNS rebinding; attack rule R17). */
export function hostCheck(settings: Settings): (host: string) => boolean {
  const hosts = new Set([...ownOrigins(settings)].map((origin) => new URL(origin).host));
  return (host) => hosts.has(host.toLowerCase());
}

export function unknownHost(): Problem {
  const message = "This host name is not one of this gateway's. Use its configured address.";
  return new Problem("misdirected", "unknown_host", message);
}

/**
 * Contract section 3: refuses a browser's request from elsewhere. `Sec-Fetch-Site` decides where it is present, else
 * `Origin`; without both, the cookie that the route reads decides.
 */
export function requireSameOrigin(request: Request, settings: Settings): void {
  const site = request.headers.get("sec-fetch-site");
  const origin = request.headers.get("origin");
  const same = site !== null ? site === "same-origin" : origin === null || ownOrigins(settings).has(origin);
  if (!same) {
    throw new Problem(
      "forbidden",
      "cross_site_request",
      "This request came from another site. Open the page here and use its own button.",
    );
  }
}
