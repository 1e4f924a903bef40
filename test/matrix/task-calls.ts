import type { Client as Client1 } from "@modelcontextprotocol/sdk/client/index.js";
import { CallToolResultSchema } from "@modelcontextprotocol/sdk/types.js";
import type { Place } from "./place.ts";
import { type Json, modern } from "./revisions.ts";

/** Tasks as a client of either form has them. Rejects with `code` where it is refused. */
export interface TaskCalls {
  /** Calls a tool, as a task where its client has a say: the task as it began, or the result where there is none. */
  start(name: string, args?: Json): Promise<Json>;
  look(id: string): Promise<Json>;
  /** Waits for the end, and answers what is asked meanwhile. */
  result(id: string): Promise<Json>;
  cancel(id: string): Promise<unknown>;
  list(): Promise<unknown>;
}

/** 2025-11-25, of the official SDK v1. */
export function tasksOfSdk1(client: Client1): TaskCalls {
  const { tasks } = client.experimental;
  return {
    start: async (name, args) => {
      const said = tasks.callToolStream({ name, arguments: args }, CallToolResultSchema, {
        task: { ttl: 60_000 },
      });
      for await (const message of said) {
        if (message.type === "error") throw message.error;
        if (message.type === "taskCreated") return message.task;
      }
      throw new Error("the call ended without a word");
    },
    look: (id) => tasks.getTask(id),
    result: (id) => tasks.getTaskResult(id, CallToolResultSchema),
    cancel: (id) => tasks.cancelTask(id),
    list: () => tasks.listTasks(),
  };
}

const META = "io.modelcontextprotocol/";
const declared = { elicitation: { form: {}, url: {} }, extensions: { [`${META}tasks`]: {} } };

/** The extension of 2026-07-28, in plain messages: the official SDK refuses results that are tasks. */
export function tasksOfExtension(
  { url, fetch }: Place,
  key: string,
  elicited: (params: Json) => Json,
): TaskCalls {
  let sent = 0;
  const send = async (method: string, named: string, params: Json): Promise<Json> => {
    sent += 1;
    const _meta = {
      [`${META}protocolVersion`]: modern,
      [`${META}clientInfo`]: { name: "plain", version: "1" },
      [`${META}clientCapabilities`]: declared,
    };
    const response = await fetch(new URL("/mcp", url), {
      method: "POST",
      headers: {
        authorization: `Bearer ${key}`,
        accept: "application/json, text/event-stream",
        "content-type": "application/json",
        "mcp-protocol-version": modern,
        "mcp-method": method,
        "mcp-name": named,
      },
      body: JSON.stringify({ jsonrpc: "2.0", id: sent, method, params: { ...params, _meta } }),
    });
    const { result, error } = (await response.json()) as Json;
    if (error) throw Object.assign(new Error(error.message), error);
    return result;
  };
  const look = (taskId: string) => send("tasks/get", taskId, { taskId });
  const answer = async (taskId: string, inputRequests: Json) => {
    const answered = Object.entries(inputRequests).map(([name, { params }]) => [name, elicited(params)]);
    await send("tasks/update", taskId, { taskId, inputResponses: Object.fromEntries(answered) });
  };
  return {
    start: (name, args = {}) => send("tools/call", name, { name, arguments: args }),
    look,
    result: async (taskId) => {
      const seen = new Set<string>();
      for (;;) {
        const { status, inputRequests = {}, result, error, pollIntervalMs } = await look(taskId);
        if (status === "completed") return result;
        if (error) throw Object.assign(new Error(error.message), error);
        if (status === "cancelled") throw new Error("it was cancelled");
        // SEP-2663: the update may take a while to be seen; nobody is asked twice.
        const asked = Object.entries<Json>(inputRequests).filter(([name]) => !seen.has(name));
        for (const [name] of asked) seen.add(name);
        if (asked.length > 0) await answer(taskId, Object.fromEntries(asked));
        else await new Promise((resolve) => setTimeout(resolve, pollIntervalMs));
      }
    },
    cancel: (taskId) => send("tasks/cancel", taskId, { taskId }),
    list: () => send("tasks/list", "", {}),
  };
}
