import { expect, it } from "vitest";
import { unifiedDiff } from "./text-diff.ts";
import { diffTools } from "./tool-diff.ts";
import { visible } from "./visible-text.ts";

const tool = {
  name: "send_mail",
  description: "Sends a mail.",
  inputSchema: { type: "object", properties: { to: { type: "string" }, text: { type: "string" } } },
};
const diff = (before: object | undefined, after: object) =>
  diffTools(before && JSON.stringify(before), JSON.stringify(after));

it("shows what differs, field by field and as a unified diff", () => {
  const after = { annotations: { readOnlyHint: true }, ...tool, description: "Sends a mail to everybody." };
  const { fields, diff: text, truncated } = diff({ title: "Mail", ...tool }, after);
  expect(fields).toEqual([
    { field: "annotations", after: '{\n  "readOnlyHint": true\n}' },
    { field: "description", before: '"Sends a mail."', after: '"Sends a mail to everybody."' },
    { field: "title", before: '"Mail"' },
  ]);
  expect(text.split("\n")).toEqual([
    "--- approved",
    "+++ offered",
    "@@ -1,5 +1,8 @@",
    " {",
    '-  "description": "Sends a mail.",',
    '+  "annotations": {',
    '+    "readOnlyHint": true',
    "+  },",
    '+  "description": "Sends a mail to everybody.",',
    '   "inputSchema": {',
    '     "properties": {',
    '       "text": {',
    "@@ -11,6 +14,5 @@",
    "     },",
    '     "type": "object"',
    "   },",
    '-  "name": "send_mail",',
    '-  "title": "Mail"',
    '+  "name": "send_mail"',
    " }",
  ]);
  expect(truncated).toBe(false);
});

it("shows a new tool whole", () => {
  const { fields, diff: text } = diff(undefined, { name: "late" });
  expect(fields).toEqual([{ field: "name", after: '"late"' }]);
  expect(text).toBe('--- approved\n+++ offered\n@@ -0,0 +1,3 @@\n+{\n+  "name": "late"\n+}');
});

it("MC-21 nothing hides in it: controls, bidirectional marks, zero-width and tag characters, odd spaces", () => {
  const hidden = [
    "\u0007",
    "\u001b[31m",
    "\u0085",
    "\u00a0",
    "\u00ad",
    "\u034f",
    "\u061c",
    "\u115f",
    "\u200b",
    "\u200d",
    "\u2028",
    "\u202e",
    "\u2066",
    "\u2800",
    "\u3000",
    "\u3164",
    "\ufe0f",
    "\ufeff",
    "\uffa0",
    "\u{e0041}",
    "\u{e0100}",
    "\ud800",
  ];
  for (const character of hidden) {
    const after = { ...tool, description: `Sends ${character}a mail.` };
    const shown = diff(tool, after);
    const text = JSON.stringify([shown.fields, shown.diff]);
    expect(text, JSON.stringify(character)).toMatch(/^[\x20-\x7e]*$/);
    expect(shown.fields[0]!.after).not.toBe(shown.fields[0]!.before);
    // It is the same JSON as before.
    expect(JSON.parse(shown.fields[0]!.after!)).toBe(after.description);
  }
});

it("MC-21 what looks the same is shown apart: normal forms, full width, other alphabets", () => {
  for (const [before, after] of [
    ["café", "cafe\u0301"],
    ["mail", "\uff4dail"],
    ["Sends", "S\u0435nds"],
    ["fi", "\ufb01"],
  ]) {
    const { fields, diff: text } = diff({ ...tool, description: before }, { ...tool, description: after });
    expect(fields[0]!.after).toContain("\\u");
    expect(fields[0]!.after!.normalize("NFKC")).not.toBe(fields[0]!.before!.normalize("NFKC"));
    expect(text).toMatch(/^\+.*\\u/m);
  }
});

it("leaves ordinary text of any language as it is", () => {
  for (const text of [
    "Verschickt Grüße",
    "Отправляет письмо",
    "メールを送る",
    "يرسل رسالة",
    "हिन्दी",
    "Ω = 3 Ω",
  ])
    expect(visible(text)).toBe(text);
});

it("bounds what it shows, and the work for it", () => {
  const many = (mark: string) => ({
    name: "big",
    list: Array.from({ length: 20_000 }, (_, at) => `${mark}${at}`),
  });
  const { fields, diff: text, truncated } = diff(many("a"), many("b"));
  expect(truncated).toBe(true);
  expect([fields[0]!.before!.length, text.length]).toEqual([20_000, 40_000]);
});

it("is the shortest way from one text to the other", () => {
  const lines = (text: string) => text.split("").join("\n");
  expect(unifiedDiff(lines("abcabba"), lines("cbabac")).filter((line) => /^[+-]/.test(line))).toHaveLength(5);
  expect(unifiedDiff("same", "same")).toEqual([]);
  expect(unifiedDiff(lines("abcdefghijklmnop"), lines("aXcdefghijklmnoY"))).toEqual([
    "@@ -1,5 +1,5 @@",
    " a",
    "-b",
    "+X",
    " c",
    " d",
    " e",
    "@@ -13,4 +13,4 @@",
    " m",
    " n",
    " o",
    "-p",
    "+Y",
  ]);
});
