/** What is read of a `WWW-Authenticate` header, and no more. */
const MAX_CHALLENGE = 4096;
const MAX_SCOPES = 50;
// RFC 6749 §3.3: scope-token.
const SCOPE = /^[\x21\x23-\x5b\x5d-\x7e]{1,256}$/;

/** The challenges of a 401 or 403 (RFC 9110 §11.6.1), as far as an OAuth client acts on them. */
export interface Challenge {
  /** RFC 9728 §5.1. */
  resourceMetadata?: string;
  /** RFC 6750 §3.1, RFC 9449 §7.1. */
  error?: string;
  /** RFC 6750 §3; only well-formed ones, without repetitions. */
  scopes?: string[];
  /** RFC 9449 §7.1: tokens that are bound to a key are taken here. */
  takesProofs: boolean;
}

/** Reads what an upstream says about the token it wants; several challenges may stand in one header. */
export function readChallenge(header: string | readonly string[] | null | undefined): Challenge {
  const text = [header ?? ""].flat().join(", ").slice(0, MAX_CHALLENGE);
  const tokens = parameter(text, "scope")
    ?.split(" ")
    .filter((token) => SCOPE.test(token));
  return {
    resourceMetadata: parameter(text, "resource_metadata"),
    error: parameter(text, "error"),
    scopes: tokens && [...new Set(tokens)].slice(0, MAX_SCOPES),
    takesProofs: /(?:^|,\s*)dpop(?:\s|,|$)/i.test(text),
  };
}

/** A quoted or bare auth-param (RFC 9110 §11.2) of the first challenge that has it. */
function parameter(header: string, name: string): string | undefined {
  const match = new RegExp(`(?:^|[\\s,])${name}\\s*=\\s*(?:"([^"\\\\]*)"|([^\\s,"]+))`, "i").exec(header);
  return match?.[1] ?? match?.[2];
}
