import { Problem, sha256 } from "../base/index.ts";

/** A version of a resource (RFC 7644 §3.14), weak: it names what was stored, not the bytes of an answer. */
export function versionOf(parts: readonly (string | number | null)[]): string {
  return `W/"${sha256(JSON.stringify(parts)).slice(0, 22)}"`;
}

/** Throws 412 when the caller knows another version than this. */
export function requireMatch(request: Request, version: string): void {
  const wanted = request.headers.get("if-match");
  if (wanted === null || names(wanted, version)) return;
  throw new Problem(
    "precondition_failed",
    "version_mismatch",
    "This was changed since you read it. Read it again, and repeat the change with its new version.",
  );
}

/** Whether the caller has this version already. */
export function isKnown(request: Request, version: string): boolean {
  const known = request.headers.get("if-none-match");
  return known !== null && names(known, version);
}

/** RFC 9110 §8.8.3.2: compared weakly, because ours are weak. */
function names(header: string, version: string): boolean {
  const opaque = (tag: string) => tag.trim().replace(/^W\//, "");
  return header.trim() === "*" || header.split(",").some((tag) => opaque(tag) === opaque(version));
}
