import type { Json } from "./revisions.ts";

const PIXEL =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
const icons = [{ src: `data:image/png;base64,${PIXEL}`, mimeType: "image/png", sizes: ["1x1"] }];
/** Members that no revision knows; they say whose they are, so that nothing counts as kept that another peer sent. */
const unknownOf = (peer: string) => ({ "x-kept": { peer, deep: [1, 2.5, null, "ü ☃ \u2028"], empty: {} } });

/** Every kind of content that a revision names, with annotations and `_meta`. */
export const everyContentOf = (peer: string): Json[] => [
  { type: "text", text: `line\nü ☃ 😀 ${peer}`, annotations: { audience: ["user"], priority: 0.5 } },
  { type: "image", data: PIXEL, mimeType: "image/png", _meta: { "example.test/of": peer } },
  { type: "audio", data: "UklGRiQAAABXQVZF", mimeType: "audio/wav" },
  { type: "resource_link", uri: "https://example.test/a", name: "A", title: "An A", mimeType: "text/html" },
  { type: "resource", resource: { uri: "example:text", mimeType: "text/plain", text: "embedded" } },
  { type: "resource", resource: { uri: "example:blob", mimeType: "image/png", blob: PIXEL } },
];

/** A result whose members no revision knows, and kinds of content that none has. */
export const foreignResultOf = (peer: string): Json => ({
  content: [
    { type: "text", text: "known", ...unknownOf(peer) },
    { type: "hologram", depth: 3, ...unknownOf(peer) },
  ],
  isError: false,
  "x-result": unknownOf(peer),
});
/** What stands in `_meta` beside what a hop writes there. */
export const foreignMetaOf = (peer: string): Json => ({ "example.test/kept": unknownOf(peer) });

export const structuredOf = (peer: string): Json => ({ total: 2, rows: [{ id: 1 }, { peer }] });
/** 2026-07-28 alone: structured content of any kind. */
export const structuredList = [1, "two", { three: 3 }];

const nothing = { type: "object", properties: {} };
const text = (name: string) => ({ type: "object", properties: { [name]: { type: "string" } } });

export function toolsOf(peer: string): Json[] {
  const tool = (name: string, more: Json = {}): Json => ({ name, inputSchema: nothing, ...more });
  return [
    tool("content"),
    tool("foreign"),
    tool("structured", { outputSchema: { type: "object", properties: { total: { type: "number" } } } }),
    tool("list"),
    tool("count", { description: "Counts to three" }),
    tool("speak", { inputSchema: text("word") }),
    tool("wait", { inputSchema: text("token") }),
    tool("was-cancelled", { inputSchema: text("token") }),
    tool("has-begun", { inputSchema: text("token") }),
    tool("ask", { inputSchema: text("what") }),
    tool("page-first", { inputSchema: text("token") }),
    tool("add-resource", { inputSchema: text("token") }),
    tool("write"),
    tool("fail"),
    tool("refuse"),
    tool("show", {
      title: "Show it",
      description: "Everything a definition can have",
      inputSchema: {
        $schema: "https://json-schema.org/draft/2020-12/schema",
        ...text("what"),
        ...unknownOf(peer),
      },
      outputSchema: { type: "object", properties: { n: { type: "integer" } }, required: [] },
      annotations: { title: "Show", readOnlyHint: true, openWorldHint: false },
      icons,
      _meta: { ui: { resourceUri: pageOf(peer), ...unknownOf(peer) } },
      ...unknownOf(peer),
    }),
  ];
}

export const uriOf = (peer: string) => `matrix://${peer}/readme`;
export const blobUriOf = (peer: string) => `matrix://${peer}/pixel`;
export const templateOf = (peer: string) => `matrix://${peer}/rows/{id}`;
export const laterOf = (peer: string, token: string) => `matrix://${peer}/later/${token}`;
export const rowOf = (peer: string, id: string) => `matrix://${peer}/rows/${id}`;
export const pageOf = (peer: string) => `ui://${peer}/view.html`;
export const PAGE_TYPE = "text/html;profile=mcp-app";

export function resourcesOf(peer: string): Json[] {
  return [
    {
      uri: uriOf(peer),
      name: "readme",
      title: "Read me",
      mimeType: "text/plain",
      size: 3,
      icons,
      ...unknownOf(peer),
    },
    { uri: blobUriOf(peer), name: "pixel", mimeType: "image/png", annotations: { priority: 1 } },
    { uri: pageOf(peer), name: "view", mimeType: PAGE_TYPE, _meta: { ui: { prefersBorder: true } } },
  ];
}

export function contentsOf(peer: string, uri: string): Json[] | undefined {
  const row = /\/rows\/(\w+)$/.exec(uri)?.[1];
  if (row) return [{ uri, mimeType: "application/json", text: JSON.stringify({ row, peer }) }];
  if (uri === uriOf(peer)) return [{ uri, mimeType: "text/plain", text: `read ${peer}`, ...unknownOf(peer) }];
  if (uri === blobUriOf(peer)) return [{ uri, mimeType: "image/png", blob: PIXEL }];
  if (uri === pageOf(peer))
    return [
      { uri, mimeType: PAGE_TYPE, text: "<p>hello</p>", _meta: { ui: { csp: { connectDomains: [] } } } },
    ];
  return undefined;
}

export function templatesOf(peer: string): Json[] {
  return [
    {
      uriTemplate: templateOf(peer),
      name: "row",
      title: "A row",
      mimeType: "application/json",
      ...unknownOf(peer),
    },
  ];
}

/** More than one page of ours, once all peers have theirs. */
export const MANY_PROMPTS = 210;

export function promptsOf(peer: string): Json[] {
  const greet = {
    name: "greet",
    title: "Greet",
    description: "Greets",
    arguments: [{ name: "who", description: "Whom", required: true, ...unknownOf(peer) }],
    icons,
    ...unknownOf(peer),
  };
  const many = Array.from({ length: MANY_PROMPTS }, (_, at) => ({
    name: `many-${String(at).padStart(3, "0")}`,
  }));
  return [greet, ...many];
}

export const greetingOf = (peer: string, who: string): Json => ({
  description: "A greeting",
  messages: [
    { role: "user", content: { type: "text", text: `Hello ${who}`, ...unknownOf(peer) } },
    { role: "assistant", content: everyContentOf(peer)[4] },
  ],
  ...unknownOf(peer),
});

/** What an upstream asks for in the middle of a call, in the words of 2025-11-25. */
export const questions: Readonly<Record<string, { method: string; params?: Json }>> = {
  form: {
    method: "elicitation/create",
    params: {
      message: "Which colour?",
      requestedSchema: { type: "object", properties: { colour: { type: "string" } } },
    },
  },
  page: {
    method: "elicitation/create",
    params: { mode: "url", message: "Sign in there", url: "https://provider.example/sign-in" },
  },
  sampling: {
    method: "sampling/createMessage",
    params: { messages: [{ role: "user", content: { type: "text", text: "Say something" } }], maxTokens: 10 },
  },
  roots: { method: "roots/list" },
};
