import { type JsonObject, newId, type World } from "../base/index.ts";
import type { ClientAnswer, UpstreamRequest } from "../relay/index.ts";
import { isObject } from "./body.ts";
import type { Target } from "./catalog.ts";
import type { Client } from "./era.ts";
import { code } from "./refusal.ts";
import type { Reply } from "./reply.ts";
import { relatedId, withRelated } from "./task-words.ts";
import type { ToolCall } from "./tool-call.ts";
import { linksOf, mark, mayAsk } from "./upstream-input.ts";

/** How long an older client may take to answer what a newer upstream wants to know. */
const ANSWER_MS = 10 * 60_000;

/** An older upstream's question in the middle of a call, as its client reads it; what it did not declare is refused. */
export async function askClient(
  { client, ask }: Pick<ToolCall, "client" | "ask">,
  { upstream, about }: Target,
  request: UpstreamRequest,
): Promise<ClientAnswer> {
  const { method, params, signal } = request;
  const task = relatedId(params);
  if (!ask || !mayAsk(client, { method, params: params ?? {} })) {
    return { error: { code: code.methodNotFound, message: "Method not found" } };
  }
  const plain = asked(client, upstream.name, method, params);
  if (task === undefined) return await ask({ method, params: plain, signal });
  // 2025-11-25 "Associating Task-Related Messages": the question and its answer name the task, each side by its own id.
  const known = client.era === "legacy" && task === about?.own ? about?.id : undefined;
  const answer = await ask({ method, params: withRelated(plain, known), signal });
  return "result" in answer ? { result: withRelated(answer.result, task as string) } : answer;
}

/**
 * A newer upstream's `inputRequests`, put to an older client one request each, side by side. Resolves with the
 * `inputResponses`; undefined when the client cannot be asked, or answers with an error.
 */
export async function inputResponses(
  world: World,
  { client, ask, signal }: ToolCall,
  { upstream, about }: Target,
  inputRequests: JsonObject,
): Promise<JsonObject | undefined> {
  const requests = Object.entries(inputRequests) as [string, JsonObject][];
  if (!ask || !requests.every(([, request]) => mayAsk(client, request))) return undefined;
  const withdrawal = new AbortController();
  const leave = () => withdrawal.abort();
  const late = setTimeout(leave, ANSWER_MS).unref();
  signal.addEventListener("abort", leave);
  try {
    const answers = requests.map(async ([key, { method, params }]) => {
      const plain = asked(client, upstream.name, method as string, isObject(params) ? params : {});
      const sent = withRelated(plain, about?.id);
      // 2025-11-25 wants an id for a page; 2026-07-28 has none.
      if (sent.mode === "url") sent.elicitationId = newId(world, "elicit");
      const answer = await ask({ method: method as string, params: sent, signal: withdrawal.signal });
      if ("error" in answer) withdrawal.abort();
      return [key, "result" in answer ? withRelated(answer.result, undefined) : undefined] as const;
    });
    const responses = await Promise.all(answers);
    if (responses.some(([, response]) => response === undefined)) return undefined;
    return Object.fromEntries(responses) as JsonObject;
  } finally {
    clearTimeout(late);
    signal.removeEventListener("abort", leave);
  }
}

/** In the words of the client's revision, under the upstream's name. */
function asked(client: Client, name: string, method: string, params: JsonObject | undefined): JsonObject {
  const marked = mark(name, { method, params: params ?? {} }).params as JsonObject;
  const { _meta, ...sent } = marked;
  if (isObject(_meta)) {
    // Progress of a question is not passed on, so none is asked for.
    const { progressToken: _, ...meta } = _meta;
    sent._meta = meta;
  }
  // No such member in 2026-07-28.
  if (client.era === "modern") delete sent.elicitationId;
  // Before 2025-11-25 a form is the only mode, and has no name.
  else if (client.version !== "2025-11-25" && sent.mode === "form") delete sent.mode;
  return sent;
}

/**
 * The -32042 of an older upstream, for clients that open pages: as it is where the client's revision knows it, as
 * `input_required` in 2026-07-28 (protocol section 1.8). Undefined: this client cannot be shown a page.
 */
export function pagesRequired(
  client: Client,
  { upstream }: Target,
  error: { code: number; message: string; data?: unknown },
  wrap: () => string,
): Reply | undefined {
  const listed = isObject(error.data) ? error.data.elicitations : undefined;
  if (error.code !== code.urlElicitationRequired || !Array.isArray(listed)) return undefined;
  const pages = listed.filter(
    (params): params is JsonObject =>
      isObject(params) && mayAsk(client, { method: "elicitation/create", params }),
  );
  if (pages.length === 0 || pages.length !== listed.length || linksOf(listed).length !== listed.length)
    return undefined;
  const shown = pages.map((params) => asked(client, upstream.name, "elicitation/create", params));
  if (client.era === "legacy") return { error: { ...error, data: { elicitations: shown } } };
  const requests = shown.map((params, at) => [`page${at + 1}`, { method: "elicitation/create", params }]);
  return {
    result: {
      resultType: "input_required",
      inputRequests: Object.fromEntries(requests),
      requestState: wrap(),
    },
  };
}
