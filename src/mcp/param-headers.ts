import type { JsonObject } from "../base/index.ts";
import type { HeaderReader } from "../http/index.ts";
import { decodeHeaderValue, encodeHeaderValue } from "../relay/index.ts";
import { isObject } from "./body.ts";
import { mismatch } from "./era.ts";

/** One `x-mcp-header` annotation: which argument the header `Mcp-Param-{name}` mirrors. */
export interface ParamHeader {
  /** Lower case, with the prefix: can be no other header (MC-24). */
  header: string;
  path: readonly string[];
}

const KEY = "x-mcp-header";
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,128}$/;
const PRIMITIVES = new Set(["string", "integer", "boolean"]);
const MAX_HEADERS = 32;

/**
 * The annotations of a tool's input schema (2026-07-28 Streamable HTTP, "Custom Headers from Tool Parameters"); undefined
 * when one of them is invalid, and then the tool must not be listed.
 */
export function paramHeadersOf(schema: unknown): ParamHeader[] | undefined {
  const found: ParamHeader[] = [];
  const valid = visit(schema, [], true, found);
  const names = new Set(found.map(({ header }) => header));
  return valid && names.size === found.length && found.length <= MAX_HEADERS ? found : undefined;
}

/** `reachable`: only through `properties`; an annotation anywhere else makes the definition invalid. */
function visit(node: unknown, path: readonly string[], reachable: boolean, found: ParamHeader[]): boolean {
  if (Array.isArray(node)) return node.every((item) => visit(item, path, false, found));
  if (!isObject(node)) return true;
  if (Object.hasOwn(node, KEY)) {
    const name = node[KEY];
    const type = node.type;
    if (!reachable || path.length === 0 || typeof name !== "string" || !TOKEN.test(name)) return false;
    if (typeof type !== "string" || !PRIMITIVES.has(type)) return false;
    found.push({ header: `mcp-param-${name.toLowerCase()}`, path });
  }
  return Object.entries(node).every(([key, child]) =>
    key === "properties" && isObject(child)
      ? Object.entries(child).every(([name, schema]) => visit(schema, [...path, name], reachable, found))
      : holdsValues.has(key) || visit(child, path, false, found),
  );
}

/** What these members hold is data, not a schema, and may look like anything. */
const holdsValues = new Set(["const", "enum", "default", "examples", KEY]);

/** The headers an upstream expects for these arguments. A value that fits no header is left out, as clients do. */
export function paramHeaders(
  declared: readonly ParamHeader[],
  args: JsonObject | undefined,
): Record<string, string> | undefined {
  if (declared.length === 0) return undefined;
  const headers: Record<string, string> = {};
  for (const { header, path } of declared) {
    const value = textAt(args, path);
    if (value !== undefined) headers[header] = encodeHeaderValue(value);
  }
  return headers;
}

/** "Any server that processes the message body MUST validate that encoded header values match" (MC-11). */
export function checkParamHeaders(
  declared: readonly ParamHeader[],
  args: JsonObject | undefined,
  headers: HeaderReader,
): void {
  for (const { header, path } of declared) {
    const value = textAt(args, path);
    if (value === undefined) continue;
    const sent = headers.get(header);
    const decoded = sent === null ? undefined : decodeHeaderValue(sent.trim());
    const same = decoded === value || (decoded !== undefined && sameNumber(decoded, args, path));
    if (!same) throw mismatch(header);
  }
}

/** `42.0` and `42` are one integer. */
function sameNumber(decoded: string, args: JsonObject | undefined, path: readonly string[]): boolean {
  const value = valueAt(args, path);
  return typeof value === "number" && /^-?\d+(\.\d+)?$/.test(decoded) && Number(decoded) === value;
}

function textAt(args: JsonObject | undefined, path: readonly string[]): string | undefined {
  const value = valueAt(args, path);
  if (typeof value === "string") return value;
  if (typeof value === "boolean" || Number.isSafeInteger(value)) return String(value);
  return undefined;
}

function valueAt(args: JsonObject | undefined, path: readonly string[]): unknown {
  let node: unknown = args;
  for (const key of path) node = isObject(node) && Object.hasOwn(node, key) ? node[key] : undefined;
  return node;
}
