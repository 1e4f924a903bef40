import { expect } from "vitest";
import type { Cell, Feature } from "./features.ts";
import { questions } from "./peer-content.ts";
import type { Json } from "./revisions.ts";

const ask = async ({ client, upstream }: Cell, what: string): Promise<string> =>
  textOf(await client.callTool(`${upstream.name}-ask`, { what }));
const textOf = (result: Json): string => result.content[0].text;
const asked = ({ client }: Cell) => client.asked.map(({ message }) => message);
const told = (text: string) => JSON.parse(/^told: (.*)$/.exec(text)![1]!);

/** A question that this client cannot be asked: an older upstream hears so, of a newer one the client reads. */
async function unasked(cell: Cell, what: string): Promise<void> {
  const text = await ask(cell, what);
  expect(text).toMatch(/^refused: |asks for more before it can go on/);
  const { message } = questions[what]!.params!;
  expect(asked(cell)).not.toContain(`[${cell.upstream.name}] ${message}`);
}

const elicitation =
  "elicitation is of 2025-06-18; an older server hears a refusal, of a newer one the client reads a text";
const pages = "pages (URL elicitation) are of 2025-11-25";

export const questionFeatures: readonly Feature[] = [
  {
    name: "sampling",
    run: async (cell) =>
      expect(told(await ask(cell, "sampling"))).toMatchObject({ content: { text: "something" } }),
    everything: async ({ client }) => {
      const args = { prompt: "p", maxTokens: 5 };
      expect(textOf(await client.callTool("everything-trigger-sampling-request", args))).toContain(
        "something",
      );
    },
  },
  {
    name: "roots",
    program: "it would keep one person's for everybody (decision 21)",
    run: async (cell) =>
      expect(told(await ask(cell, "roots")).roots).toEqual([{ uri: "file:///work", name: "Work" }]),
    everything: async ({ client }) => {
      const listed = await client.callTool("everything-get-roots-list");
      expect(textOf(listed)).toContain("file:///work");
    },
  },
  {
    name: "elicitation by form",
    client: { since: "2025-06-18", because: elicitation },
    upstream: { since: "2025-06-18", because: elicitation },
    run: async (cell) => {
      expect(told(await ask(cell, "form"))).toMatchObject({ action: "accept", content: { colour: "blue" } });
      expect(asked(cell)).toContain(`[${cell.upstream.name}] Which colour?`);
    },
    instead: (cell) => unasked(cell, "form"),
    everything: async ({ client }) => {
      const { content } = await client.callTool("everything-trigger-elicitation-request");
      expect(JSON.stringify(content)).toContain("Ann");
    },
  },
  {
    name: "elicitation by page",
    client: { since: "2025-11-25", because: pages },
    upstream: { since: "2025-11-25", because: pages },
    run: async (cell) => {
      const { client, upstream } = cell;
      expect(told(await ask(cell, "page"))).toMatchObject({ action: "accept" });
      const page = client.asked.find(({ message }) => message === `[${upstream.name}] Sign in there`);
      expect(page).toMatchObject({ mode: "url", url: "https://provider.example/sign-in" });
    },
    instead: (cell) => unasked(cell, "page"),
    everything: async ({ client }) => {
      const args = { url: "https://provider.example/x", message: "Go" };
      const { content } = await client.callTool("everything-trigger-url-elicitation", args);
      expect(JSON.stringify(content)).toContain("accept");
    },
  },
  {
    name: "the error -32042, which wants a page opened first",
    client: { since: "2025-11-25", because: `${pages}; the link comes as text` },
    upstream: { since: "2025-11-25", until: "2025-11-25", because: "2026-07-28 has `inputRequests` for it" },
    run: async ({ client, upstream, token }) => {
      const call = () => client.callTool(`${upstream.name}-page-first`, { token });
      // 2026-07-28: the client opens the page and repeats by itself. 2025-11-25: whoever called does.
      const opened = await call().catch((error) => {
        expect(error.code).toBe(-32042);
        expect(error.data.elicitations).toMatchObject([
          { mode: "url", url: `https://provider.example/${token}`, message: `[${upstream.name}] Open it` },
        ]);
        return call();
      });
      expect(textOf(opened)).toBe("the page was opened");
    },
    instead: async ({ client, upstream, token }) => {
      const result = await client.callTool(`${upstream.name}-page-first`, { token });
      expect(result.isError).toBe(true);
      expect(textOf(result)).toContain(`https://provider.example/${token}`);
    },
  },
];
