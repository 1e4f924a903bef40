import { rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { SseUpstream } from "../../test/peers/sse-upstream.ts";
import { startTaskUpstream, type TaskUpstream } from "../../test/peers/task-upstream.ts";
import { TaskWire } from "../../test/peers/task-wire.ts";
import { type FreshDatabase, freshPostgresDatabase } from "../../test/postgres/database.ts";
import { Events } from "../../test/support/events.ts";
import { type RunningGateway, startGateway } from "../../test/support/gateway.ts";
import { loadConfig } from "../config.ts";
import type { Json } from "./endpoint.suite.ts";
import { META } from "./endpoint.suite.ts";
import { EXTENSION, RELATED, said } from "./tasks.suite.ts";

// Three replicas, each with programs and connections of its own: a task is asked about at any of them.

const key = "sk-bf-tasks-of-programs-0123456789";
const script = fileURLToPath(new URL("../../test/peers/task-program.ts", import.meta.url));
let http: TaskUpstream;
let old: SseUpstream;
let database: FreshDatabase;
let gateways: RunningGateway[];
const path = join(tmpdir(), `postern-tasks-${process.pid}.json`);

beforeAll(async () => {
  http = await startTaskUpstream({ form: "core" });
  old = await SseUpstream.start();
  serveTasks(old);
  const program = (form: string) => ({ command: process.execPath, args: [script, `--form=${form}`] });
  const client_configs = [
    { name: "core", connection_type: "stdio", stdio_config: program("core") },
    { name: "extension", connection_type: "stdio", stdio_config: program("extension") },
    { name: "old", connection_type: "sse", connection_string: old.url },
    { name: "http", connection_type: "http", connection_string: http.url },
  ].map((one) => ({ ...one, auth_type: "none", tools_to_execute: ["*"] }));
  const mcp_configs = client_configs.map(({ name }) => ({ mcp_client_name: name }));
  writeFileSync(
    path,
    JSON.stringify({
      mcp: { client_configs },
      governance: { virtual_keys: [{ name: "k", value: key, mcp_configs }] },
    }),
  );
  const found = loadConfig({ environment: { PATH: process.env.PATH, HOME: tmpdir() }, file: path });
  database = await freshPostgresDatabase();
  gateways = [];
  for (let one = 0; one < 3; one++) {
    gateways.push(
      await startGateway({
        databaseUrl: database.url,
        outboundAllow: [new URL(old.url).host, new URL(http.url).host],
        encryptionKey: gateways[0]?.encryptionKey,
        configure: (config) => {
          config.upstreams = found.upstreams;
          config.commands = found.commands;
          config.virtualKeys = found.virtualKeys;
        },
      }),
    );
  }
  for (const { gateway } of gateways) await gateway.startJobs();
  const { clients } = await gateways[0]!.admin<{ clients: Json[] }>("GET", "/api/mcp/clients");
  for (const { config } of clients)
    await gateways[0]!.admin("POST", `/api/mcp/client/${config.client_id}/refresh-tools`);
}, 60_000);
afterAll(async () => {
  await Promise.all(gateways.map((gateway) => gateway.stop()));
  await database.drop();
  await Promise.all([http.close(), old.close()]);
  rmSync(path);
});

/** The upstreams whose tools can be called. */
async function toolNames(replica: number): Promise<string[]> {
  const { result } = await modern(replica, "tools/list", {});
  return [...new Set(result.tools.map(({ name }: Json) => name.split("-")[0]))] as string[];
}

/** Tasks are bound to the connection, as servers of the official v1 SDK do it. */
function serveTasks(peer: SseUpstream): void {
  const wire = new TaskWire();
  peer.on = ({ rpc, session }) => {
    const { id, method = "", params = {} } = rpc as Json;
    if (method === "initialize") {
      const capabilities = { tools: {}, ...wire.capabilities("core") };
      return {
        result: { protocolVersion: "2025-11-25", capabilities, serverInfo: { name: "old", version: "1" } },
      };
    }
    if (method === "tools/list") return { result: { tools: wire.listed("core") } };
    if (method !== "tools/call" && !method.startsWith("tasks/")) return undefined;
    void wire
      .core({ method, params, owner: String(session.id), ask: () => new Promise(() => {}) })
      .then((answer) => session.say({ id, ...answer }));
    return "nothing";
  };
}

const usual = { "content-type": "application/json", accept: "application/json, text/event-stream" };

async function post(replica: number, message: Json, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(`${gateways[replica]!.url}/mcp`, {
    method: "POST",
    headers: { ...usual, authorization: `Bearer ${key}`, ...headers },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, ...message }),
  });
}

async function modern(replica: number, method: string, params: Json, caps: Json = {}): Promise<Json> {
  const capabilities = { extensions: { [EXTENSION]: {} }, ...caps };
  const _meta = { [`${META}protocolVersion`]: "2026-07-28", [`${META}clientCapabilities`]: capabilities };
  const name = params.name ?? params.taskId;
  const headers: Record<string, string> = { "mcp-protocol-version": "2026-07-28", "mcp-method": method };
  if (name !== undefined) headers["mcp-name"] = name;
  return (await (await post(replica, { method, params: { ...params, _meta } }, headers)).json()) as Json;
}

async function until(look: (replica: number) => Promise<Json>, status: string): Promise<Json> {
  for (let looks = 0; looks < 100; looks++) {
    const { result, error } = await look(looks % gateways.length);
    if (error) throw new Error(`${error.code} ${error.message}`);
    if (result.status === status) return result;
  }
  throw new Error(`the task never was ${status}`);
}

async function session(capabilities: Json = {}): Promise<Record<string, string>> {
  const params = { protocolVersion: "2025-11-25", capabilities, clientInfo: { name: "t", version: "1" } };
  const response = await post(0, { method: "initialize", params });
  await response.text();
  return { "mcp-session-id": response.headers.get("mcp-session-id")!, "mcp-protocol-version": "2025-11-25" };
}

async function legacy(
  replica: number,
  headers: Record<string, string>,
  method: string,
  params: Json,
): Promise<Json> {
  const text = await (await post(replica, { method, params }, headers)).text();
  return JSON.parse(text.startsWith("event:") ? text.split("data: ").at(-1)! : text);
}

async function standing(replica: number, headers: Record<string, string>): Promise<Events> {
  const sent = { ...headers, authorization: `Bearer ${key}`, accept: "text/event-stream" };
  return new Events(await fetch(`${gateways[replica]!.url}/mcp`, { headers: sent }));
}

/** What comes of one kind, whatever else is told. */
async function next(events: Events, method: string): Promise<Json> {
  for (;;) {
    const told = (await events.next()) as Json;
    if (told.method === method) return told.params;
  }
}

test("every replica has read what there is", async () => {
  for (const at of gateways.keys()) await expect.poll(async () => (await toolNames(at)).length).toBe(4);
});

describe("a task of what only one replica has", () => {
  test.each(["core", "extension", "old"])(
    "is looked at, and its result had, at any of them: %s",
    async (name) => {
      const call = { name: `${name}-slow_compute`, arguments: { seconds: 0.5, label: "x" } };
      const { result } = await modern(0, "tools/call", call);
      expect(result.resultType).toBe("task");
      const { taskId } = result;
      expect((await modern(1, "tasks/get", { taskId })).result.taskId).toBe(taskId);
      expect(said((await until((at) => modern(at, "tasks/get", { taskId }), "completed")).result)).toBe(
        "computed x",
      );
    },
  );

  test.each(["core", "extension"])("is answered and cancelled at any of them: %s", async (name) => {
    const caps = { elicitation: { form: {} } };
    const make = async () => {
      const call = { name: `${name}-confirm_delete`, arguments: { filename: "f" } };
      return (await modern(0, "tools/call", call, caps)).result.taskId as string;
    };
    const taskId = await make();
    const look = () => modern(1, "tasks/get", { taskId }, caps);
    const asked = await until(look, "input_required");
    const [question] = Object.keys(asked.inputRequests) as [string];
    const inputResponses = { [question]: { action: "accept", content: { confirm: true } } };
    await modern(2, "tasks/update", { taskId, inputResponses }, caps);
    expect(said((await until(look, "completed")).result)).toBe("deleted f");
    const other = await make();
    expect((await modern(2, "tasks/cancel", { taskId: other })).result.resultType).toBe("complete");
    await until(() => modern(1, "tasks/get", { taskId: other }), "cancelled");
  });

  test("a client of 2025-11-25 waits for it at another one, is asked there, and hears of it where it listens", async () => {
    const headers = await session({ elicitation: { form: {} } });
    const events = await standing(2, headers);
    const params = { name: "core-confirm_delete", arguments: { filename: "f" }, task: {} };
    const made = await legacy(0, headers, "tools/call", { ...params, _meta: { progressToken: "mine" } });
    const { taskId } = made.result.task;
    expect(await next(events, "notifications/progress")).toMatchObject({
      progressToken: "mine",
      _meta: { [RELATED]: { taskId } },
    });
    const waiting = new Events(await post(1, { method: "tasks/result", params: { taskId } }, headers));
    let asked = (await waiting.next()) as Json;
    while (asked.method !== "elicitation/create") asked = (await waiting.next()) as Json;
    expect(asked.params._meta[RELATED]).toEqual({ taskId });
    const result = { action: "accept", content: { confirm: true } };
    await post(2, { id: asked.id, result }, headers);
    const ended = (await waiting.next()) as Json;
    expect(said(ended)).toBe("deleted f");
    await events.cancel();
  });
});

test("news of a task over HTTP reach the replica that holds the stream, and no other stream", async () => {
  const [mine, other] = [await session(), await session()];
  const [events, others] = [await standing(1, mine), await standing(2, other)];
  const call = { name: "http-slow_compute", arguments: { seconds: 600 }, task: {} };
  const made = await legacy(0, mine, "tools/call", { ...call, _meta: { progressToken: 5 } });
  const { taskId } = made.result.task;
  const own = http.made.at(-1)!;
  http.progress(own, 0.25);
  expect(await next(events, "notifications/progress")).toMatchObject({ progressToken: 5, progress: 0.25 });
  const state = { ...made.result.task, taskId: own.taskId, status: "input_required" };
  http.say(own.session, "notifications/tasks/status", state);
  expect(await next(events, "notifications/tasks/status")).toMatchObject({
    taskId,
    status: "input_required",
  });
  expect(others.raw).not.toContain("notifications/tasks");
  await Promise.all([events.cancel(), others.cancel()]);
});

// The last one: a replica goes.
test("tasks of a replica that is gone are unknown, within seconds", async () => {
  const made: string[] = [];
  for (const name of ["core", "old"]) {
    const call = { name: `${name}-slow_compute`, arguments: { seconds: 600 } };
    const { result } = await modern(gateways.length - 1, "tools/call", call);
    expect(result.resultType).toBe("task");
    made.push(result.taskId);
  }
  await gateways.pop()!.stop();
  const methods = ["tasks/get", "tasks/cancel"];
  const asked = made.flatMap((taskId) => methods.map((method) => modern(0, method, { taskId })));
  for (const { error } of await Promise.all(asked)) expect(error.code).toBe(-32602);
});
