import { Ajv } from "ajv";
import fc from "fast-check";
import { expect, test } from "vitest";
import { isUsableOutputSchema } from "./output-schema.ts";

const object = (more: object) => ({ type: "object", ...more });

test.each<[string, object]>([
  [
    "properties, requirements and limits",
    object({ properties: { a: { type: ["string", "null"], minLength: 1 } }, required: ["a"] }),
  ],
  [
    "definitions that are referred to",
    object({ $defs: { "a/b": { type: "string" } }, properties: { a: { $ref: "#/$defs/a~1b" } } }),
  ],
  ["a tree", object({ properties: { children: { type: "array", items: { $ref: "#" } } } })],
  ["what nobody knows", object({ "x-own": { $ref: 5 }, title: 7 })],
  ["true and false", object({ properties: { a: true }, additionalProperties: false })],
])("usable: %s", (_name, schema) => {
  expect(isUsableOutputSchema(schema)).toBe(true);
});

test.each<[string, unknown]>([
  ["no schema", "object"],
  ["not of an object", { type: "array" }],
  ["a reference to another host", object({ properties: { a: { $ref: "https://evil.example/s.json" } } })],
  ["a reference that leads nowhere", object({ properties: { a: { $ref: "#/$defs/a" } } })],
  [
    "a reference to what is no schema",
    object({ required: ["a"], properties: { a: { $ref: "#/required" } } }),
  ],
  ["a reference to what every object has", object({ properties: { a: { $ref: "#/constructor" } } })],
  ["a circle without an end", object({ allOf: [{ anyOf: [{ $ref: "#" }] }] })],
  ["a name of its own", object({ $id: "https://evil.example/s.json" })],
  ["a dynamic reference", object({ $dynamicRef: "#a" })],
  ["a pattern that is none", object({ patternProperties: { "(": {} } })],
  ["a type that is none", object({ properties: { a: { type: "text" } } })],
])("MC-23 not usable: %s", (_name, schema) => {
  expect(isUsableOutputSchema(schema)).toBe(false);
});

const keyword = fc.constantFrom(
  "$ref",
  "$defs",
  "$id",
  "allOf",
  "anyOf",
  "not",
  "if",
  "then",
  "items",
  "properties",
  "patternProperties",
  "additionalProperties",
  "dependencies",
  "required",
  "type",
  "enum",
  "const",
  "pattern",
  "format",
  "minimum",
  "maxLength",
  "multipleOf",
  "uniqueItems",
  "nullable",
  "contains",
  "propertyNames",
  "title",
  "default",
  "x-own",
);
const value = fc.letrec<{ schema: unknown; any: unknown }>((tie) => ({
  any: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.constantFrom<unknown>(
      "#",
      "#/properties/a",
      "#/$defs/b",
      "string",
      "object",
      "(",
      "^a",
      "date",
      1,
      -1,
      0,
      true,
      false,
      null,
      [],
    ),
    tie("schema"),
    fc.array(tie("schema"), { maxLength: 2 }),
    fc.dictionary(fc.constantFrom("a", "b", "("), tie("schema"), { maxKeys: 2 }),
    fc.array(fc.constantFrom("a", "string"), { maxLength: 2 }),
  ),
  schema: fc.dictionary(keyword, tie("any"), { maxKeys: 3 }),
}));

test("MC-23 what is usable, the validator of the official clients makes a validator of, and it comes to an end", () => {
  let usable = 0;
  fc.assert(
    fc.property(value.schema, fc.jsonValue({ maxDepth: 3 }), (members, instance) => {
      const schema = { ...(members as object), type: "object" };
      if (!isUsableOutputSchema(schema)) return;
      usable += 1;
      const ajv = new Ajv({ strict: false, validateSchema: false, validateFormats: false, allErrors: true });
      ajv.compile(schema)(instance);
    }),
    { seed: 20260728, numRuns: 3_000 },
  );
  // Enough of them are, or nothing was shown.
  expect(usable).toBeGreaterThan(500);
});
