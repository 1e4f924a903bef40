import { z } from "zod";
import { JsonFault, type JsonObject, Problem, parseStrictJson } from "../base/index.ts";
import {
  answerWeb,
  type DirectContext,
  envelope,
  json,
  type PlainAnswer,
  type Route,
  type RouteContext,
  readJson,
} from "../http/index.ts";
import { route } from "../identity/index.ts";
import { isObject } from "./body.ts";
import type { ToolCalls } from "./call-tool.ts";
import type { Caller } from "./caller.ts";
import type { Client } from "./era.ts";
import { Refusal } from "./refusal.ts";
import type { Reply } from "./reply.ts";

type Work = (caller: Caller, headers: Record<string, string>) => Promise<PlainAnswer | Response>;

/** What the endpoint gives: callers are proved as on `/mcp`, and calls go the same way. */
export interface ToolDoor {
  calls: Pick<ToolCalls, "call">;
  guarded(context: DirectContext, slug: undefined, work: Work): Promise<PlainAnswer | Response>;
  preflight(context: DirectContext): Promise<Response>;
}

const PATH = "/v1/mcp/tool/execute";

const query = z.object({ format: z.enum(["chat", "responses"]).default("chat") });

/** A tool call as models of the two OpenAI interfaces write it; members that say nothing to us are theirs. */
const chatCall = z.looseObject({
  id: z.string().max(256).optional(),
  type: z.literal("function").default("function"),
  function: z.looseObject({ name: z.string(), arguments: z.string().default("{}") }),
});
const responsesCall = z.looseObject({
  type: z.literal("function_call").default("function_call"),
  call_id: z.string().max(256),
  name: z.string(),
  arguments: z.string().default("{}"),
});
const chatAnswer = z.object({ role: z.literal("tool"), tool_call_id: z.string(), content: z.string() });
const responsesAnswer = z.object({
  type: z.literal("function_call_output"),
  call_id: z.string(),
  output: z.string(),
});

/** `POST /v1/mcp/tool/execute` (contract section 7): one tool call in the OpenAI shapes. */
export function toolExecuteRoutes(door: ToolDoor): Route[] {
  const common = {
    path: PATH,
    tag: "MCP",
    access: "mcp",
    csrf: "none",
    rate: "none",
    errors: "envelope",
  } as const;
  return [
    route({
      ...common,
      method: "POST",
      operationId: "executeTool",
      summary: "One tool call in the shape of OpenAI's chat completions or responses",
      query,
      answers: { 200: { description: "What the tool said", schema: z.union([chatAnswer, responsesAnswer]) } },
      refuses: [400, 401, 403, 404, 413, 415, 429, 502, 503, 504],
      handle: (context) =>
        answerWeb(
          (direct) =>
            door.guarded(direct, undefined, (caller, headers) =>
              execute(door, context, context.query.format, caller, headers),
            ),
          context,
        ),
    }),
    route({
      ...common,
      method: "OPTIONS",
      operationId: "executeToolOptions",
      summary: "CORS preflight for the allowed origins",
      answers: { 204: { description: "What is allowed" } },
      refuses: [],
      handle: (context) => answerWeb((direct) => door.preflight(direct), context),
    }),
  ];
}

interface AskedCall {
  id: string;
  name: string;
  args: JsonObject;
}

async function execute(
  door: ToolDoor,
  { request, requestId }: Pick<RouteContext<unknown>, "request" | "requestId">,
  format: "chat" | "responses",
  caller: Caller,
  headers: Record<string, string>,
): Promise<Response> {
  const asked = readCall(format, await readJson(request), requestId);
  const reply = await callTool(door, caller, asked, request, requestId);
  if ("error" in reply) throw failure(reply);
  if (reply.required) return authRequired(reply.required, requestId, headers);
  const text = textOf(reply.result);
  const answer =
    format === "chat"
      ? { role: "tool", tool_call_id: asked.id, content: text }
      : { type: "function_call_output", call_id: asked.id, output: text };
  return json(answer, 200, headers);
}

/** What can be said of a client that only reads answers: no capability, no session. */
const plainClient: Client = { era: "legacy", version: "2025-11-25", capabilities: {}, opensUrls: false };

async function callTool(
  { calls }: ToolDoor,
  caller: Caller,
  { name, args }: AskedCall,
  { headers, signal }: Request,
  requestId: string,
): Promise<Reply> {
  try {
    const params = { name, arguments: args };
    return await calls.call({ caller, client: plainClient, params, headers, signal, requestId });
  } catch (error) {
    // ID-30: the one refusal of a well-formed call.
    if (error instanceof Refusal) throw new Problem("not_found", "tool_not_found", error.message);
    throw error;
  }
}

function readCall(format: "chat" | "responses", body: unknown, requestId: string): AskedCall {
  if (format === "chat") {
    const call = parse(chatCall, body);
    const { name, arguments: args } = call.function;
    return { id: call.id ?? requestId, name, args: readArguments(args, "function.arguments") };
  }
  const call = parse(responsesCall, body);
  return { id: call.call_id, name: call.name, args: readArguments(call.arguments, "arguments") };
}

function parse<S extends z.ZodType>(schema: S, body: unknown): z.output<S> {
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const param = issue?.path.join(".") || undefined;
  const isMissing = issue?.message.endsWith("received undefined") ?? false;
  const fault = isMissing ? `${param ?? "the body"} is missing` : issue?.message;
  throw new Problem("invalid", "invalid_request", `The tool call is not understood: ${fault}.`, { param });
}

function readArguments(text: string, param: string): JsonObject {
  const wrong = () =>
    new Problem("invalid", "invalid_arguments", "Send the arguments as the JSON text of an object.", {
      param,
    });
  if (text.trim() === "") return {};
  try {
    const value = parseStrictJson(new TextEncoder().encode(text));
    if (!isObject(value)) throw wrong();
    return value;
  } catch (error) {
    throw error instanceof JsonFault ? wrong() : error;
  }
}

/** Text blocks joined by line breaks; anything richer as the JSON of the whole content, so that nothing is lost. */
function textOf({ content, structuredContent }: JsonObject): string {
  const blocks = Array.isArray(content) ? content : [];
  if (blocks.length === 0) return structuredContent === undefined ? "" : JSON.stringify(structuredContent);
  const texts = blocks.map((block) => (isObject(block) && block.type === "text" ? block.text : undefined));
  return texts.every((text) => typeof text === "string") ? texts.join("\n") : JSON.stringify(blocks);
}

/** Not 401: the caller's own credential is good, and a client would begin to sign in again. */
function authRequired(required: JsonObject, requestId: string, headers: Record<string, string>): Response {
  const problem = new Problem("forbidden", "mcp_auth_required", String(required.message));
  const response = envelope(problem, requestId, { mcp_auth_required: required });
  for (const name in headers) response.headers.set(name, headers[name]!);
  return response;
}

/** A failed call: our own word for it where there is one, else the upstream's error as it stands. */
function failure({ error, failed, problem }: Extract<Reply, { error: unknown }>): Problem {
  if (problem) return problem;
  if (failed === undefined || failed === "cancelled")
    return new Problem("upstream", "upstream_error", `The server refused the call: ${error.message}`);
  return new Problem(failed === "upstream_timeout" ? failed : "upstream", failed, error.message);
}
