import { Client as Client2, StreamableHTTPClientTransport as Transport2 } from "@modelcontextprotocol/client";
import { Client as Client1 } from "@modelcontextprotocol/sdk/client/index.js";
import { SSEClientTransport as SseTransport1 } from "@modelcontextprotocol/sdk/client/sse.js";
import { StreamableHTTPClientTransport as Transport1 } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
} from "@modelcontextprotocol/sdk/types.js";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type AskingUpstream, startAskingUpstream } from "../../test/peers/asking-upstream.ts";
import { type EverythingUpstream, startEverythingUpstream } from "../../test/peers/everything-upstream.ts";
import { type FreshDatabase, freshPostgresDatabase } from "../../test/postgres/database.ts";
import { furnish } from "../../test/support/furnish.ts";
import { type RunningGateway, startGateway } from "../../test/support/gateway.ts";

// Every client revision that can be asked, every upstream revision that asks, every kind of question: nothing is lost.

let asking: AskingUpstream;
let everything: EverythingUpstream;
beforeAll(async () => {
  [asking, everything] = await Promise.all([startAskingUpstream(), startEverythingUpstream()]);
});
afterAll(() => Promise.all([asking.close(), everything.close()]));

const capabilities = { elicitation: { form: {}, url: {} }, sampling: {}, roots: {} };
const form = { action: "accept" as const, content: { colour: "blue", name: "Ann" } };
const page = { action: "accept" as const };
const said = {
  role: "assistant" as const,
  model: "test",
  content: { type: "text" as const, text: "something" },
};
const roots = { roots: [{ uri: "file:///work", name: "Work" }] };
const elicited = (mode: unknown) => (mode === "url" ? page : form);

/** What a client of either SDK looks like here. */
interface Caller {
  asked: string[];
  call(name: string, args: Record<string, unknown>): Promise<unknown>;
  close(): Promise<void>;
}

type Connect = (url: URL, options: { requestInit: RequestInit; fetch: typeof fetch }) => Promise<Caller>;

const sdk1 =
  (transport: (url: URL, options: Parameters<Connect>[1]) => unknown): Connect =>
  async (url, options) => {
    const client = new Client1({ name: "one", version: "1" }, { capabilities });
    const asked: string[] = [];
    client.setRequestHandler(ElicitRequestSchema, ({ params }) => {
      asked.push(params.message);
      return elicited(params.mode);
    });
    client.setRequestHandler(CreateMessageRequestSchema, () => said);
    client.setRequestHandler(ListRootsRequestSchema, () => roots);
    await client.connect(transport(url, options) as never);
    return {
      asked,
      call: (name, args) => client.callTool({ name, arguments: args }),
      close: () => client.close(),
    };
  };

const sdk2 =
  (mode: "legacy" | { pin: string }): Connect =>
  async (url, options) => {
    const client = new Client2({ name: "two", version: "1" }, { capabilities, versionNegotiation: { mode } });
    const asked: string[] = [];
    client.setRequestHandler("elicitation/create", ({ params }) => {
      asked.push(params.message);
      return elicited(params.mode);
    });
    client.setRequestHandler("sampling/createMessage", () => said);
    client.setRequestHandler("roots/list", () => roots);
    await client.connect(new Transport2(new URL("/mcp", url), options));
    return {
      asked,
      call: (name, args) => client.callTool({ name, arguments: args }),
      close: () => client.close(),
    };
  };

const clients: [string, Connect][] = [
  [
    "SDK v1, HTTP+SSE of 2024-11-05",
    sdk1((url, options) => new SseTransport1(new URL("/sse", url), options)),
  ],
  ["SDK v1, 2025-11-25", sdk1((url, options) => new Transport1(new URL("/mcp", url), options))],
  ["SDK v2, 2025-11-25", sdk2("legacy")],
  ["SDK v2, 2026-07-28", sdk2({ pin: "2026-07-28" })],
];

const cells: [kind: string, tool: string, args: Record<string, unknown>, answer: string][] = [
  ["form from 2026-07-28", "asking-ask", { what: "form" }, '"colour":"blue"'],
  ["page from 2026-07-28", "asking-ask", { what: "page" }, '"action":"accept"'],
  ["sampling from 2026-07-28", "asking-ask", { what: "sampling" }, '"something"'],
  ["roots from 2026-07-28", "asking-ask", { what: "roots" }, '"file:///work"'],
  ["form from 2025-11-25", "everything-trigger-elicitation-request", {}, "Ann"],
  [
    "page from 2025-11-25",
    "everything-trigger-url-elicitation",
    { url: "https://provider.example/x", message: "Go" },
    "accept",
  ],
  [
    "-32042 from 2025-11-25",
    "everything-trigger-url-elicitation",
    { url: "https://provider.example/y", message: "Go", errorPath: true },
    "accept",
  ],
  [
    "sampling from 2025-11-25",
    "everything-trigger-sampling-request",
    { prompt: "p", maxTokens: 5 },
    "something",
  ],
];

const places: [string, number][] = [
  ["one gateway", 1],
  ["three replicas behind round robin, without affinity", 3],
];

describe.each(places)("%s", (_place, replicas) => {
  let gateways: RunningGateway[];
  let database: FreshDatabase | undefined;
  let key: string;

  beforeAll(async () => {
    const outboundAllow = [asking.url, everything.url].map((url) => new URL(url).host);
    database = replicas > 1 ? await freshPostgresDatabase() : undefined;
    const first = await startGateway({ outboundAllow, databaseUrl: database?.url });
    gateways = [first];
    key = await furnish(first, { asking: asking.url, everything: everything.url });
    for (let more = 1; more < replicas; more++) {
      const { encryptionKey } = first;
      gateways.push(await startGateway({ outboundAllow, databaseUrl: database?.url, encryptionKey }));
    }
    for (const { gateway } of gateways) await gateway.startJobs();
  });
  afterAll(async () => {
    await Promise.all(gateways.map((gateway) => gateway.stop()));
    await database?.drop();
  });

  /** Each request to the next replica. */
  function roundRobin(): typeof fetch {
    let turn = 0;
    return (input, init) => {
      turn += 1;
      const { pathname } = new URL(String(input instanceof Request ? input.url : input));
      return fetch(gateways[turn % gateways.length]!.url + pathname, init);
    };
  }

  describe.each(clients)("%s", (_client, connect) => {
    test.each(cells)(
      "%s",
      async (_kind, tool, args, answer) => {
        const requestInit = { headers: { authorization: `Bearer ${key}` } };
        const client = await connect(new URL(gateways[0]!.url), { requestInit, fetch: roundRobin() });
        try {
          // 2025-11-25: the client opens the page and sends the call again. The peer remembers by session, we have one per replica.
          const opening = (left: number): Promise<unknown> =>
            client.call(tool, args).catch((error) => {
              expect(error.code).toBe(-32042);
              expect(error.data.elicitations[0].message).toMatch(/^\[everything\] /);
              if (left === 0) throw error;
              return opening(left - 1);
            });
          const result = await opening(replicas);
          expect(JSON.stringify(result)).toContain(answer.replaceAll('"', '\\"'));
          for (const message of client.asked) expect(message).toMatch(/^\[(asking|everything)\] /);
        } finally {
          await client.close();
        }
      },
      20_000,
    );
  });
});
