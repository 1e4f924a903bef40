import {
  JsonFault,
  type JsonObject,
  OutboundError,
  Problem,
  parseStrictJson,
  type Tls,
  type World,
} from "../base/index.ts";

const MAX_BYTES = 256 * 1024;
const TIMEOUT_MS = 10_000;

/**
 * Reads a metadata document. `undefined`: there is none at this address (any status but 200, or something that is not
 * JSON, as catch-all pages are). `tls`: the upstream's, which counts at its own origin only. Two checked redirects at most (attack case UP-14). Throws what `unreachable` makes.
 */
export async function fetchDocument(world: World, url: URL, tls?: Tls): Promise<JsonObject | undefined> {
  const response = await world.outbound
    .fetch(url, {
      headers: { accept: "application/json" },
      policy: "admin",
      maxBytes: MAX_BYTES,
      timeoutMs: TIMEOUT_MS,
      redirects: 2,
      tls,
    })
    .catch((error: unknown) => {
      throw unreachable(error, url);
    });
  if (
    response.status !== 200 ||
    !/^application\/(.+\+)?json\b/i.test(response.headers.get("content-type") ?? "")
  )
    return undefined;
  try {
    const document = parseStrictJson(new Uint8Array(await response.arrayBuffer()));
    if (document !== null && typeof document === "object" && !Array.isArray(document) && !isNumber(document))
      return document as JsonObject;
  } catch (error) {
    if (!(error instanceof JsonFault)) throw error;
  }
  throw badMetadata("the document is not a valid JSON object", url);
}

function isNumber(value: object): boolean {
  return Object.getPrototypeOf(value) !== Object.prototype && Object.getPrototypeOf(value) !== null;
}

/** A failure of the way out, in words for the administrator; nothing of an answer is in them. Other errors are bugs. */
export function unreachable(error: unknown, url: URL): unknown {
  if (!(error instanceof OutboundError)) return error;
  const log = { host: url.host, reason: error.reason, code: error.code };
  if (error.reason === "refused") {
    return new Problem(
      "upstream",
      "upstream_address_refused",
      "The gateway may not reach this address. If it is meant to, add its host:port to POSTERN_OUTBOUND_ALLOW.",
      { log },
    );
  }
  return new Problem(
    "upstream",
    "upstream_unreachable",
    `${error.message} Check the address and try again.`,
    { log },
  );
}

/** Metadata that must not be used. `what` is ours, never text of the document. */
export function badMetadata(what: string, url: URL | string): Problem {
  return new Problem(
    "unprocessable",
    "oauth_metadata_invalid",
    `The upstream's OAuth metadata cannot be used: ${what}. Ask its operator, or name the endpoints in oauth_config.`,
    { log: { url: String(url) } },
  );
}

/** A string member, `undefined` when absent or null. Throws when it is something else. */
export function textOf(document: JsonObject, member: string, url: URL | string): string | undefined {
  const value = document[member];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== "string" || value.length > 2048)
    throw badMetadata(`${member} is not a short string`, url);
  return value;
}

/** A list of strings, `undefined` when absent or null. */
export function listOf(document: JsonObject, member: string, url: URL | string): string[] | undefined {
  const value = document[member];
  if (value === undefined || value === null) return undefined;
  if (!Array.isArray(value) || value.length > 1000 || !value.every((entry) => typeof entry === "string"))
    throw badMetadata(`${member} is not a list of strings`, url);
  return value as string[];
}
