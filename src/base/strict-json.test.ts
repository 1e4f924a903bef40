import fc from "fast-check";
import { expect, test } from "vitest";
import { hostileBodies } from "../../test/support/hostile-json.ts";
import { JsonFault } from "./json-fault.ts";
import { isPlainJson, MAX_PLAIN_KEYS } from "./json-plain.ts";
import { scanJson } from "./json-scan.ts";
import { isRawNumber, parseStrictJson, stringifyJson } from "./strict-json.ts";

function fault(body: Uint8Array | string, limits = {}): string {
  try {
    parseStrictJson(body, limits);
  } catch (error) {
    if (error instanceof JsonFault) return error.reason;
    throw error;
  }
  return "accepted";
}

const utf8 = (text: string) => new TextEncoder().encode(text);

/** JSON.parse as the judge of grammar, with a reviver that sees what JSON.parse would hide. */
function hasProto(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  return Object.entries(value).some(([key, inner]) => key === "__proto__" || hasProto(inner));
}

test("property: whatever JSON.stringify writes is read back equal, from text and from bytes, however it is laid out", () => {
  fc.assert(
    fc.property(
      fc.jsonValue({ maxDepth: 6, noUnicodeString: false }),
      fc.constantFrom(0, 1, "\t"),
      (value, indent) => {
        const text = JSON.stringify(value, null, indent);
        fc.pre(!hasProto(JSON.parse(text)));
        expect(stringifyJson(parseStrictJson(text))).toBe(JSON.stringify(JSON.parse(text)));
        expect(stringifyJson(parseStrictJson(utf8(text)))).toBe(JSON.stringify(JSON.parse(text)));
      },
    ),
    { numRuns: 1000 },
  );
});

test("property: damaged and random text is accepted only where JSON.parse accepts it, and refused as syntax where it does not", () => {
  const pieces = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    '"',
    '"a"',
    '"b"',
    "\\",
    "1",
    "-",
    "-0",
    "1e400",
    ".5",
    "e",
    " ",
    "true",
    "null",
    "\u0000",
  ];
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...pieces), { maxLength: 12 }), (parts) => {
      const text = parts.join("");
      const verdict = fault(text);
      let grammatical = true;
      try {
        JSON.parse(text);
      } catch {
        grammatical = false;
      }
      if (!grammatical) expect(verdict).not.toBe("accepted");
      else expect(["accepted", "duplicate_key"]).toContain(verdict);
      if (grammatical && !/"a".*"a"|"b".*"b"|"".*""/s.test(text)) expect(verdict).toBe("accepted");
    }),
    { numRuns: 20_000 },
  );
});

test("MC-07 property: every number reaches the other side with the value it had, changed ones byte for byte", () => {
  const digits = fc.stringMatching(/^-?(0|[1-9]\d{0,40})(\.\d{1,30})?([eE][+-]?\d{1,4})?$/);
  fc.assert(
    fc.property(fc.array(digits, { minLength: 1, maxLength: 5 }), (numbers) => {
      const written = stringifyJson(parseStrictJson(`{"a":[${numbers.join(" , ")}],"b":${numbers[0]}}`));
      const out = written.slice(written.indexOf("[") + 1, written.indexOf("]")).split(",");
      for (const [at, number] of numbers.entries()) {
        expect(out[at] === number || exact(out[at]!) === exact(number), `${number} became ${out[at]}`).toBe(
          true,
        );
      }
    }),
    { numRuns: 3000 },
  );
});

/** A decimal as a fraction of big integers, an arithmetic that shares nothing with the code under test. */
function exact(text: string): string {
  const [, sign, whole = "", part = "", power = "0"] = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(
    text,
  )!;
  const scale = 10_050 + Number(power) - part.length;
  return `${sign}${BigInt(whole + part) * 10n ** BigInt(scale)}`;
}

test.each([
  "12345678901234567890",
  "-9007199254740993",
  "1e400",
  "-1e400",
  "1E-400",
  "-0",
  "-0.0",
  "-0e5",
  "0.10000000000000000000000000000000000001",
  "9".repeat(500),
])("MC-07 %s is forwarded byte for byte", (number) => {
  for (const text of [number, `[${number}]`, `{"a":{"b":[1,${number},"x"]}}`]) {
    expect(stringifyJson(parseStrictJson(text))).toBe(text);
  }
  expect(isRawNumber(parseStrictJson(number))).toBe(true);
});

test("ordinary numbers are plain JavaScript numbers", () => {
  const numbers = [0, 1, -1, 1.5, 9007199254740991, 1e21, -0.1278, 0.1 + 0.2, 5e-324, 1.7976931348623157e308];
  expect(parseStrictJson(JSON.stringify(numbers))).toEqual(numbers);
  expect(parseStrictJson("[1.0,1e3,100E-2]")).toEqual([1, 1000, 1]);
});

test.each([
  "{1e400:1}",
  "01e400",
  "1e400x",
  "[1e400 1]",
  "1e-",
  "- 1e400",
  '{"a":1e400,}',
  "--12345678901234567890",
])("keeping numbers as text makes nothing valid that is not: %s", (text) =>
  expect(fault(text)).toBe("syntax"),
);

test.each([
  '{"method":"tools/list","method":"tools/call"}',
  '{"params":{"name":"safe","name":"danger"}}',
  '{"name":1,"na\\u006de":2}',
  '{"na\\u006de":1,"name":2}',
  '{"a":1,"b":{"a":1},"a" \n\t:2}',
  '{"":1,"":2}',
  '[{"x":[{"k":1,"k":1}]}]',
  `{${Array.from({ length: 40 }, (_, at) => `"k${at}":${at}`).join(",")},"k3":1}`,
  `{${Array.from({ length: 40 }, (_, at) => `"k${at}":{"in":1}`).join(",")},"k39":1}`,
  '{"\\ud83d\\ude00":1,"😀":2}',
])("MC-08 a member named twice is refused: %s", (text) => expect(fault(text)).toBe("duplicate_key"));

test.each([
  '{"method":1,"Method":2}',
  '{"params":1,"param\u017f":2}',
  '{"name":1,"name\\u0000":2}',
  '{"a":{"x":1},"b":{"x":1}}',
  '[{"x":1},{"x":1}]',
  '{"a":"b","b":"a","c":["a","b","a"]}',
  `[${Array.from({ length: 3 }, () => `{${Array.from({ length: 40 }, (_, at) => `"k${at}":1`).join(",")}}`).join(",")}]`,
])("MC-08 look-alikes and equal keys of different objects are different members: %s", (text) => {
  expect(parseStrictJson(text)).toEqual(JSON.parse(text));
});

test("MC-09 __proto__ is refused however it is written, constructor and prototype stay inert own data", () => {
  expect(fault('{"__proto__":{"isAdmin":true}}')).toBe("forbidden_key");
  expect(fault('{"a":[{"\\u005f_proto__":1}]}')).toBe("forbidden_key");
  expect(fault(`{${Array.from({ length: 40 }, (_, at) => `"k${at}":1`).join(",")},"__proto__":1}`)).toBe(
    "forbidden_key",
  );
  const value = parseStrictJson('{"constructor":{"prototype":{"isAdmin":true}},"x":"__proto__","n":1e400}');
  expect(stringifyJson(value)).toBe(
    '{"constructor":{"prototype":{"isAdmin":true}},"x":"__proto__","n":1e400}',
  );
  expect(({} as Record<string, unknown>).isAdmin).toBeUndefined();
});

test.each([
  ["overlong slash", [0x22, 0xc0, 0xaf, 0x22], "not_utf8"],
  ["truncated sequence", [0x22, 0xe2, 0x82, 0x22], "not_utf8"],
  ["encoded surrogate", [0x22, 0xed, 0xa0, 0x80, 0x22], "not_utf8"],
  ["UTF-16 with a mark", [0xff, 0xfe, 0x31, 0x00], "not_utf8"],
  ["UTF-16 without a mark", [0x7b, 0x00, 0x7d, 0x00], "syntax"],
  ["byte order mark", [0xef, 0xbb, 0xbf, 0x7b, 0x7d], "syntax"],
  ["nothing", [], "syntax"],
])("MC-10 %s is refused", (_name, bytes, reason) => expect(fault(Uint8Array.from(bytes))).toBe(reason));

test("MC-10 valid text is unchanged: lone surrogates, NUL, bidi and tag characters", () => {
  const text = '{"a":"\\ud800","b":"\\u0000","c":"\u202e\u{e0041}é"}';
  expect(parseStrictJson(utf8(text))).toEqual({ a: "\ud800", b: "\0", c: "\u202e\u{e0041}é" });
});

test("limits: bytes, depth and members are exact", () => {
  expect(fault('"é"', { maxBytes: 4 })).toBe("accepted");
  expect(fault('"é"', { maxBytes: 3 })).toBe("too_large");
  expect(fault(utf8('"é"'), { maxBytes: 3 })).toBe("too_large");
  expect(fault("[".repeat(64) + "]".repeat(64))).toBe("accepted");
  expect(fault("[".repeat(65) + "]".repeat(65))).toBe("depth");
  expect(fault(`${'{"a":'.repeat(65)}1${"}".repeat(65)}`)).toBe("depth");
  const object = (keys: number) => `{${Array.from({ length: keys }, (_, at) => `"k${at}":1`).join(",")}}`;
  for (const max of [3, 16, 17, 100]) {
    expect(fault(object(max), { maxKeys: max })).toBe("accepted");
    expect(fault(object(max + 1), { maxKeys: max })).toBe("too_many_keys");
  }
});

// Work that grew with the square of the length would take hours here; how long it takes is judged in bench/.
test.each(hostileBodies)("MC-07 $what is judged whole: $verdict", ({ make, verdict }) => {
  expect(fault(make(1))).toBe(verdict);
});

test("property: what is taken for plain by its bytes passes the whole check, with no number to keep", () => {
  const piece = fc.constantFrom(
    ...["{", "}", "[", "]", ",", ":", '"', '"a"', '"b"', '"__proto__"', '"\\u0061"', '"é"', "\\", " ", "\n"],
    ...["1", "-0", "-1.5", "1e4", "1E4", "0.1", "123456789012345", "1234567890123456", "true", "null"],
  );
  const pieces = fc.array(piece, { maxLength: 24 }).map((parts) => parts.join(""));
  const keys = fc
    .array(fc.tuple(fc.string({ maxLength: 3 }), fc.jsonValue({ maxDepth: 2 })), { maxLength: 18 })
    .map(
      (members) => `{${members.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`)}}`,
    );
  let plain = 0;
  fc.assert(
    fc.property(
      fc.oneof(pieces, keys, fc.json({ maxDepth: 70 })),
      fc.integer({ min: 1, max: 66 }),
      (text, depth) => {
        if (!isPlainJson(utf8(text), depth)) return;
        plain += 1;
        expect(scanJson(text, depth, MAX_PLAIN_KEYS)).toBeUndefined();
      },
    ),
    { numRuns: 3000 },
  );
  expect(plain).toBeGreaterThan(500);
});

test("bytes and text are judged alike at every limit of what is plain", () => {
  const keys = (count: number) => `{${Array.from({ length: count }, (_, at) => `"k${at}":1`)}}`;
  const long = "k".repeat(70);
  const bodies = [
    ...[15, 16, 17].map((count) => keys(count)),
    ...[63, 64, 65].map((depth) => "[".repeat(depth) + "]".repeat(depth)),
    ...["123456789012345", "1234567890123456", "0.12345678901234", "0.123456789012345678", "-0", "-0.5"],
    ...[
      `{"${long}":1}`,
      `{"${long}":1,"${long}":2}`,
      `{"a":"${"\\\\".repeat(40)}","a":1}`,
      '{"_12345678":1}',
    ],
    ...['{"a" :1,"a"\n:2}', '{"a":{"a":1},"b":[{"a":1},{"a":2}]}', '{"é":1,"é":2}', '"', '{"a', "}", '"a":1'],
  ];
  for (const body of bodies) expect(fault(utf8(body)), body).toBe(fault(body));
});

test("messages repeat nothing of the body", () => {
  try {
    parseStrictJson('{"secret-value":1,"secret-value":2}');
  } catch (error) {
    expect(String(error)).not.toContain("secret-value");
  }
});
