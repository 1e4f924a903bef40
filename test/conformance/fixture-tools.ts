import { fromJsonSchema, type McpServer, type ServerContext } from "@modelcontextprotocol/server";
import { z } from "zod";
import { PIXEL, pause, SILENCE, text } from "./fixture-content.ts";

/** What a tool of the fixture can do besides answering. */
export interface FixtureHooks {
  toolsChanged(): void;
  promptsChanged(): void;
}

/** The plain tools of the suite's server scenarios: content types, errors, log messages, progress, schemas. */
export function registerTools(server: McpServer, hooks: FixtureHooks): void {
  registerContent(server);
  registerMessages(server);
  registerSchemas(server);
  registerProbes(server, hooks);
}

/** The nth tool that came while the suite ran. */
export function registerNewTool(server: McpServer, n: number): void {
  server.registerTool(`test_new_tool_${n}`, { description: "Came while the suite ran" }, () => text("New"));
}

function registerContent(server: McpServer): void {
  server.registerTool("test_simple_text", { description: "Answers with text" }, () =>
    text("This is a simple text response for testing."),
  );
  server.registerTool("test_image_content", { description: "Answers with an image" }, () => ({
    content: [{ type: "image", data: PIXEL, mimeType: "image/png" }],
  }));
  server.registerTool("test_audio_content", { description: "Answers with audio" }, () => ({
    content: [{ type: "audio", data: SILENCE, mimeType: "audio/wav" }],
  }));
  server.registerTool("test_embedded_resource", { description: "Answers with a resource" }, () => ({
    content: [
      {
        type: "resource",
        resource: {
          uri: "test://embedded-resource",
          mimeType: "text/plain",
          text: "This is an embedded resource content.",
        },
      },
    ],
  }));
  server.registerTool("test_multiple_content_types", { description: "Answers with three kinds" }, () => ({
    content: [
      { type: "text", text: "Multiple content types test:" },
      { type: "image", data: PIXEL, mimeType: "image/png" },
      {
        type: "resource",
        resource: {
          uri: "test://mixed-content-resource",
          mimeType: "application/json",
          text: JSON.stringify({ test: "data", value: 123 }),
        },
      },
    ],
  }));
  server.registerTool("test_error_handling", { description: "Always fails" }, () => ({
    ...text("This tool intentionally returns an error for testing"),
    isError: true,
  }));
}

function registerMessages(server: McpServer): void {
  server.registerTool("test_tool_with_logging", { description: "Logs three times" }, async (context) => {
    await context.mcpReq.log("info", "Tool execution started");
    await pause(50);
    await context.mcpReq.log("info", "Tool processing data");
    await pause(50);
    await context.mcpReq.log("info", "Tool execution completed");
    return text("Logged three times");
  });
  server.registerTool("test_logging_tool", { description: "Logs once" }, async (context) => {
    await context.mcpReq.log("info", "Tool was called");
    return text("Logged once");
  });
  server.registerTool("test_tool_with_progress", { description: "Reports progress" }, async (context) => {
    await progress(context, 0);
    await pause(50);
    await progress(context, 50);
    await pause(50);
    await progress(context, 100);
    return text("Reported progress");
  });
  // SEP-1699: ends the stream in mid-call; the answer waits for the client to come back.
  server.registerTool("test_reconnection", { description: "Closes its own stream" }, async (context) => {
    context.http?.closeSSE?.();
    await pause(100);
    return text("Answered after the stream was closed");
  });
}

export async function progress(context: ServerContext, done: number): Promise<void> {
  const progressToken = context.mcpReq._meta?.progressToken;
  if (progressToken === undefined) return;
  await context.mcpReq.notify({
    method: "notifications/progress",
    params: { progressToken, progress: done, total: 100 },
  });
}

function registerSchemas(server: McpServer): void {
  server.registerTool(
    "json_schema_2020_12_tool",
    {
      description: "Tool with JSON Schema 2020-12 features",
      inputSchema: fromJsonSchema<Record<string, unknown>>({
        $schema: "https://json-schema.org/draft/2020-12/schema",
        type: "object",
        $defs: {
          address: {
            $anchor: "addressDef",
            type: "object",
            properties: { street: { type: "string" }, city: { type: "string" } },
          },
        },
        properties: {
          name: { type: "string" },
          address: { $ref: "#/$defs/address" },
          contactMethod: { type: "string", enum: ["phone", "email"] },
          phone: { type: "string" },
          email: { type: "string" },
        },
        allOf: [{ anyOf: [{ required: ["phone"] }, { required: ["email"] }] }],
        if: { properties: { contactMethod: { const: "phone" } }, required: ["contactMethod"] },
        // biome-ignore lint/suspicious/noThenProperty: a JSON Schema keyword
        then: { required: ["phone"] },
        else: { required: ["email"] },
        additionalProperties: false,
      }),
    },
    (input) => text(JSON.stringify(input)),
  );
  server.registerTool(
    "test_custom_header",
    {
      description: "Names a region, in a header as well",
      inputSchema: fromJsonSchema<{ region: string }>({
        type: "object",
        properties: { region: { type: "string", ["x-mcp-header" as string]: "Region" } },
        required: ["region"],
      }),
    },
    ({ region }) => text(`Region ${region}`),
  );
}

function registerProbes(server: McpServer, hooks: FixtureHooks): void {
  server.registerTool(
    "test_trigger_tool_change",
    { description: "Adds a tool, and says that the tools changed" },
    () => {
      hooks.toolsChanged();
      return text("Said so");
    },
  );
  server.registerTool(
    "test_trigger_prompt_change",
    { description: "Adds a prompt, and says that the prompts changed" },
    () => {
      hooks.promptsChanged();
      return text("Said so");
    },
  );
  server.registerTool(
    "test_greeting",
    { description: "Greets", inputSchema: z.object({ name: z.string() }) },
    ({ name }) => text(`Hello, ${name}!`),
  );
}
