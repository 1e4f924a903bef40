import { expect, it } from "vitest";
import { canonicalJson, fingerprint, parseStrictJson } from "./index.ts";

it("is one text for all orders of members and all spaces", () => {
  const one = parseStrictJson('{"b":[1,{"y":null,"x":true}],"a":"ä\\n","10":1,"9":2}');
  const other = parseStrictJson(
    '{ "9": 2, "10": 1.0, "a": "\\u00e4\\u000a", "b": [1, {"x": true, "y": null}] }',
  );
  expect(canonicalJson(one)).toBe('{"10":1,"9":2,"a":"ä\\n","b":[1,{"x":true,"y":null}]}');
  expect(canonicalJson(other)).toBe(canonicalJson(one));
  expect(fingerprint(other)).toBe(fingerprint(one));
  expect(fingerprint(one)).toMatch(/^[0-9a-f]{64}$/);
});

it("tells apart what is not the same value", () => {
  const texts = [
    '{"a":1}',
    '{"a":"1"}',
    '{"A":1}',
    '{"a":1,"b":null}',
    "[1,2]",
    "[2,1]",
    '"é"',
    '"e\\u0301"',
    '"a\\u200bb"',
    '"ab"',
    "null",
    "[]",
    "{}",
    '{"a":{}}',
    "12345678901234567890",
    "12345678901234567891",
    '"12345678901234567890"',
  ];
  const prints = texts.map((text) => fingerprint(parseStrictJson(text)));
  expect(new Set(prints).size).toBe(texts.length);
});

it("leaves out what JSON cannot say, as JSON.stringify does", () => {
  expect(canonicalJson({ a: undefined, b: [undefined, "\ud800"] })).toBe('{"b":[null,"\\ud800"]}');
});
