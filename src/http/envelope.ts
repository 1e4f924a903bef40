import type { Problem } from "../base/index.ts";
import { json } from "./reply.ts";

/** Contract section 10: the one shape of every JSON error outside OAuth and JSON-RPC. `extra`: more `extra_fields`. */
export function envelope(
  problem: Problem,
  requestId: string,
  extra: Readonly<Record<string, unknown>> = {},
): Response {
  const { status, code, message, param } = problem;
  const ownFault = problem.kind === "internal" || problem.kind === "unavailable";
  return json(
    {
      event_id: requestId,
      type: problem.kind,
      is_bifrost_error: ownFault,
      status_code: status,
      error: {
        type: problem.kind,
        code,
        message,
        ...(param === undefined ? {} : { param }),
        event_id: requestId,
      },
      extra_fields: { provider: "", model_requested: "", request_type: "", ...extra },
    },
    status,
    problemHeaders(problem),
  );
}

/** RFC 6749 §5.2 and RFC 7591 §3.2.2: `code` is the registered error word for refusals, `server_error` otherwise. */
export function oauthError(problem: Problem): Response {
  const error = oauthWord(problem);
  return json({ error, error_description: problem.message }, problem.status, problemHeaders(problem));
}

function oauthWord(problem: Problem): string {
  switch (problem.kind) {
    case "invalid":
    case "unauthenticated":
      return oauthCodes.has(problem.code) ? problem.code : "invalid_request";
    case "too_many":
    case "unavailable":
      return "temporarily_unavailable";
    case "internal":
    case "upstream":
    case "upstream_timeout":
      return "server_error";
    case "forbidden":
      return "access_denied";
    default:
      return "invalid_request";
  }
}

/** RFC 6749 §5.2, RFC 8628 §3.5, RFC 8707 §2, RFC 7591 §3.2.2, RFC 7009 §2.2.1. */
const oauthCodes = new Set([
  "invalid_request",
  "invalid_client",
  "invalid_grant",
  "unauthorized_client",
  "unsupported_grant_type",
  "invalid_scope",
  "invalid_target",
  "invalid_redirect_uri",
  "invalid_client_metadata",
  "unsupported_token_type",
  // RFC 8628 §3.5.
  "authorization_pending",
  "slow_down",
  "access_denied",
  "expired_token",
]);

/** RFC 7644 §3.12. `scimType` only where the RFC has a word for it. */
export function scimError(problem: Problem): Response {
  const scimType = scimTypes.get(problem.code);
  const body = {
    schemas: ["urn:ietf:params:scim:api:messages:2.0:Error"],
    status: String(problem.status),
    ...(scimType === undefined ? {} : { scimType }),
    detail: problem.message,
  };
  const headers = { ...problemHeaders(problem), "content-type": "application/scim+json" };
  return json(body, problem.status, headers);
}

/** RFC 7644 §3.12, table 9, by our own codes. */
const scimTypes = new Map([
  ["invalid_json", "invalidSyntax"],
  ["invalid_request", "invalidSyntax"],
  ["invalid_filter", "invalidFilter"],
  ["invalid_path", "invalidPath"],
  ["invalid_email", "invalidValue"],
  ["invalid_value", "invalidValue"],
  ["nested_groups_unsupported", "invalidValue"],
  ["unknown_user", "invalidValue"],
  ["immutable_attribute", "mutability"],
  ["no_target", "noTarget"],
  ["email_taken", "uniqueness"],
  ["user_name_taken", "uniqueness"],
  ["group_name_taken", "uniqueness"],
  ["identity_taken", "uniqueness"],
]);

export function problemHeaders(problem: Problem): Record<string, string> {
  return problem.retryAfter === undefined
    ? problem.headers
    : { ...problem.headers, "retry-after": String(Math.max(1, Math.ceil(problem.retryAfter))) };
}
