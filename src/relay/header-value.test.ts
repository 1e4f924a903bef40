import fc from "fast-check";
import { expect, test } from "vitest";
import { decodeHeaderValue, encodeHeaderValue } from "./header-value.ts";

test("MC-24 every string survives, and every encoded value is one plain header value", () => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme" }), (text) => {
      const header = encodeHeaderValue(text);
      expect(header).toMatch(/^[\x21-\x7e]([\t\x20-\x7e]*[\x21-\x7e])?$/);
      expect(decodeHeaderValue(header)).toBe(text);
    }),
  );
});

test.each([
  ["plain", "plain"],
  ["", "=?base64??="],
  [" padded ", "=?base64?IHBhZGRlZCA=?="],
  ["=?base64?eA==?=", "=?base64?PT9iYXNlNjQ/ZUE9PT89?="],
])("MC-11 %j is %s", (text, header) => {
  expect(encodeHeaderValue(text)).toBe(header);
  expect(decodeHeaderValue(header)).toBe(text);
});

test.each(["=?base64?x?=", "=?base64?eA?=", "=?base64?w68=w68=?=", "=?base64?wK8=?="])(
  "MC-11 %s is refused",
  (header) => {
    expect(decodeHeaderValue(header)).toBeUndefined();
  },
);
