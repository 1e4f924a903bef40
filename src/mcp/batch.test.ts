import { array, assert, asyncProperty, constant, jsonValue, oneof, record, string } from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { answer, type ScriptedUpstream, startScriptedUpstream } from "../../test/peers/scripted-upstream.ts";
import { type Bench, echo, type Json, openBench } from "./endpoint.suite.ts";

const V = "2025-03-26";
const PLAIN = { accept: "application/json" };

let peer: ScriptedUpstream;
let bench: Bench;
let key: { id: string; value: string };
let session: Record<string, string>;

beforeEach(async () => {
  peer = await startScriptedUpstream({ tools: [echo, { name: "danger", inputSchema: { type: "object" } }] });
  bench = await openBench(peer);
  const { id } = await bench.upstream(peer);
  key = await bench.key("k", [{ upstreamId: id, tools: ["echo"] }]);
  session = await bench.session(key.value, { sampling: {} }, V);
});

afterEach(async () => {
  await bench.close();
  await peer.close();
});

const ping = (id: unknown) => ({ jsonrpc: "2.0", id, method: "ping" });
const call = (id: unknown, name = "acme-echo", more: Json = {}) => ({
  jsonrpc: "2.0",
  id,
  method: "tools/call",
  params: { name, arguments: {}, ...more },
});
const notification = { jsonrpc: "2.0", method: "notifications/initialized" };

function post(body: unknown, headers: Record<string, string> = {}, init: RequestInit = {}) {
  return bench.fetch(body, { authorization: `Bearer ${key.value}`, ...session, ...headers }, init);
}

async function send(body: unknown, headers: Record<string, string> = {}) {
  const response = await post(body, headers);
  const text = await response.text();
  return {
    status: response.status,
    type: response.headers.get("content-type"),
    body: text && JSON.parse(text),
  };
}

/** The messages of an event stream, in the order of arrival. */
async function events(response: Response): Promise<Json[]> {
  expect(response.headers.get("content-type")).toBe("text/event-stream");
  return [...(await response.text()).matchAll(/^data: (.+)$/gm)].map(([, data]) => JSON.parse(data!));
}

const byId = (answers: Json[]) => new Map(answers.map((one) => [one.id, one]));

describe("a batch of 2025-03-26", () => {
  test.each([
    ["json and event streams", {}],
    ["json alone", PLAIN],
  ])("MC-05 is answered as one list, each message by its own id (%s)", async (_name, accept) => {
    const batch = [
      ping(1),
      notification,
      call("1"),
      { jsonrpc: "2.0", id: 3, method: "tools/list" },
      call(4, "none"),
    ];
    const { status, type, body } = await send(batch, accept as never);
    expect([status, type]).toEqual([200, "application/json"]);
    const answers = byId(body);
    expect([...answers.keys()].toSorted()).toEqual([1, 3, 4, "1"].toSorted());
    expect(answers.get(1)).toEqual({ jsonrpc: "2.0", id: 1, result: {} });
    expect(answers.get("1")!.result.content).toBeDefined();
    expect(answers.get(3)!.result.tools.map(({ name }: Json) => name)).toEqual(["acme-echo"]);
    expect(answers.get(4)!.error.code).toBe(-32602);
  });

  test("works without a session and without the version header, which then is this revision", async () => {
    session = {};
    expect(await send([ping(1)])).toMatchObject({ status: 200, body: [{ id: 1, result: {} }] });
    expect(await send([ping(1)], { "mcp-protocol-version": V })).toMatchObject({ status: 200 });
  });

  test("MC-05 each call is decided and written down on its own", async () => {
    const { body } = await send([call(1), call(2, "acme-danger"), call(3)]);
    expect(byId(body).get(2)!.error.code).toBe(-32602);
    expect(peer.calls("tools/call")).toHaveLength(2);
    await bench.audit.flush();
    const lines = await bench.database.db.selectFrom("audit").select(["event", "detail_json"]).execute();
    const told = lines.filter(({ event }) => event.startsWith("call."));
    expect(told.map(({ event }) => event).toSorted()).toEqual(["call.denied", "call.made", "call.made"]);
    expect(bench.calls).toHaveLength(2);
  });

  test("of notifications and answers alone is 202; one that answers nothing is 400", async () => {
    expect(await send([notification, notification])).toMatchObject({ status: 202, body: "" });
    const stray = { jsonrpc: "2.0", id: "x.1.y", result: {} };
    expect(await send([notification, stray])).toMatchObject({
      status: 400,
      body: [{ id: null, error: { code: -32600 } }],
    });
  });

  test("what is no message is answered by itself, with its id where it has one (JSON-RPC 2.0 §6)", async () => {
    const batch = [
      1,
      null,
      [],
      [ping(8)],
      { foo: 1 },
      { jsonrpc: "2.0", id: 5, method: "ping", params: [] },
      ping(9),
    ];
    const { status, body } = await send(batch);
    expect(status).toBe(200);
    expect(body.map(({ id, error }: Json) => [id, error?.code])).toEqual([
      [null, -32600],
      [null, -32600],
      [null, -32600],
      [null, -32600],
      [null, -32600],
      [5, -32600],
      [9, undefined],
    ]);
    expect(await send([1, 2])).toMatchObject({ status: 400, body: [{ id: null }, { id: null }] });
  });

  test.each<[string, unknown[]]>([
    ["an empty one", []],
    ["more than fifty", Array.from({ length: 51 }, (_, id) => ping(id))],
    ["ten thousand", Array.from({ length: 10_000 }, (_, id) => ping(id))],
    ["the same id twice", [call(1), ping(1)]],
    [
      "initialize",
      [call(1), { jsonrpc: "2.0", id: 2, method: "initialize", params: { protocolVersion: V } }],
    ],
  ])("MC-05 %s is refused whole, and nothing of it runs", async (_name, batch) => {
    expect(await send(batch)).toMatchObject({
      status: 400,
      body: { jsonrpc: "2.0", id: null, error: { code: -32600 } },
    });
    expect(peer.calls("tools/call")).toHaveLength(0);
  });

  test("fifty are fine, and 1 and “1” are two ids", async () => {
    const batch = Array.from({ length: 50 }, (_, id) => ping(id < 25 ? id : String(id - 25)));
    expect((await send(batch)).body).toHaveLength(50);
  });

  test("a message of 2026-07-28 in it is refused by itself", async () => {
    const _meta = { "io.modelcontextprotocol/protocolVersion": "2026-07-28" };
    const { body } = await send([ping(1), { ...ping(2), params: { _meta } }]);
    expect(byId(body).get(2)!.error.code).toBe(-32600);
    expect(byId(body).get(1)!.result).toEqual({});
  });

  test("too many calls at once are refused one by one, with the word for it", async () => {
    const gate = Promise.withResolvers<void>();
    peer.on("tools/call", answer.after(gate.promise, answer.result({ resultType: "complete", content: [] })));
    const batches = Array.from({ length: 6 }, () =>
      send(
        Array.from({ length: 50 }, (_, id) => call(id)),
        PLAIN,
      ),
    );
    gate.resolve();
    const answers = (await Promise.all(batches)).flatMap(({ body }) => body as Json[]);
    const refused = answers.filter(({ error }) => error);
    expect(refused).toHaveLength(300 - 256);
    expect(refused[0]!.error).toMatchObject({
      code: -32603,
      data: { code: "too_many_calls", retryable: true },
    });
  });
});

test("MC-05 whatever is in a list, each request of it gets one answer under its id, and nothing breaks", async () => {
  const id = oneof(constant(1), constant("1"), string(), constant(2.5), constant(null));
  const method = oneof(constant("ping"), constant("tools/list"), constant("initialize"), string());
  const message = record(
    { jsonrpc: constant("2.0"), id, method, params: jsonValue() },
    { requiredKeys: ["jsonrpc"] },
  );
  const list = array(oneof(message, jsonValue()), { maxLength: 12 });
  const check = asyncProperty(list, async (batch) => {
    const { status, body } = await send(batch, PLAIN);
    expect([200, 202, 400]).toContain(status);
    if (!Array.isArray(body)) {
      expect(status === 202 ? body : body.error).toBeDefined();
      return;
    }
    const ids = body.map((one: Json) => JSON.stringify(one.id)).filter((one) => one !== "null");
    expect(new Set(ids).size).toBe(ids.length);
    for (const one of body) expect("result" in one !== "error" in one, JSON.stringify(one)).toBe(true);
  });
  await assert(check, { numRuns: 200 });
});

describe("a batch as an event stream", () => {
  test("what comes before an answer opens it; every answer is an event of its own, and then it ends", async () => {
    const gate = Promise.withResolvers<void>();
    const progress = { method: "notifications/progress", params: { progressToken: "t", progress: 1 } };
    peer.on("tools/call", async (exchange) => {
      const { _meta } = (exchange.request.body as Json).params;
      if (_meta?.progressToken === undefined) {
        await gate.promise;
        return answer.result({ resultType: "complete", content: [] })(exchange);
      }
      const params = { progressToken: _meta.progressToken, progress: 1 };
      await answer.sse(
        { ...progress, params },
        { result: { resultType: "complete", content: [] } },
      )(exchange);
    });
    const response = await post([call(1, "acme-echo", { _meta: { progressToken: "t" } }), call(2), ping(3)]);
    gate.resolve();
    const messages = await events(response);
    expect(messages).toContainEqual({ jsonrpc: "2.0", ...progress });
    expect(messages.flatMap(({ id }) => (id === undefined ? [] : [id])).toSorted()).toEqual([1, 2, 3]);
  });

  test("a question of the upstream is put there, and its answer comes in another batch", async () => {
    peer.on("tools/call", async ({ res, id }) => {
      const asked = { jsonrpc: "2.0", id: "up", method: "sampling/createMessage", params: { messages: [] } };
      const told = Promise.withResolvers<Json>();
      peer.on("POST", ({ request, res: taken }) => {
        told.resolve(request.body as Json);
        taken.writeHead(202).end();
      });
      res.writeHead(200, { "content-type": "text/event-stream" });
      res.write(`event: message\ndata: ${JSON.stringify(asked)}\n\n`);
      const { result } = await told.promise;
      const content = [{ type: "text", text: result.content.text }];
      res.end(`event: message\ndata: ${JSON.stringify({ jsonrpc: "2.0", id, result: { content } })}\n\n`);
    });
    peer.era = "legacy";
    const reader = (await post([call(1), ping(2)])).body!.getReader();
    let text = "";
    const until = async (pattern: RegExp) => {
      for (;;) {
        const found = pattern.exec(text);
        if (found) return JSON.parse(found[1]!);
        const { value, done } = await reader.read();
        if (done) throw new Error(`the stream ended: ${text}`);
        text += new TextDecoder().decode(value);
      }
    };
    const asked = await until(/^data: (.*sampling.*)$/m);
    const said = { role: "assistant", model: "m", content: { type: "text", text: "blue" } };
    const taken = await send([{ jsonrpc: "2.0", id: asked.id, result: said }, notification]);
    expect(taken.status).toBe(202);
    expect((await until(/^data: (.*blue.*)$/m)).result.content).toEqual([{ type: "text", text: "blue" }]);
    await until(/^data: (.*"id":2.*)$/m);
  });

  test("MC-16 a cancellation in it ends its own call, and no other", async () => {
    const departed = Promise.withResolvers<void>();
    peer.next(({ res }) => void res.on("close", () => departed.resolve()), "tools/call");
    const arrived = peer.arrival("tools/call");
    const first = post([call("slow")], PLAIN);
    await arrived;
    const cancelled = { jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId: "slow" } };
    expect(await send([cancelled, call(2)])).toMatchObject({ status: 200, body: [{ id: 2, result: {} }] });
    await departed.promise;
    expect(JSON.parse(await (await first).text())[0]).toMatchObject({ id: "slow", error: {} });
  });

  test("a client that goes takes all its calls with it", async () => {
    let open = 0;
    const [arrived, departed] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    peer.on("tools/call", ({ res }) => {
      open += 1;
      if (open === 3) arrived.resolve();
      res.on("close", () => {
        open -= 1;
        if (open === 0) departed.resolve();
      });
    });
    const leaving = new AbortController();
    const answered = post([call(1), call(2), call(3)], PLAIN, { signal: leaving.signal });
    await arrived.promise;
    leaving.abort();
    await departed.promise;
    await answered.catch(() => undefined);
  });
});

describe("every other revision", () => {
  test.each(["2025-11-25", "2025-06-18", "2024-11-05"])("MC-05 %s has no batches", async (version) => {
    for (const headers of [
      await bench.session(key.value, {}, version),
      { "mcp-protocol-version": version },
    ]) {
      session = headers;
      expect(await send([ping(1)])).toMatchObject({
        status: 400,
        body: { id: null, error: { code: -32600 } },
      });
    }
  });

  test("MC-05 2026-07-28 has none, neither with its headers nor without", async () => {
    session = {};
    for (const headers of [
      { "mcp-protocol-version": "2026-07-28" },
      { "mcp-protocol-version": "2026-07-28", "mcp-method": "ping" },
    ])
      expect(await send([ping(1)], headers as never)).toMatchObject({
        status: 400,
        body: { error: { code: -32600 } },
      });
  });

  test("MC-05 the transport of 2024-11-05 has none", async () => {
    const authorization = `Bearer ${key.value}`;
    const opened = await bench.fetch(undefined, { authorization }, { method: "GET", path: "/sse" });
    const reader = opened.body!.getReader();
    const [, path] = /data: (\/sse\/\S+)/.exec(new TextDecoder().decode((await reader.read()).value))!;
    const response = await bench.fetch([ping(1)], { authorization }, { path });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ error: { code: -32600 } });
    await reader.cancel();
  });

  test("MC-11 a header for one message fits no batch", async () => {
    expect(await send([ping(1)], { "mcp-method": "ping" })).toMatchObject({
      status: 400,
      body: { error: { code: -32020 } },
    });
  });

  test("ID-30 MC-14 the session and the address count as with one message", async () => {
    const stranger = await bench.key("stranger", []);
    const foreign = await send([ping(1)], { authorization: `Bearer ${stranger.value}` });
    expect(foreign).toMatchObject({ status: 404, body: { error: { code: -32001 } } });
    const response = await bench.fetch(
      [ping(1)],
      { authorization: `Bearer ${key.value}` },
      { path: "/mcp/none" },
    );
    expect(response.status).toBe(404);
  });
});
