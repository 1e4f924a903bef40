import { expect } from "vitest";
import type { Cell, Feature } from "./features.ts";
import {
  blobUriOf,
  contentsOf,
  greetingOf,
  MANY_PROMPTS,
  PAGE_TYPE,
  pageOf,
  promptsOf,
  resourcesOf,
  rowOf,
  templateOf,
  templatesOf,
  toolsOf,
  uriOf,
} from "./peer-content.ts";
import { firstWithTasks, taskToolNames } from "./peer-tasks.ts";
import type { Json } from "./revisions.ts";

/** The members of `value` stand on the wire as they are, whatever an SDK made of them. */
export function expectOnWire({ client }: Cell, value: Json): void {
  const missing = Object.entries(value)
    .map(([name, member]) => `${JSON.stringify(name)}:${JSON.stringify(member)}`)
    .filter((text) => !client.wire.has(text));
  expect(missing).toEqual([]);
}

const named = (items: Json[], member: string, value: string) => items.find((item) => item[member] === value);

export const listFeatures: readonly Feature[] = [
  {
    name: "`tools/list`, every field kept",
    run: async (cell) => {
      const { client, upstream } = cell;
      const listed = (await client.listTools()).map(({ name }) => name);
      const own = toolsOf(upstream.name).map((tool) => ({ ...tool, name: `${upstream.name}-${tool.name}` }));
      const isOwn = (name: string) => name.startsWith(`${upstream.name}-`);
      const more = upstream.revision < firstWithTasks ? [] : taskToolNames;
      const names = [...own.map(({ name }) => name), ...more.map((name) => `${upstream.name}-${name}`)];
      expect(listed.filter(isOwn)).toEqual(names.toSorted());
      for (const tool of own) expectOnWire(cell, tool);
    },
    everything: async ({ client }) => {
      const echo = named(await client.listTools(), "name", "everything-echo");
      expect(echo).toMatchObject({ title: "Echo Tool", inputSchema: { type: "object" } });
    },
  },
  {
    name: "`resources/list`, `resources/read`",
    run: async (cell) => {
      const { client, upstream } = cell;
      const listed = await client.listResources();
      for (const resource of resourcesOf(upstream.name)) {
        expect(named(listed, "uri", resource.uri)).toMatchObject({ name: resource.name });
        expectOnWire(cell, resource);
      }
      for (const uri of [uriOf(upstream.name), blobUriOf(upstream.name)]) {
        expect((await client.readResource(uri)).contents).toHaveLength(1);
        expectOnWire(cell, { contents: contentsOf(upstream.name, uri)! });
      }
    },
    everything: async ({ client }) => {
      const uri = "demo://resource/static/document/features.md";
      expect(named(await client.listResources(), "uri", uri)).toMatchObject({ mimeType: "text/markdown" });
      expect((await client.readResource(uri)).contents).toMatchObject([
        { uri, text: expect.stringContaining("#") },
      ]);
    },
  },
  {
    name: "`resources/templates/list`, and reading what fits one",
    run: async (cell) => {
      const { client, upstream } = cell;
      const listed = await client.listTemplates();
      expect(named(listed, "uriTemplate", templateOf(upstream.name))).toMatchObject({ title: "A row" });
      for (const template of templatesOf(upstream.name)) expectOnWire(cell, template);
      const uri = rowOf(upstream.name, "seven");
      expect((await client.readResource(uri)).contents).toEqual(contentsOf(upstream.name, uri));
    },
    everything: async ({ client }) => {
      const uriTemplate = "demo://resource/dynamic/text/{resourceId}";
      expect(named(await client.listTemplates(), "uriTemplate", uriTemplate)).toBeDefined();
      const read = await client.readResource("demo://resource/dynamic/text/3");
      expect(read.contents).toMatchObject([{ text: expect.stringContaining("Resource 3") }]);
    },
  },
  {
    name: "pages of MCP Apps (`ui://`)",
    run: async (cell) => {
      const { client, upstream } = cell;
      const uri = pageOf(upstream.name);
      const { contents } = await client.readResource(uri);
      expect(contents).toMatchObject([{ uri, mimeType: PAGE_TYPE }]);
      expectOnWire(cell, { contents: contentsOf(upstream.name, uri)! });
      const tool = named(await client.listTools(), "name", `${upstream.name}-show`);
      expect(tool?._meta).toMatchObject({ ui: { resourceUri: uri } });
    },
  },
  {
    name: "`prompts/list`, `prompts/get`",
    run: async (cell) => {
      const { client, upstream } = cell;
      const name = `${upstream.name}-greet`;
      expect(named(await client.listPrompts(), "name", name)).toMatchObject({ title: "Greet" });
      expectOnWire(cell, { ...promptsOf(upstream.name)[0], name });
      expect(await client.getPrompt(name, { who: "Ada" })).toMatchObject({ description: "A greeting" });
      expectOnWire(cell, greetingOf(upstream.name, "Ada"));
    },
    everything: async ({ client }) => {
      expect(named(await client.listPrompts(), "name", "everything-args-prompt")).toBeDefined();
      const { messages } = await client.getPrompt("everything-args-prompt", {
        city: "Graz",
        state: "Styria",
      });
      expect(messages).toMatchObject([{ content: { text: "What's weather in Graz, Styria?" } }]);
    },
  },
  {
    name: "pages of lists, with cursors of the gateway's own",
    run: async ({ client, upstream }) => {
      const names = (await client.listPrompts()).map(({ name }) => name);
      expect(names.length).toBeGreaterThan(1_000);
      expect(client.wire.has('"nextCursor"')).toBe(true);
      expect(names.filter((name) => name.startsWith(`${upstream.name}-many-`))).toHaveLength(MANY_PROMPTS);
      expect(new Set(names).size).toBe(names.length);
    },
  },
  {
    name: "`completion/complete`",
    run: async ({ client, upstream }) => {
      const argument = { name: "who", value: "A" };
      const prompt = { ref: { type: "ref/prompt", name: `${upstream.name}-greet` }, argument };
      expect((await client.complete(prompt)).completion.values).toEqual(["A-greet"]);
      const uri = templateOf(upstream.name);
      const row = { ref: { type: "ref/resource", uri }, argument, context: { arguments: { before: "b" } } };
      expect((await client.complete(row)).completion.values).toEqual([`A-${uri}`, "with b"]);
    },
    everything: async ({ client }) => {
      const { completion } = await client.complete({
        ref: { type: "ref/prompt", name: "everything-completable-prompt" },
        argument: { name: "name", value: "A" },
        context: { arguments: { department: "Engineering" } },
      });
      expect(completion.values).toEqual(["Alice"]);
    },
  },
];
