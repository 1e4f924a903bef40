import type { Operation, Schema } from "./document.ts";

/** One body or query to send, and what it is for. */
export interface Variant {
  what: string;
  query?: string;
  body?: string | Buffer;
  declares?: number;
  headers?: Record<string, string>;
  /** The status it must get from a caller who may; undefined: any that is documented. */
  status?: number;
}

type Json = Record<string, unknown>;

export const TOO_LARGE = 5 * 1024 * 1024;

/** A value that a schema accepts: as little as it takes, or everything it knows. Always the same for the same schema. */
export function sample(schema: Schema, full: boolean): unknown {
  if (schema.const !== undefined) return schema.const;
  if (schema.default !== undefined && !full) return schema.default;
  if (schema.enum) return schema.enum[0];
  const [choice] = schema.anyOf ?? schema.oneOf ?? schema.allOf ?? [];
  if (choice) return sample(choice, full);
  switch (Array.isArray(schema.type) ? schema.type[0] : schema.type) {
    case "object":
      return sampleObject(schema, full);
    case "array":
      return full || schema.minItems ? [sample(schema.items ?? {}, full)] : [];
    case "integer":
    case "number":
      return schema.minimum ?? (schema.exclusiveMinimum === undefined ? 1 : schema.exclusiveMinimum + 1);
    case "boolean":
      return false;
    case "null":
      return null;
    default:
      return sampleText(schema);
  }
}

function sampleObject(schema: Schema, full: boolean): Json {
  const required: string[] = schema.required ?? [];
  const names = Object.keys(schema.properties ?? {}).filter((name) => full || required.includes(name));
  return Object.fromEntries(names.map((name) => [name, sample(schema.properties[name], full)]));
}

function sampleText(schema: Schema): string {
  if (schema.format === "date-time") return "2099-01-01T00:00:00Z";
  if (schema.format === "email") return "someone@example.com";
  return "sample".padEnd(schema.minLength ?? 0, "e").slice(0, schema.maxLength ?? 100);
}

/** Bodies that are not what the operation takes, and the plain ones that are. */
export function bodies(operation: Operation, minimal: Json, full: Json): Variant[] {
  const { body } = operation;
  if (!body) return [];
  return body.type === "application/json"
    ? jsonBodies(body.schema, body.required, minimal, full)
    : formBodies(body.schema, minimal);
}

const asJson = { "content-type": "application/json" };

function jsonBodies(schema: Schema, isRequired: boolean, minimal: Json, full: Json): Variant[] {
  const json = (what: string, value: unknown): Variant => ({
    what,
    body: JSON.stringify(value),
    headers: asJson,
  });
  const raw = (
    what: string,
    body: string | Buffer,
    status: number,
    headers: Record<string, string> = {},
  ): Variant => ({
    what,
    body,
    status,
    headers: { ...asJson, ...headers },
  });
  const text = JSON.stringify(minimal);
  const broken = [
    raw("not JSON", "{", 400),
    raw("invalid UTF-8", Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]), 400),
    raw("a key twice", '{"name":"a","name":"b"}', 400),
    raw("a key twice, escaped", '{"name":"a","n\\u0061me":"b"}', 400),
    raw("__proto__", '{"__proto__":{"name":"a"}}', 400),
    raw("deeply nested", `${"[".repeat(5000)}${"]".repeat(5000)}`, 400),
    raw("a form", "name=a", 415, { "content-type": "application/x-www-form-urlencoded" }),
    raw("no type", text, 415, { "content-type": "" }),
    raw("another charset", text, 415, { "content-type": "application/json; charset=utf-16" }),
    raw("compressed", text, 415, { "content-encoding": "gzip" }),
    { what: "too large", declares: TOO_LARGE, headers: asJson, status: 413 },
  ];
  return [
    json("as little as it takes", minimal),
    json("everything", full),
    ...(isRequired ? [{ what: "no body", status: 400 }] : []),
    ...[null, [], "text", 1, true].map((value) => json(`the body ${JSON.stringify(value)}`, value)),
    json("an unknown field", { ...minimal, no_such_field: 1 }),
    ...fieldFaults(schema, minimal, full).map(([what, value]) => json(what, value)),
    ...broken,
  ];
}

/** Each field left out, of another type, empty, too long, with a NUL. */
function fieldFaults(schema: Schema, minimal: Json, full: Json): [string, Json][] {
  const faults: [string, Json][] = [];
  for (const name of schema.required ?? []) {
    const { [name]: _, ...rest } = minimal;
    faults.push([`without ${name}`, rest]);
  }
  for (const name of Object.keys(schema.properties ?? {})) {
    const value = full[name] ?? minimal[name];
    const other = typeof value === "string" ? 7 : "seven";
    faults.push([`${name} of another type`, { ...minimal, [name]: other }]);
    faults.push([`${name} null`, { ...minimal, [name]: null }]);
    faults.push([`${name} nested`, { ...minimal, [name]: [[{ a: 1 }]] }]);
    if (typeof value === "number") faults.push([`${name} far out`, { ...minimal, [name]: -1e300 }]);
    if (typeof value !== "string") continue;
    faults.push([`${name} empty`, { ...minimal, [name]: "" }]);
    faults.push([`${name} too long`, { ...minimal, [name]: "x".repeat(200_000) }]);
    faults.push([`${name} with NUL`, { ...minimal, [name]: "a\0b" }]);
    faults.push([`${name} with a lone surrogate`, { ...minimal, [name]: "a\ud800" }]);
  }
  return faults;
}

const asForm = { "content-type": "application/x-www-form-urlencoded" };

function formBodies(schema: Schema, minimal: Json): Variant[] {
  const fields = Object.fromEntries(Object.entries(minimal).map(([name, value]) => [name, String(value)]));
  const form = (what: string, body: string | Buffer, status?: number, headers = {}): Variant => ({
    what,
    body,
    status,
    headers: { ...asForm, ...headers },
  });
  const text = String(new URLSearchParams(fields));
  const names = Object.keys(schema.properties ?? {});
  return [
    form("as little as it takes", text),
    form("nothing in it", ""),
    form("an unknown field", `${text}&no_such_field=1`),
    ...names.map((name) => form(`${name} twice`, `${name}=a&${name}=b`, 400)),
    ...names.map((name) => form(`${name} empty`, String(new URLSearchParams({ ...fields, [name]: "" })))),
    ...names.map((name) =>
      form(`${name} with NUL`, String(new URLSearchParams({ ...fields, [name]: "a\0b" }))),
    ),
    ...names.map((name) =>
      form(`${name} too long`, String(new URLSearchParams({ ...fields, [name]: "x".repeat(100_000) }))),
    ),
    form("invalid UTF-8", Buffer.from([0x61, 0x3d, 0xff]), 400),
    form("JSON", JSON.stringify(minimal), 415, { "content-type": "application/json" }),
    form("no type", text, 415, { "content-type": "" }),
    form("compressed", text, 415, { "content-encoding": "gzip" }),
    { what: "too large", declares: TOO_LARGE, headers: asForm, status: 413 },
  ];
}

/** Queries that are not what the operation takes, and odd ones. */
export function queries(operation: Operation): Variant[] {
  const declared = operation.parameters.filter((parameter) => parameter.in === "query");
  const required = requiredQuery(operation);
  const with_ = (name: string, value: string) => String(new URLSearchParams({ ...required, [name]: value }));
  const variants: Variant[] = [{ what: "an unknown parameter", query: with_("no_such_parameter", "1") }];
  for (const { name, schema } of declared) {
    const repeats = schema.anyOf?.some((one: Schema) => one.type === "array") ?? false;
    if (!repeats) variants.push({ what: `${name} twice`, query: `${name}=a&${name}=a`, status: 400 });
    for (const [what, value] of oddValues)
      variants.push({ what: `${name} ${what}`, query: with_(name, value) });
    variants.push({ what: `${name} not UTF-8`, query: `${name}=%ff%fe` });
    if (name === "limit" || name === "offset")
      variants.push(
        ...pageFaults(name, schema).map((value) => ({
          what: `${name}=${value}`,
          query: `${name}=${value}`,
          status: 400,
        })),
      );
  }
  for (const name of Object.keys(required)) {
    const { [name]: _, ...rest } = required;
    variants.push({ what: `without ${name}`, query: String(new URLSearchParams(rest)), status: 400 });
  }
  return variants;
}

const oddValues = [
  ["empty", ""],
  ["with NUL", "a\0b"],
  ["like a pattern", "%_\\'\";--"],
  ["too long", "x".repeat(9000)],
  ["of other letters", "ünï😀"],
] as const;

function pageFaults(name: string, schema: Schema): string[] {
  return [...(name === "limit" ? ["0", String(schema.maximum + 1)] : []), "-1", "abc", "1.5", "1e99", "NaN"];
}

/** The query an operation cannot do without. */
export function requiredQuery(operation: Operation): Record<string, string> {
  const required = operation.parameters.filter((parameter) => parameter.in === "query" && parameter.required);
  return Object.fromEntries(required.map(({ name, schema }) => [name, String(sample(schema, true))]));
}

/** The path with every parameter replaced, encoded unless told. */
export function target(operation: Operation, id: string, query = ""): string {
  return operation.path.replaceAll(/\{\w+\}/g, id) + (query === "" ? "" : `?${query}`);
}

/** Ids that nothing has, among them those a database would choke on. */
export const strangeIds = [
  "nope",
  "x".repeat(4000),
  "%00",
  "a%00b",
  "%ff",
  "a%2fb",
  "%C3%A9",
  "%27--",
  "%F0%9F%98%80",
];
