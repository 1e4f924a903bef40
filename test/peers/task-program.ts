// A program that runs tasks and tells of them, in the form its argument says; started by the gateway, not by the test.
import { createInterface } from "node:readline";
import type { Json } from "./task-jobs.ts";
import { TaskWire } from "./task-wire.ts";

const form = process.argv[2] === "--form=extension" ? "extension" : "core";
const wire = new TaskWire();
const asked = new Map<string, (result: Json) => void>();
const write = (message: Json) => process.stdout.write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);
const cached = form === "core" ? {} : { resultType: "complete", ttlMs: 0, cacheScope: "private" };
const capabilities = { tools: {}, ...wire.capabilities(form) };
const serverInfo = { name: "jobs", version: "1" };

function ask(request: Json): Promise<Json> {
  const id = `ask-${asked.size + 1}`;
  write({ id, ...request });
  return new Promise((resolve) => asked.set(id, resolve));
}

async function answer({ method, params = {} }: Json): Promise<Json | undefined> {
  switch (method) {
    case "initialize":
      if (form !== "core") return undefined;
      return { result: { protocolVersion: "2025-11-25", capabilities, serverInfo } };
    case "server/discover":
      if (form === "core") return undefined;
      return { result: { supportedVersions: ["2026-07-28"], capabilities, ...cached } };
    case "ping":
      return { result: {} };
    case "tools/list":
      return { result: { tools: wire.listed(form), ...cached } };
    default:
      return await wire[form]({ method, params, owner: "", ask });
  }
}

/** As long as the task runs, its progress; then how it ended. */
async function tell(token: unknown, { taskId, ...state }: Json): Promise<void> {
  const { job } = wire.jobs.get(taskId)!;
  for (let progress = 1; !job.isOver; progress++) {
    write({ method: "notifications/progress", params: { progressToken: token, progress } });
    // Its pace: nobody waits for it.
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  write({ method: "notifications/tasks/status", params: { ...state, taskId, status: job.status } });
}

createInterface({ input: process.stdin }).on("line", async (line) => {
  const message: Json = JSON.parse(line);
  if (message.method === undefined) return asked.get(message.id)?.(message.result ?? {});
  if (message.id === undefined) return;
  const said = (await answer(message)) ?? { error: { code: -32601, message: "Method not found" } };
  write({ id: message.id, ...said });
  const token = message.params?._meta?.progressToken;
  if (said.result?.task && token !== undefined) void tell(token, said.result.task);
});
