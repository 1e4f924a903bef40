import { expect } from "vitest";
import type { Cell, Feature } from "./features.ts";
import { expectOnWire } from "./features-lists.ts";
import {
  everyContentOf,
  foreignMetaOf,
  foreignResultOf,
  rowOf,
  structuredList,
  structuredOf,
} from "./peer-content.ts";
import { type Json, modern } from "./revisions.ts";

const call = ({ client, upstream }: Cell, tool: string, args?: Json) =>
  client.callTool(`${upstream.name}-${tool}`, args);
const textOf = (result: Json): string => result.content[0].text;

/** Messages of the log go to the client that asked for them, in the way of its revision. */
async function heard(
  { client }: Cell,
  callWith: (options: { _meta?: Json }) => Promise<unknown>,
  word: string,
) {
  if (client.revision === modern) await callWith({ _meta: { "io.modelcontextprotocol/logLevel": "info" } });
  else {
    await client.setLogLevel("info");
    await callWith({});
  }
  return client.logs.first(({ data }) => data === word);
}

export const callFeatures: readonly Feature[] = [
  {
    name: "`tools/call`: text, images, audio, links, embedded resources",
    run: async (cell) => {
      const { content } = await call(cell, "content");
      const sent = everyContentOf(cell.upstream.name);
      expect(content).toMatchObject(sent.map(({ type }) => ({ type })));
      expectOnWire(cell, { content: sent });
    },
    everything: async (cell) => {
      expect(textOf(await call(cell, "echo", { message: "hi" }))).toBe("Echo: hi");
      const { content } = await call(cell, "get-annotated-message", {
        messageType: "error",
        includeImage: true,
      });
      expect(content).toMatchObject([{ annotations: { priority: 1 } }, { type: "image" }]);
      expect((await call(cell, "get-resource-links", { count: 2 })).content[2]).toMatchObject({
        type: "resource_link",
      });
      const reference = await call(cell, "get-resource-reference", { resourceType: "Blob", resourceId: 1 });
      expect(reference.content[1]).toMatchObject({
        type: "resource",
        resource: { blob: expect.any(String) },
      });
    },
  },
  {
    name: "unknown content and unknown fields, byte for byte",
    run: async (cell) => {
      // The SDKs refuse content that they do not know; it has come all the same.
      await call(cell, "foreign").catch(() => undefined);
      expectOnWire(cell, foreignResultOf(cell.upstream.name));
      expectOnWire(cell, foreignMetaOf(cell.upstream.name));
    },
  },
  {
    name: "`structuredContent`",
    upstream: { since: "2025-06-18", because: "it is of 2025-06-18" },
    run: async (cell) => {
      const { structuredContent } = await call(cell, "structured");
      expect(structuredContent).toEqual(structuredOf(cell.upstream.name));
    },
    everything: async (cell) => {
      const result = await call(cell, "get-structured-content", { location: "Chicago" });
      expect(result.structuredContent).toMatchObject({ temperature: 36 });
    },
  },
  {
    name: "`structuredContent` that is no object",
    client: {
      since: modern,
      because: "before 2026-07-28 it is an object (SEP-2106), and another value comes as text",
    },
    upstream: { since: modern, because: "" },
    run: async (cell) => expect((await call(cell, "list")).structuredContent).toEqual(structuredList),
    instead: async (cell) => {
      const result = await call(cell, "list");
      expect(result.structuredContent).toBeUndefined();
      expect(JSON.parse(textOf(result))).toEqual(structuredList);
    },
  },
  {
    name: "failed results and errors, with their data",
    run: async (cell) => {
      const failed = await call(cell, "fail");
      expect([failed.isError, textOf(failed)]).toEqual([true, "It failed, as asked"]);
      const error = await call(cell, "refuse").catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: 4711, data: { why: [1, { deep: true }] } });
      expect((error as Error).message).toContain("Refused, as asked");
      await expect(call(cell, "unheard-of")).rejects.toMatchObject({ code: -32602 });
      // It fits a template, so it is asked for, and the upstream knows none.
      const uri = rowOf(cell.upstream.name, "no-such");
      const unread = await cell.client.readResource(uri).catch((thrown: unknown) => thrown);
      // -32002 must not reach a client of 2026-07-28; -32602 is what a newer upstream says to an older one, too.
      const codes = cell.client.revision === modern ? [-32602] : [-32602, -32002];
      expect(codes).toContain((unread as { code?: unknown }).code);
    },
    everything: async (cell) => {
      const failed = await call(cell, "get-sum", { a: "no number", b: 1 });
      expect([failed.isError, textOf(failed)]).toEqual([true, expect.stringContaining("number")]);
    },
  },
  {
    name: "progress",
    run: async (cell) => {
      const { client, upstream } = cell;
      const steps: Json[] = [];
      await client.callTool(`${upstream.name}-count`, {}, { onprogress: (step) => void steps.push(step) });
      const message = (step: number) => `step ${step} of ${upstream.name}`;
      const expected = [1, 2, 3].map((progress) => ({ progress, message: message(progress) }));
      for (const step of expected) expectOnWire(cell, step);
      // Of events in one piece, the SDK hands over the answer first, and the progress of an answered call never.
      if (client.revision !== "2024-11-05") expect(steps).toMatchObject(expected);
    },
    everything: async ({ client }) => {
      const steps: Json[] = [];
      const name = "everything-trigger-long-running-operation";
      await client.callTool(
        name,
        { duration: 0.02, steps: 2 },
        { onprogress: (step) => void steps.push(step) },
      );
      // As above.
      if (client.revision !== "2024-11-05") expect(steps[0]).toMatchObject({ progress: 1, total: 2 });
    },
  },
  {
    name: "log messages",
    run: async (cell) => {
      const { client, upstream, token } = cell;
      const speak = (options: { _meta?: Json }) =>
        client.callTool(`${upstream.name}-speak`, { word: token }, options);
      expect(await heard(cell, speak, token)).toMatchObject({ level: "error", logger: "peer" });
    },
  },
  {
    name: "cancellation",
    run: async ({ client, upstream, token }) => {
      const leaving = new AbortController();
      const waiting = client.callTool(
        `${upstream.name}-wait`,
        { token },
        { signal: leaving.signal, onprogress: () => leaving.abort() },
      );
      await expect(waiting).rejects.toThrow();
      const told = await client.callTool(`${upstream.name}-was-cancelled`, { token });
      expect(textOf(told)).toBe(`${token} was cancelled`);
    },
  },
];
