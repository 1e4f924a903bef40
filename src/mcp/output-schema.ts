import { isObject } from "./body.ts";

const TYPES = new Set(["string", "number", "integer", "boolean", "array", "object", "null"]);
/** What holds for the same value: a way through these that comes back never ends. */
const inPlace = new Set(["not", "if", "then", "else"]);
const inPlaceLists = new Set(["allOf", "anyOf", "oneOf"]);
const inPlaceMaps = new Set(["dependentSchemas"]);
const parts = new Set([
  "additionalItems",
  "additionalProperties",
  "contains",
  "propertyNames",
  "unevaluatedItems",
  "unevaluatedProperties",
]);
const partMaps = new Set(["$defs", "definitions", "patternProperties", "properties"]);
/** They mean something beyond this one schema, or change how references in it are read. */
const beyond = new Set(["$anchor", "$async", "$dynamicAnchor", "$dynamicRef", "$id", "$recursiveRef", "id"]);

type Check = (value: unknown) => boolean;
const isNumber: Check = (value) => typeof value === "number";
const isBoolean: Check = (value) => typeof value === "boolean";
const isStrings: Check = (value) => Array.isArray(value) && value.every((item) => typeof item === "string");
const values: Readonly<Record<string, Check>> = {
  dependentRequired: (value) => isObject(value) && Object.values(value).every(isStrings),
  enum: (value) => Array.isArray(value) && value.length > 0,
  exclusiveMaximum: isNumber,
  exclusiveMinimum: isNumber,
  format: (value) => typeof value === "string",
  maxItems: isNumber,
  maxLength: isNumber,
  maxProperties: isNumber,
  maximum: isNumber,
  minItems: isNumber,
  minLength: isNumber,
  minProperties: isNumber,
  minimum: isNumber,
  multipleOf: (value) => typeof value === "number" && value > 0,
  pattern: isPattern,
  required: isStrings,
  type: (value) => [value].flat().length > 0 && [value].flat().every((name) => TYPES.has(name as string)),
  uniqueItems: isBoolean,
};

/**
 * Whether clients can make a validator of an output schema. Those of the official SDK before 2026-07-28 do so as soon as
 * they list, and refuse the whole list when one of them cannot be made (MC-23): a `$ref` that leads nowhere, to another
 * host or round in a circle, a pattern that is none, a member of the wrong type. Nothing is fetched, nothing is matched.
 */
export function isUsableOutputSchema(schema: unknown): boolean {
  if (!isObject(schema) || schema.type !== "object") return false;
  const said = known.get(schema) ?? new Walk(schema).isUsable();
  known.set(schema, said);
  return said;
}

/** Definitions stay the same objects until their upstream is read again. */
const known = new WeakMap<object, boolean>();

class Walk {
  readonly #root: unknown;
  readonly #waiting: unknown[];
  readonly #done = new Set<unknown>();
  /** The way through schemas for one and the same value. */
  readonly #way = new Set<unknown>();

  constructor(root: unknown) {
    this.#root = root;
    this.#waiting = [root];
  }

  isUsable(): boolean {
    while (this.#waiting.length > 0) if (!this.#visit(this.#waiting.pop())) return false;
    return true;
  }

  #visit(schema: unknown): boolean {
    if (typeof schema === "boolean") return true;
    if (!isObject(schema) || this.#way.has(schema)) return false;
    if (this.#done.has(schema)) return true;
    this.#way.add(schema);
    const usable = Object.entries(schema).every(([key, value]) => this.#member(key, value, schema));
    this.#way.delete(schema);
    this.#done.add(schema);
    return usable;
  }

  #member(key: string, value: unknown, schema: Record<string, unknown>): boolean {
    if (beyond.has(key)) return false;
    if (key === "$ref") return this.#reference(value);
    if (inPlace.has(key)) return this.#visit(value);
    if (inPlaceLists.has(key))
      return Array.isArray(value) && value.length > 0 && value.every((item) => this.#visit(item));
    if (inPlaceMaps.has(key))
      return isObject(value) && Object.values(value).every((item) => this.#visit(item));
    if (parts.has(key)) return this.#later([value]);
    if (partMaps.has(key)) return this.#map(key, value);
    if (key === "items") return this.#later([value].flat());
    if (key === "dependencies") return this.#dependencies(value);
    if (key === "nullable") return isBoolean(value) && schema.type !== undefined;
    return !Object.hasOwn(values, key) || values[key]!(value);
  }

  #map(key: string, value: unknown): boolean {
    if (!isObject(value)) return false;
    if (key === "patternProperties" && !Object.keys(value).every(isPattern)) return false;
    return this.#later(Object.values(value));
  }

  /** Each name with further names, or with a schema for the same value. */
  #dependencies(value: unknown): boolean {
    return isObject(value) && Object.values(value).every((item) => isStrings(item) || this.#visit(item));
  }

  #later(schemas: unknown[]): boolean {
    this.#waiting.push(...schemas);
    return true;
  }

  /** RFC 6901, within this schema. */
  #reference(value: unknown): boolean {
    if (value === "#") return this.#visit(this.#root);
    if (typeof value !== "string" || !value.startsWith("#/")) return false;
    let node: unknown = this.#root;
    for (const part of value.slice(2).split("/")) {
      const key = unescaped(part);
      if (key === undefined || typeof node !== "object" || node === null || !Object.hasOwn(node, key))
        return false;
      node = (node as Record<string, unknown>)[key];
    }
    return this.#visit(node);
  }
}

function unescaped(part: string): string | undefined {
  try {
    return decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~");
  } catch {
    return undefined;
  }
}

function isPattern(value: unknown): boolean {
  if (typeof value !== "string") return false;
  try {
    new RegExp(value, "u");
    return true;
  } catch {
    return false;
  }
}
