import { describe, expect, test } from "vitest";
import { uriTemplate } from "./uri-template.ts";

describe("RFC 6570 templates", () => {
  test.each([
    ["demo://text/{id}", "demo://text/1", true],
    ["demo://text/{id}", "demo://text/", false],
    ["demo://text/{id}", "demo://text/1/2", false],
    ["demo://text/{id}/x", "demo://text/1/x", true],
    ["demo://{a}/{b}", "demo://1/2", true],
    ["demo://{a}-{b}", "demo://1-2-3", true],
    ["file:///{+path}", "file:///a/b/c", true],
    ["file:///{+path}", "file:///", false],
    ["db://rows{?table,limit}", "db://rows?table=a&limit=2", true],
    ["db://rows{?table,limit}", "db://rows", true],
    ["db://rows{/segments*}", "db://rows/a/b", true],
    ["db://rows{.format}", "db://rows.json", true],
    ["db://rows{#part}", "db://rows#x", true],
    ["fixed://one", "fixed://one", true],
    ["fixed://one", "fixed://ones", false],
    ["broken://{open", "broken://{open", true],
    ["{+all}", "anything:at/all", true],
  ])("%s and %s: %s", (template, uri, expected) => {
    expect(uriTemplate(template).matches(uri)).toBe(expected);
  });

  test("MC-25 a template made to be slow is not", () => {
    const slow = uriTemplate(`x:${"{+a}".repeat(64)}!`);
    expect(slow.matches(`x:${"a".repeat(8_000)}`)).toBe(false);
    expect(slow.matches(`x:${"a".repeat(100_000)}!`)).toBe(false);
  });
});
