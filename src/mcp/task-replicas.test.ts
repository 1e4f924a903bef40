import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { CallToolResultSchema, ElicitRequestSchema } from "@modelcontextprotocol/sdk/types.js";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type EverythingUpstream, startEverythingUpstream } from "../../test/peers/everything-upstream.ts";
import { startTaskUpstream, type TaskUpstream } from "../../test/peers/task-upstream.ts";
import { type FreshDatabase, freshPostgresDatabase } from "../../test/postgres/database.ts";
import { furnish } from "../../test/support/furnish.ts";
import { type RunningGateway, startGateway } from "../../test/support/gateway.ts";
import type { Json } from "./endpoint.suite.ts";
import { META } from "./endpoint.suite.ts";
import { EXTENSION, said } from "./tasks.suite.ts";

// Ids of tasks travel: each request to the next of three replicas, before upstreams that bind tasks to their session.

let core: TaskUpstream;
let extension: TaskUpstream;
let everything: EverythingUpstream;
let database: FreshDatabase;
let gateways: RunningGateway[];
let key: string;

beforeAll(async () => {
  [core, extension, everything] = await Promise.all([
    startTaskUpstream({ form: "core" }),
    startTaskUpstream({ form: "extension" }),
    startEverythingUpstream(),
  ]);
  const outboundAllow = [core.url, extension.url, everything.url].map((url) => new URL(url).host);
  database = await freshPostgresDatabase();
  const first = await startGateway({ outboundAllow, databaseUrl: database.url });
  gateways = [first];
  key = await furnish(first, { core: core.url, extension: extension.url, everything: everything.url });
  for (let more = 1; more < 3; more++) {
    const { encryptionKey } = first;
    gateways.push(await startGateway({ outboundAllow, databaseUrl: database.url, encryptionKey }));
  }
  for (const { gateway } of gateways) await gateway.startJobs();
});
afterAll(async () => {
  await Promise.all(gateways.map((gateway) => gateway.stop()));
  await database.drop();
  await Promise.all([core.close(), extension.close(), everything.close()]);
});

let turn = 0;
const roundRobin: typeof fetch = (input, init) => {
  turn += 1;
  const { pathname } = new URL(String(input instanceof Request ? input.url : input));
  return fetch(gateways[turn % gateways.length]!.url + pathname, init);
};

async function modern(method: string, params: Json, elicits = false): Promise<Json> {
  const capabilities = { extensions: { [EXTENSION]: {} }, ...(elicits && { elicitation: { form: {} } }) };
  const _meta = { [`${META}protocolVersion`]: "2026-07-28", [`${META}clientCapabilities`]: capabilities };
  const response = await roundRobin(`${gateways[0]!.url}/mcp`, {
    method: "POST",
    headers: {
      authorization: `Bearer ${key}`,
      "content-type": "application/json",
      accept: "application/json, text/event-stream",
      "mcp-protocol-version": "2026-07-28",
      "mcp-method": method,
      "mcp-name": params.name ?? params.taskId,
    },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method, params: { ...params, _meta } }),
  });
  return (await response.json()) as Json;
}

async function until(taskId: string, status: string, elicits = false): Promise<Json> {
  for (let looks = 0; looks < 200; looks++) {
    const { result, error } = await modern("tasks/get", { taskId }, elicits);
    if (error) throw new Error(`${error.code} ${error.message}`);
    if (result.status === status) return result;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`the task never was ${status}`);
}

describe("three replicas behind round robin", () => {
  test.each(["core", "extension"])(
    "a task at an upstream of the form %s is one task on all of them",
    async (name) => {
      const params = { name: `${name}-slow_compute`, arguments: { seconds: 0.3, label: "x" } };
      const { result } = await modern("tools/call", params);
      expect(result.resultType).toBe("task");
      for (let look = 0; look < 4; look++) {
        expect((await modern("tasks/get", { taskId: result.taskId })).result.taskId).toBe(result.taskId);
      }
      expect(said((await until(result.taskId, "completed")).result)).toBe("computed x");
    },
  );

  test.each(["core", "extension"])(
    "its questions at an upstream of the form %s are answered through any",
    async (name) => {
      const { result } = await modern("tools/call", { name: `${name}-multi_input`, arguments: {} }, true);
      const { taskId } = result;
      const asked = await until(taskId, "input_required", true);
      const content = { name: "Ann" };
      const inputResponses = Object.fromEntries(
        Object.keys(asked.inputRequests).map((at) => [at, { action: "accept", content }]),
      );
      const { result: heard } = await modern("tasks/update", { taskId, inputResponses }, true);
      expect(heard.resultType).toBe("complete");
      expect(said((await until(taskId, "completed", true)).result)).toBe("Ann and Ann");
    },
  );

  test("a task that was over at once is one task on all of them, for the official client of 2025-11-25", async () => {
    const client = new Client({ name: "one", version: "1" });
    const requestInit = { headers: { authorization: `Bearer ${key}` } };
    const url = new URL("/mcp", gateways[0]!.url);
    await client.connect(new StreamableHTTPClientTransport(url, { requestInit, fetch: roundRobin }) as never);
    try {
      const call = { name: "extension-greet", arguments: { name: "Ann" } };
      const options = { task: { ttl: 60_000 } };
      const heard: string[] = [];
      for await (const message of client.experimental.tasks.callToolStream(
        call,
        CallToolResultSchema,
        options,
      )) {
        if (message.type === "error") throw message.error;
        heard.push(message.type);
        if (message.type === "result") expect(said(message.result)).toBe("Hello, Ann!");
      }
      expect(heard.at(-1)).toBe("result");
    } finally {
      await client.close();
    }
  });

  test("the official client of 2025-11-25 streams a task of the official server, question and all", async () => {
    const client = new Client({ name: "one", version: "1" }, { capabilities: { elicitation: { form: {} } } });
    const asked: string[] = [];
    client.setRequestHandler(ElicitRequestSchema, ({ params }) => {
      asked.push(params.message);
      return { action: "accept", content: { interpretation: "technical" } };
    });
    const requestInit = { headers: { authorization: `Bearer ${key}` } };
    const url = new URL("/mcp", gateways[0]!.url);
    await client.connect(new StreamableHTTPClientTransport(url, { requestInit, fetch: roundRobin }) as never);
    try {
      await client.listTools();
      const call = {
        name: "everything-simulate-research-query",
        arguments: { topic: "moss", ambiguous: true },
      };
      const heard: string[] = [];
      let result: unknown;
      for await (const message of client.experimental.tasks.callToolStream(call, CallToolResultSchema, {
        task: {},
      })) {
        heard.push(message.type);
        if (message.type === "error") throw message.error;
        if (message.type === "result") result = message.result;
      }
      expect(heard[0]).toBe("taskCreated");
      expect(asked).toEqual([expect.stringMatching(/^\[everything\] /)]);
      expect(JSON.stringify(result)).toContain("moss (technical)");
    } finally {
      await client.close();
    }
  });

  test("a client without tasks gets what the official server makes a task of", async () => {
    const client = new Client({ name: "one", version: "1" });
    const requestInit = { headers: { authorization: `Bearer ${key}` } };
    const url = new URL("/mcp", gateways[0]!.url);
    await client.connect(new StreamableHTTPClientTransport(url, { requestInit, fetch: roundRobin }) as never);
    try {
      const name = "everything-simulate-research-query";
      const result = await client.callTool({ name, arguments: { topic: "moss" } });
      expect(JSON.stringify(result)).toContain("# Research Report: moss");
    } finally {
      await client.close();
    }
  });
});
