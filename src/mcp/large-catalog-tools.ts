import type { ToolDefinition } from "../upstreams/index.ts";

/** No names of upstreams' tools: those have a hyphen after the upstream's name, and plain ones are not listed beside these. */
export const SEARCH_TOOLS = "search_tools";
export const CALL_TOOL = "call_tool";

/** How many tools one search shows, unless told, and at most. */
export const DEFAULT_FOUND = 8;
export const MOST_FOUND = 50;

const MAX_SERVERS = 40;

/** `servers`: the names of the upstreams whose tools it finds, in order. */
export function searchTools(servers: readonly string[]): ToolDefinition {
  const more = servers.length > MAX_SERVERS ? ` and ${servers.length - MAX_SERVERS} more` : "";
  return {
    name: SEARCH_TOOLS,
    title: "Search tools",
    description: `Finds the tools of: ${servers.slice(0, MAX_SERVERS).join(", ")}${more}. They are not listed by themselves. Search with a few words for what is to be done, then call what was found with ${CALL_TOOL}, under its name and with arguments as its inputSchema says. Searching changes nothing.`,
    inputSchema: {
      type: "object",
      properties: {
        query: {
          type: "string",
          description: "Words for what is to be done, or for a service. Empty: the first tools by name.",
        },
        limit: {
          type: "integer",
          minimum: 1,
          maximum: MOST_FOUND,
          default: DEFAULT_FOUND,
          description: "How many tools to show.",
        },
      },
      required: ["query"],
      additionalProperties: false,
    },
    outputSchema: {
      type: "object",
      properties: {
        tools: {
          type: "array",
          description: "The best first.",
          items: {
            type: "object",
            properties: {
              name: { type: "string" },
              title: { type: "string" },
              description: { type: "string" },
              inputSchema: { type: "object" },
              annotations: { type: "object" },
            },
            required: ["name"],
          },
        },
        more: { type: "integer", description: "How many more were found than are shown." },
      },
      required: ["tools", "more"],
    },
    annotations: { readOnlyHint: true, destructiveHint: false, idempotentHint: true, openWorldHint: false },
  };
}

/** What a tool behind it does is not known beforehand, so it promises nothing. */
export const callTool: ToolDefinition = {
  name: CALL_TOOL,
  title: "Call a tool",
  description: `Calls a tool that ${SEARCH_TOOLS} found and answers with its result. A tool's own annotations say whether it changes anything.`,
  inputSchema: {
    type: "object",
    properties: {
      name: { type: "string", description: `The tool's name, as ${SEARCH_TOOLS} gave it.` },
      arguments: { type: "object", description: "The tool's arguments, as its inputSchema says." },
    },
    required: ["name"],
    additionalProperties: false,
  },
  annotations: { readOnlyHint: false, destructiveHint: true, idempotentHint: false, openWorldHint: true },
};
