import type { Settings } from "../base/index.ts";
import { ownResource } from "./resource.ts";
import { grantedScope } from "./scope.ts";

export interface AuthorizeQuery {
  response_type?: string;
  response_mode?: string;
  code_challenge?: string;
  code_challenge_method?: string;
  scope?: string;
  resource?: string | string[];
}

export type CheckedRequest =
  | { ok: true; challenge: string; scope: string; resource: string }
  | { ok: false; error: string; message: string };

const S256_CHALLENGE = /^[A-Za-z0-9_-]{43}$/;

/** What is checked once client and redirect URI are trusted, in the contract's order (section 3). */
export function checkAuthorizeRequest(query: AuthorizeQuery, settings: Settings): CheckedRequest {
  const refuse = (error: string, message: string) => ({ ok: false, error, message }) as const;
  if (query.response_type === undefined)
    return refuse("invalid_request", "response_type is missing; send code.");
  if (query.response_type !== "code") {
    return refuse("unsupported_response_type", "Only response_type=code is supported.");
  }
  if (query.response_mode !== undefined && query.response_mode !== "query") {
    return refuse("invalid_request", "Only response_mode=query is supported.");
  }
  // RFC 7636 §4.4.1; an absent method would mean "plain".
  if (query.code_challenge === undefined || query.code_challenge_method !== "S256") {
    return refuse(
      "invalid_request",
      "PKCE is required: send code_challenge with code_challenge_method=S256.",
    );
  }
  if (!S256_CHALLENGE.test(query.code_challenge)) {
    return refuse(
      "invalid_request",
      "code_challenge must be the base64url SHA-256 of the verifier, 43 characters.",
    );
  }
  const scope = grantedScope(query.scope, settings);
  if (scope === undefined) return refuse("invalid_scope", "scope is not a list of scope words.");
  // RFC 8707 §2 allows several; a token of ours has one audience.
  if (Array.isArray(query.resource)) return refuse("invalid_target", "Send resource once.");
  const resource = ownResource(query.resource, settings);
  if (resource === undefined)
    return refuse("invalid_target", "resource must be the address of the MCP endpoint.");
  return { ok: true, challenge: query.code_challenge, scope, resource };
}
