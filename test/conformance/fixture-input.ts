import {
  acceptedContent,
  type CallToolResult,
  CLIENT_CAPABILITIES_META_KEY,
  type ClientCapabilities,
  type ElicitRequestFormParams,
  type InputRequiredResult,
  inputRequired,
  inputResponse,
  type McpServer,
  type RequestStateCodec,
  type ServerContext,
} from "@modelcontextprotocol/server";
import { z } from "zod";
import { text } from "./fixture-content.ts";
import { progress } from "./fixture-tools.ts";

type Form = ElicitRequestFormParams["requestedSchema"];
type Answer = CallToolResult | InputRequiredResult;
/** What the fixture remembers between rounds. */
export interface RoundState {
  step: number;
}

/**
 * The tools that ask. Written once for both eras: to a 2026-07-28 client the question is the answer (SEP-2322), to an older
 * one the SDK sends it as a request of its own.
 */
export function registerAskingTools(server: McpServer, states: RequestStateCodec<RoundState>): void {
  registerOlder(server);
  registerBasic(server);
  registerStateful(server, states);
  registerPicky(server);
}

function registerOlder(server: McpServer): void {
  server.registerTool(
    "test_sampling",
    { description: "Asks the model", inputSchema: z.object({ prompt: z.string() }) },
    ({ prompt }, context) => {
      const said = inputResponse(context.mcpReq.inputResponses, "sampling");
      if (said.kind === "sampling") return text(`LLM response: ${JSON.stringify(said.result.content)}`);
      return inputRequired({ inputRequests: { sampling: sampling(prompt) } });
    },
  );
  server.registerTool(
    "test_elicitation",
    { description: "Asks the user", inputSchema: z.object({ message: z.string() }) },
    ({ message }, context) =>
      elicited(context, message, "User response: ", {
        type: "object",
        properties: {
          username: { type: "string", description: "User's response" },
          email: { type: "string", description: "User's email address" },
        },
        required: ["username", "email"],
      }),
  );
  server.registerTool("test_elicitation_sep1034_defaults", { description: "Asks with defaults" }, (context) =>
    elicited(context, "Please review", "Elicitation completed: ", {
      type: "object",
      properties: {
        name: { type: "string", default: "John Doe" },
        age: { type: "integer", default: 30 },
        score: { type: "number", default: 95.5 },
        status: { type: "string", enum: ["active", "inactive", "pending"], default: "active" },
        verified: { type: "boolean", default: true },
      },
    }),
  );
  server.registerTool("test_elicitation_sep1330_enums", { description: "Asks with choices" }, (context) =>
    elicited(context, "Please choose", "Elicitation completed: ", enums),
  );
}

const titled = (prefix: string) =>
  ["First", "Second", "Third"].map((title, index) => ({
    const: `value${index + 1}`,
    title: `${title} ${prefix}`,
  }));
const options = ["option1", "option2", "option3"];
const enums: Form = {
  type: "object",
  properties: {
    untitledSingle: { type: "string", enum: options },
    titledSingle: { type: "string", oneOf: titled("Option") },
    legacyEnum: {
      type: "string",
      enum: ["opt1", "opt2", "opt3"],
      enumNames: ["Option One", "Option Two", "Option Three"],
    },
    untitledMulti: { type: "array", items: { type: "string", enum: options } },
    titledMulti: { type: "array", items: { anyOf: titled("Choice") } },
  },
};

function elicited(context: ServerContext, message: string, prefix: string, requestedSchema: Form): Answer {
  const said = inputResponse(context.mcpReq.inputResponses, "answer");
  if (said.kind === "elicit")
    return text(`${prefix}action=${said.action}, content=${JSON.stringify(said.content ?? {})}`);
  return inputRequired({ inputRequests: { answer: inputRequired.elicit({ message, requestedSchema }) } });
}

function registerBasic(server: McpServer): void {
  server.registerTool("test_input_required_result_elicitation", { description: "Asks a name" }, (context) => {
    const name = acceptedContent(context.mcpReq.inputResponses, "user_name")?.name;
    if (typeof name === "string") return text(`Hello, ${name}!`);
    return inputRequired({ inputRequests: { user_name: askName("What is your name?") } });
  });
  server.registerTool("test_input_required_result_sampling", { description: "Asks a model" }, (context) => {
    const said = inputResponse(context.mcpReq.inputResponses, "capital_question");
    if (said.kind === "sampling") return text(JSON.stringify(said.result.content));
    return inputRequired({ inputRequests: { capital_question: sampling("What is the capital of France?") } });
  });
  server.registerTool("test_input_required_result_list_roots", { description: "Asks roots" }, (context) => {
    const said = inputResponse(context.mcpReq.inputResponses, "client_roots");
    if (said.kind === "roots") return text(said.roots.map((root) => root.uri).join(" "));
    return inputRequired({ inputRequests: { client_roots: inputRequired.listRoots() } });
  });
  // Without declared sampling the SDK refuses what is asked here with -32021.
  server.registerTool("test_missing_capability", { description: "Needs a model" }, (context) => {
    if (context.mcpReq.inputResponses) return text("There is a model");
    return inputRequired({ inputRequests: { capital_question: sampling("What is the capital of France?") } });
  });
  server.registerTool(
    "test_streaming_elicitation",
    { description: "Asks over a stream" },
    async (context) => {
      await progress(context, 0);
      const name = acceptedContent(context.mcpReq.inputResponses, "user_name")?.name;
      if (typeof name === "string") return text(`Hello, ${name}!`);
      return inputRequired({ inputRequests: { user_name: askName("What is your name?") } });
    },
  );
}

function registerStateful(server: McpServer, states: RequestStateCodec<RoundState>): void {
  const confirm = (name: string) =>
    server.registerTool(name, { description: "Asks and remembers" }, async (context) => {
      const answered = acceptedContent(context.mcpReq.inputResponses, "confirm")?.ok === true;
      if (answered && context.mcpReq.requestState<RoundState>()?.step === 1) return text("state-ok");
      return inputRequired({
        inputRequests: { confirm: ask("Please confirm", { ok: { type: "boolean" } }) },
        requestState: await states.mint({ step: 1 }),
      });
    });
  confirm("test_input_required_result_request_state");
  confirm("test_input_required_result_tampered_state");
  server.registerTool(
    "test_input_required_result_multiple_inputs",
    { description: "Asks thrice" },
    async (context) => {
      const said = context.mcpReq.inputResponses;
      const greeting = inputResponse(said, "greeting");
      const roots = inputResponse(said, "client_roots");
      const name = acceptedContent(said, "user_name")?.name;
      if (typeof name === "string" && greeting.kind === "sampling" && roots.kind === "roots")
        return text(`${name}, ${roots.roots.length} roots`);
      return inputRequired({
        inputRequests: {
          user_name: askName("What is your name?"),
          greeting: sampling("Generate a greeting", 50),
          client_roots: inputRequired.listRoots(),
        },
        requestState: await states.mint({ step: 1 }),
      });
    },
  );
  server.registerTool(
    "test_input_required_result_multi_round",
    { description: "Asks twice" },
    async (context) => {
      const step = context.mcpReq.requestState<RoundState>()?.step ?? 0;
      const said = context.mcpReq.inputResponses;
      if (step === 2 && acceptedContent(said, "step2")) return text("Both steps are done");
      if (step >= 1 && (step === 2 || acceptedContent(said, "step1"))) {
        const color = ask("Step 2: What is your favorite color?", { color: { type: "string" } });
        return inputRequired({
          inputRequests: { step2: color },
          requestState: await states.mint({ step: 2 }),
        });
      }
      const step1 = askName("Step 1: What is your name?");
      return inputRequired({ inputRequests: { step1 }, requestState: await states.mint({ step: 1 }) });
    },
  );
}

/** Asks only what the client declared it can answer. */
function registerPicky(server: McpServer): void {
  server.registerTool(
    "test_input_required_result_capabilities",
    { description: "Asks what it may" },
    (context) => {
      const can = declaredCapabilities(server, context);
      const inputRequests = {
        ...(can?.sampling && { capital_question: sampling("What is the capital of France?") }),
        ...(can?.elicitation && { user_name: askName("What is your name?") }),
      };
      if (Object.keys(inputRequests).length === 0 || context.mcpReq.inputResponses)
        return text("Nothing (more) to ask");
      return inputRequired({ inputRequests });
    },
  );
}

/** What the client says it can do: with each request of 2026-07-28, before that when its session began. */
function declaredCapabilities({ server }: McpServer, context: ServerContext): ClientCapabilities | undefined {
  const envelope: Record<string, unknown> | undefined = context.mcpReq.envelope;
  const said = envelope?.[CLIENT_CAPABILITIES_META_KEY] as ClientCapabilities | undefined;
  return said ?? server.getClientCapabilities();
}

export function askName(message: string) {
  return ask(message, { name: { type: "string" } });
}

export function ask(message: string, properties: Form["properties"]) {
  const requestedSchema: Form = { type: "object", properties, required: Object.keys(properties) };
  return inputRequired.elicit({ message, requestedSchema });
}

function sampling(prompt: string, maxTokens = 100) {
  return inputRequired.createMessage({
    messages: [{ role: "user", content: { type: "text", text: prompt } }],
    maxTokens,
  });
}
