import {
  acceptedContent,
  completable,
  inputRequired,
  type McpServer,
  ResourceTemplate,
} from "@modelcontextprotocol/server";
import { z } from "zod";
import { PIXEL } from "./fixture-content.ts";
import { ask } from "./fixture-input.ts";

const user = (value: string) => ({ role: "user" as const, content: { type: "text" as const, text: value } });

/** The nth prompt that came while the suite ran. */
export function registerNewPrompt(server: McpServer, n: number): void {
  server.registerPrompt(`test_new_prompt_${n}`, { description: "Came while the suite ran" }, () => ({
    messages: [user("New")],
  }));
}

export function registerPrompts(server: McpServer): void {
  server.registerPrompt("test_simple_prompt", { description: "A prompt without arguments" }, () => ({
    messages: [user("This is a simple prompt for testing.")],
  }));
  const argument = (description: string) =>
    completable(z.string().describe(description), (value) => [`${value}-one`, `${value}-two`]);
  server.registerPrompt(
    "test_prompt_with_arguments",
    {
      description: "A prompt with two arguments",
      argsSchema: z.object({ arg1: argument("First test argument"), arg2: argument("Second test argument") }),
    },
    ({ arg1, arg2 }) => ({ messages: [user(`Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`)] }),
  );
  server.registerPrompt(
    "test_prompt_with_embedded_resource",
    { description: "A prompt with a resource", argsSchema: z.object({ resourceUri: z.string() }) },
    ({ resourceUri }) => ({
      messages: [
        {
          role: "user",
          content: {
            type: "resource",
            resource: {
              uri: resourceUri,
              mimeType: "text/plain",
              text: "Embedded resource content for testing.",
            },
          },
        },
        user("Please process the embedded resource above."),
      ],
    }),
  );
  server.registerPrompt("test_prompt_with_image", { description: "A prompt with an image" }, () => ({
    messages: [
      { role: "user", content: { type: "image", data: PIXEL, mimeType: "image/png" } },
      user("Please analyze the image above."),
    ],
  }));
  server.registerPrompt(
    "test_input_required_result_prompt",
    { description: "A prompt that asks" },
    (context) => {
      const given = acceptedContent(context.mcpReq.inputResponses, "user_context")?.context;
      if (typeof given === "string") return { messages: [user(`Context: ${given}`)] };
      const user_context = ask("What context should the prompt use?", { context: { type: "string" } });
      return inputRequired({ inputRequests: { user_context } });
    },
  );
}

export function registerResources(server: McpServer): void {
  const fixed = (name: string, uri: string, mimeType: string, content: { text: string } | { blob: string }) =>
    server.registerResource(name, uri, { description: `Resource ${name}`, mimeType }, () => ({
      contents: [{ uri, mimeType, ...content }],
    }));
  fixed("static-text", "test://static-text", "text/plain", {
    text: "This is the content of the static text resource.",
  });
  fixed("static-binary", "test://static-binary", "image/png", { blob: PIXEL });
  fixed("watched-resource", "test://watched-resource", "text/plain", { text: "Watched" });
  server.registerResource(
    "template",
    new ResourceTemplate("test://template/{id}/data", { list: undefined }),
    { description: "Data by id", mimeType: "application/json" },
    (uri, { id }) => ({
      contents: [
        {
          uri: uri.href,
          mimeType: "application/json",
          text: JSON.stringify({ id, templateTest: true, data: `Data for ID: ${id}` }),
        },
      ],
    }),
  );
}
