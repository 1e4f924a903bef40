import { Problem } from "../base/index.ts";
import type { HeaderReader } from "../http/index.ts";

/** What a request presents, told apart by shape (contract section 1). */
export type Presented =
  | { kind: "none" }
  | { kind: "virtual_key"; value: string }
  | { kind: "token"; value: string }
  | { kind: "jwt"; value: string }
  | { kind: "other"; value: string };

const KEY_HEADERS = ["x-bf-vk", "x-api-key", "x-goog-api-key"];
const JWT_SHAPE = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*$/;

/**
 * The one credential in the headers. The same value twice counts once; two different ones are 400, because a 401 would
 * send a client into OAuth. A header of the wrong scheme is `other`: present, and never valid.
 */
export function presentedCredential(headers: HeaderReader): Presented {
  const authorization = headers.get("authorization");
  let presented = authorization === null ? undefined : bearer(authorization);
  let foreign = false;
  for (const name of KEY_HEADERS) {
    const value = headers.get(name)?.trim();
    if (value === undefined || value === presented) continue;
    if (presented !== undefined) throw conflictingCredentials();
    presented = value;
    foreign = name !== "x-bf-vk";
  }
  if (presented === undefined) return { kind: "none" };
  const shape = shapeOf(presented);
  // Contract section 1: the two headers of other products bring keys and no JWT.
  return foreign && shape.kind === "jwt" ? { kind: "other", value: presented } : shape;
}

function shapeOf(value: string): Presented {
  if (value.startsWith("sk-bf-")) return { kind: "virtual_key", value };
  if (value.startsWith("pst_")) return { kind: "token", value };
  if (JWT_SHAPE.test(value)) return { kind: "jwt", value };
  return { kind: "other", value };
}

export function conflictingCredentials(): Problem {
  return new Problem(
    "invalid",
    "conflicting_credentials",
    "Send exactly one credential: a token or a virtual key, not both.",
  );
}

/** RFC 6750 §2.1; the scheme is case-insensitive (RFC 9110 §11.1). Two joined headers leave a comma and never match. */
function bearer(authorization: string): string {
  const match = /^bearer +([^\s,]+)$/i.exec(authorization.trim());
  return match?.[1] ?? "";
}
