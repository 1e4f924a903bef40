import { type Hidden, type JsonObject, Problem, type Tls, type World } from "../base/index.ts";
import { type Challenge, readChallenge } from "./challenge.ts";
import { badMetadata, fetchDocument, listOf, textOf, unreachable } from "./fetch-json.ts";

const TIMEOUT_MS = 10_000;
const WELL_KNOWN = "/.well-known/oauth-protected-resource";

/** What the upstream says of itself as a protected resource. */
export interface ProtectedResource {
  /** Absent: it has no RFC 9728 metadata. */
  resource?: string;
  authorizationServers: string[];
  /** What its 401 asked for, else what its metadata lists. */
  scopes: string[];
  /** What its metadata lists. */
  supportedScopes: string[];
  /** Whether it takes tokens that are bound to a key (RFC 9449), or takes no others. */
  proofs: "unmentioned" | "taken" | "required";
}

/** RFC 9728: where the 401 points, else the well-known place with the path inserted, else the one at the root. */
export async function findProtectedResource(
  world: World,
  url: URL,
  headers: Readonly<Record<string, Hidden>>,
  tls?: Tls,
): Promise<ProtectedResource> {
  const challenge = await askUnauthorized(world, url, headers, tls);
  const { scopes } = challenge;
  const proofs = challenge.takesProofs ? "taken" : "unmentioned";
  for (const place of places(url, challenge.resourceMetadata)) {
    const document = await fetchDocument(world, place, tls);
    if (!document) continue;
    const supportedScopes = listOf(document, "scopes_supported", place) ?? [];
    return {
      resource: checkResource(document, url, place),
      authorizationServers: listOf(document, "authorization_servers", place) ?? [],
      scopes: scopes ?? supportedScopes,
      supportedScopes,
      proofs: proofsOf(document, place) ?? proofs,
    };
  }
  return { authorizationServers: [], scopes: scopes ?? [], supportedScopes: [], proofs };
}

/** RFC 9728 §2. */
function proofsOf(document: JsonObject, place: URL): "taken" | "required" | undefined {
  if (document.dpop_bound_access_tokens_required === true) return "required";
  return listOf(document, "dpop_signing_alg_values_supported", place)?.length ? "taken" : undefined;
}

function places(url: URL, named: string | undefined): URL[] {
  const path = url.pathname === "/" ? "" : url.pathname;
  const wellKnown = [new URL(WELL_KNOWN + path + url.search, url.origin)];
  if (path !== "") wellKnown.push(new URL(WELL_KNOWN, url.origin));
  if (named === undefined) return wellKnown;
  const place = URL.parse(named);
  // Attack case UP-12: the upstream does not choose whom else we talk to.
  if (place?.origin !== url.origin) throw badMetadata("its resource_metadata is at another origin", url);
  return [place];
}

/** RFC 9728 §3.3: the metadata is about this resource, or about the one whose own well-known place it came from. */
function checkResource(document: JsonObject, url: URL, place: URL): string {
  const resource = textOf(document, "resource", place);
  const parsed = resource === undefined ? null : URL.parse(resource);
  if (resource === undefined || !parsed) throw badMetadata("resource is missing or not a URL", place);
  if (trimmed(parsed) === trimmed(url)) return resource;
  const isAncestor = parsed.origin === url.origin && `${trimmed(url)}/`.startsWith(`${trimmed(parsed)}/`);
  const path = parsed.pathname === "/" ? "" : parsed.pathname;
  const isItsOwnPlace = place.href === new URL(WELL_KNOWN + path, parsed.origin).href;
  if (isAncestor && isItsOwnPlace) return resource;
  throw new Problem(
    "unprocessable",
    "resource_mismatch",
    "The upstream's metadata is about another resource than this address. Check connection_string for typing errors.",
    { param: "connection_string", log: { place: place.href } },
  );
}

function trimmed(url: URL): string {
  return (url.origin + url.pathname).replace(/\/$/, "") + url.search;
}

async function askUnauthorized(
  world: World,
  url: URL,
  headers: Readonly<Record<string, Hidden>>,
  tls: Tls | undefined,
): Promise<Challenge> {
  const own = Object.entries(headers).map(([name, value]) => [name, value.reveal()]);
  const response = await world.outbound
    .fetch(url, {
      method: "POST",
      headers: {
        ...Object.fromEntries(own),
        "content-type": "application/json",
        accept: "application/json, text/event-stream",
      },
      // A request that every server knows and that starts nothing.
      body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "ping" }),
      policy: "admin",
      timeoutMs: TIMEOUT_MS,
      tls,
    })
    .catch((error: unknown) => {
      throw unreachable(error, url);
    });
  const refused = response.status === 401 || response.status === 403;
  return readChallenge(refused ? response.headers.get("www-authenticate") : undefined);
}
