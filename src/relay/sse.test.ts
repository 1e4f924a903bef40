import fc from "fast-check";
import { expect, test } from "vitest";
import { SseReader } from "./sse.ts";

function read(chunks: Uint8Array[]): string[] {
  const reader = new SseReader(1_000_000);
  return chunks.flatMap((chunk) => reader.push(chunk));
}

const bytes = (text: string) => new TextEncoder().encode(text);

test.each([
  ["one event", "data: a\n\n", ["a"]],
  ["no space", "data:a\n\n", ["a"]],
  ["several lines", "data: a\ndata: b\n\n", ["a\nb"]],
  ["CR and CRLF", "data: a\r\rdata: b\r\n\r\n", ["a", "b"]],
  ["a comment, an id and a retry", ": hi\nid: 1\nretry: 5\ndata: a\n\n", ["a"]],
  ["the priming event", "id: 1\ndata:\n\ndata: a\n\n", ["a"]],
  ["another event", "event: endpoint\ndata: /x\n\nevent: message\ndata: a\n\n", ["a"]],
  ["an event without its blank line", "data: a\n", []],
])("%s", (_name, text, expected) => {
  expect(read([bytes(text)])).toEqual(expected);
});

test("every way of cutting the bytes gives the same events", () => {
  const text = 'event: message\r\ndata: {"a":"ü€😀"}\r\n\r\n: c\rdata: 1\rdata: 2\r\rdata: z\n\n';
  const expected = read([bytes(text)]);
  expect(expected).toEqual(['{"a":"ü€😀"}', "1\n2", "z"]);
  fc.assert(
    fc.property(fc.array(fc.nat({ max: bytes(text).length })), (cuts) => {
      const places = [0, ...cuts.sort((a, b) => a - b), bytes(text).length];
      const chunks = places.slice(1).map((end, at) => bytes(text).slice(places[at], end));
      expect(read(chunks)).toEqual(expected);
    }),
  );
});

test("bytes that are no UTF-8 are refused (MC-10)", () => {
  expect(() => read([Uint8Array.of(0x64, 0xc0, 0xaf, 0x0a)])).toThrow("upstream_protocol");
});

test.each([
  ["the id of the last complete event", "id: 1\ndata: a\n\nid: 2\ndata:\n\nid: 3\ndata: b\n", "2"],
  ["an id that stays", "id: 1\ndata: a\n\ndata: b\n\n", "1"],
  ["an id that is taken back", "id: 1\ndata: a\n\nid:\ndata: b\n\n", undefined],
  ["no header value", "id: \u0001\ndata: a\n\n", undefined],
  ["a very long one", `id: ${"x".repeat(1_025)}\ndata: a\n\n`, undefined],
])("where to take it up again: %s", (_name, text, expected) => {
  const reader = new SseReader(1_000_000);
  reader.push(bytes(text));
  expect(reader.lastEventId).toBe(expected);
});

test("`retry` is a number of milliseconds, or nothing", () => {
  const reader = new SseReader(1_000_000);
  reader.push(bytes("retry: 50\nretry: soon\nretry: -1\nretry: 99999999999999\n\n"));
  expect(reader.retryMs).toBe(50);
});
