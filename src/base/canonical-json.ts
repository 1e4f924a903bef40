import { createHash } from "node:crypto";
import { isRawNumber } from "./strict-json.ts";

/**
 * One text for everything that is the same JSON value: members in the order of their names by UTF-16 units, no spaces
 * (RFC 8785 §3.2). Strings stay as they are, unnormalised; numbers that JavaScript cannot hold stay as they were written.
 */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item)).join(",")}]`;
  if (typeof value !== "object" || value === null || isRawNumber(value))
    return JSON.stringify(value) ?? "null";
  const object = value as Record<string, unknown>;
  const members = Object.keys(object)
    .filter((name) => object[name] !== undefined)
    .sort()
    .map((name) => `${JSON.stringify(name)}:${canonicalJson(object[name])}`);
  return `{${members.join(",")}}`;
}

/** SHA-256 of `canonicalJson`, in hexadecimal: the same for two JSON values exactly when they are the same. */
export function fingerprint(value: unknown): string {
  return createHash("sha256").update(canonicalJson(value)).digest("hex");
}
