import {
  startTaskUpstream,
  type TaskUpstream,
  type TaskUpstreamOptions,
} from "../../test/peers/task-upstream.ts";
import { type Bench, type Json, META, openBench } from "./endpoint.suite.ts";

export const EXTENSION = `${META}tasks`;
export const RELATED = `${META}related-task`;
export const tasksDeclared = { extensions: { [EXTENSION]: {} } };

/** A gateway in memory before an upstream that runs tasks, and a key that may use everything. */
export class TaskBench {
  readonly bench: Bench;
  readonly peer: TaskUpstream;
  readonly upstreamId: string;
  readonly key: string;
  readonly keyId: string;

  constructor(bench: Bench, peer: TaskUpstream, upstreamId: string, key: { id: string; value: string }) {
    this.bench = bench;
    this.peer = peer;
    this.upstreamId = upstreamId;
    this.key = key.value;
    this.keyId = key.id;
  }

  async close(): Promise<void> {
    await this.bench.close();
    await this.peer.close();
  }

  /** One request of a client of 2026-07-28. */
  async modern(
    method: string,
    params: Json = {},
    capabilities: Json = tasksDeclared,
    key = this.key,
  ): Promise<Json> {
    const headers: Record<string, string> = method.startsWith("tasks/")
      ? { "mcp-name": String(params.taskId ?? "") }
      : {};
    const { body, status } = await this.bench.modern(key, method, params, headers, capabilities);
    return { ...body, status };
  }

  /** One request of a client of 2025-11-25. */
  async legacy(
    session: Record<string, string>,
    method: string,
    params: Json = {},
    key = this.key,
  ): Promise<Json> {
    const { body, status } = await this.bench.legacy(key, method, params, session);
    return { ...body, status };
  }

  session(capabilities: Json = {}, version = "2025-11-25", key = this.key): Promise<Record<string, string>> {
    return this.bench.session(key, capabilities, version);
  }

  /** Looks at a task until it stands so. */
  async until(look: () => Promise<Json>, status: string): Promise<Json> {
    for (let looks = 0; looks < 200; looks++) {
      const { result, error } = await look();
      if (error) throw new Error(`${error.code} ${error.message}`);
      if (result.status === status) return result;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    throw new Error(`the task never was ${status}`);
  }
}

export async function openTaskBench(options: TaskUpstreamOptions, definition: Json = {}): Promise<TaskBench> {
  const peer = await startTaskUpstream(options);
  const bench = await openBench(peer as never);
  const { id } = await bench.upstream(peer as never, { name: "jobs", ...definition });
  await bench.upstreams.recordTools(id, peer.tools as never, peer.features);
  await bench.upstreams.recordEra(id, options.form === "core" ? "legacy" : "modern");
  const key = await bench.key("k", [{ upstreamId: id, tools: ["*"] }]);
  return new TaskBench(bench, peer, id, key);
}

export function said(reply: Json): string {
  return (reply.result ?? reply).content?.[0]?.text;
}
