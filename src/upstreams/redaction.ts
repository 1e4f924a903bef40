import { Hidden, Problem, sameTls } from "../base/index.ts";
import type { Upstream } from "./upstream.ts";

/** What a stored secret reads as. Sent back, it keeps the stored value. */
export const redacted = "********";

/** Any run of four: a value that somebody edited inside the mask is neither the old secret nor a new one. */
const maskLike = /\*{4}/;

/** Static headers with redacted values taken from `previous`. A redacted value for a name not stored is refused. */
export function resolveHeaders(headers: Record<string, string>, previous?: Upstream): Record<string, Hidden> {
  const resolved: Record<string, Hidden> = {};
  for (const [name, value] of Object.entries(headers)) {
    const stored = previous?.headers[name];
    // Attack case AD-10: the mask keeps a value under its own name only.
    resolved[name] = value === redacted && stored ? stored : fresh(value, `headers.${name}`);
  }
  return resolved;
}

/** A client secret or private key as sent: the mask keeps the stored one, nothing or the empty string is none. */
export function keepSecret(
  value: string | null | undefined,
  isStored: boolean,
  param: string,
): Hidden | "keep" | null {
  if (value === null || value === undefined || value === "") return null;
  if (value === redacted && isStored) return "keep";
  return fresh(value, param);
}

/** Throws 400 `secret_required` for what looks like a redacted value. */
export function refuseMask(value: string, param: string): void {
  if (!maskLike.test(value)) return;
  const message = "This is a redacted value. Enter the secret itself.";
  throw new Problem("invalid", "secret_required", message, { param });
}

function fresh(value: string, param: string): Hidden {
  refuseMask(value, param);
  return new Hidden(value);
}

/** Where secrets go, after a change. */
interface Aim extends Pick<Upstream, "oauth" | "headers" | "tls"> {
  clientSecret: Hidden | "keep" | null;
  privateKey: Hidden | "keep" | null;
  assertion?: Hidden | "keep" | null;
  idpSecret?: Hidden | "keep" | null;
}

/**
 * Attack case AD-10: a stored secret must not be re-aimed. When an address or the resource of the authorization server
 * changes, a stored client secret or private key has to be entered again; when `tls_config` changes, and with it who can
 * pass for the server, every secret that is sent or proved there.
 */
export function refuseReaimedSecret(before: Upstream, after: Aim): void {
  if (!sameTls(before.tls, after.tls)) refuseKept(before, after);
  const kept = secretFields.find(([secret]) => after[secret] === "keep");
  if (!kept) return;
  const [was, is] = [before.oauth, after.oauth];
  const fields = [
    "authorizeUrl",
    "tokenUrl",
    "registrationUrl",
    "revocationUrl",
    "resource",
    "profile",
  ] as const;
  if (fields.every((field) => was?.[field] === is?.[field]) && was?.idp?.tokenUrl === is?.idp?.tokenUrl)
    return;
  const [, field] = kept;
  throw new Problem(
    "invalid",
    "secret_required",
    `An address in oauth_config or its resource changes: enter ${field} again.`,
    { param: `oauth_config.${field}` },
  );
}

const secretFields = [
  ["clientSecret", "client_secret"],
  ["privateKey", "private_key"],
  ["assertion", "assertion"],
  ["idpSecret", "idp.client_secret"],
] as const;

function refuseKept(before: Upstream, after: Aim): void {
  const header = Object.keys(after.headers).find((name) => after.headers[name] === before.headers[name]);
  const key = after.tls?.settings.clientKeyPem;
  const kept = [
    header !== undefined && `headers.${header}`,
    key !== undefined && key === before.tls?.settings.clientKeyPem && "tls_config.client_key_pem",
    ...secretFields.map(([secret, field]) => after[secret] === "keep" && `oauth_config.${field}`),
  ].find((param) => param !== false);
  if (!kept) return;
  const message = `tls_config changes: enter ${kept} again.`;
  throw new Problem("invalid", "secret_required", message, { param: kept });
}
