import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type ScriptedUpstream, startScriptedUpstream } from "../../test/peers/scripted-upstream.ts";
import { type Bench, echo, type Json, META, openBench } from "./endpoint.suite.ts";

let peer: ScriptedUpstream;
let bench: Bench;

afterEach(async () => {
  await bench.close();
  await peer.close();
});

/** One message stream of an answer, event by event. */
class Events {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  #text = "";

  constructor(response: Response) {
    this.#reader = response.body!.getReader();
  }

  async next(): Promise<Json> {
    for (;;) {
      const end = this.#text.indexOf("\n\n");
      if (end >= 0) {
        const event = this.#text.slice(0, end);
        this.#text = this.#text.slice(end + 2);
        const data = event.split("\n").find((line) => line.startsWith("data: {"));
        if (data) return JSON.parse(data.slice(6));
        continue;
      }
      const { value, done } = await this.#reader.read();
      if (done) throw new Error("the stream ended");
      this.#text += new TextDecoder().decode(value);
    }
  }

  cancel(): Promise<void> {
    return this.#reader.cancel();
  }
}

const form = {
  mode: "form",
  message: "Which one?",
  requestedSchema: { type: "object", properties: { which: { type: "string" } } },
};
const accepted = { action: "accept", content: { which: "blue" } };

/** A tool of an older upstream that asks, and says what it was told. */
function asksInCall(peer: ScriptedUpstream, question: Json, times = 1): void {
  const told: Json[] = [];
  peer.on("tools/call", async (exchange) => {
    const { res, id } = exchange;
    res.writeHead(200, { "content-type": "text/event-stream" });
    for (let at = 0; at < times; at++) {
      const answered = Promise.withResolvers<Json>();
      waiting.set(`up-${at}`, answered.resolve);
      const request = { jsonrpc: "2.0", id: `up-${at}`, ...question };
      res.write(`event: message\ndata: ${JSON.stringify(request)}\n\n`);
      told.push(await answered.promise);
    }
    const text = JSON.stringify(told.map((answer) => answer.result ?? answer.error));
    const result = { content: [{ type: "text", text }] };
    res.end(`event: message\ndata: ${JSON.stringify({ jsonrpc: "2.0", id, result })}\n\n`);
  });
  const waiting = new Map<string, (answer: Json) => void>();
  const take: Parameters<ScriptedUpstream["on"]>[1] = ({ request, res }) => {
    const body = request.body as Json;
    waiting.get(body.id)?.(body);
    res.writeHead(202).end();
  };
  peer.on("POST", take);
}

function told(reply: Json): Json {
  return JSON.parse(reply.result.content[0].text);
}

async function open(era: "legacy" | "modern"): Promise<string> {
  peer = await startScriptedUpstream({ era, tools: [echo] });
  bench = await openBench(peer);
  const upstream = await bench.upstream(peer);
  return (await bench.key("k", [{ upstreamId: upstream.id, tools: ["*"] }])).value;
}

const every = { elicitation: { form: {}, url: {} }, sampling: {}, roots: {} };

describe("an older upstream asks an older client", () => {
  let key: string;
  beforeEach(async () => {
    key = await open("legacy");
  });

  test.each([
    ["elicitation/create", form, accepted],
    [
      "sampling/createMessage",
      { messages: [], maxTokens: 5 },
      { role: "assistant", model: "m", content: { type: "text", text: "x" } },
    ],
    ["roots/list", undefined, { roots: [{ uri: "file:///a" }] }],
  ])("%s travels on the stream of the call and back", async (method, params, answer) => {
    asksInCall(peer, { method, params });
    const session = await bench.session(key, every);
    const called = await bench.fetch(
      { jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: "acme-echo" } },
      { authorization: `Bearer ${key}`, ...session },
    );
    const events = new Events(called);
    const asked = await events.next();
    expect(asked.method).toBe(method);
    if (method === "elicitation/create") expect(asked.params.message).toBe("[acme] Which one?");
    const taken = await bench.fetch(
      { jsonrpc: "2.0", id: asked.id, result: answer },
      { authorization: `Bearer ${key}`, ...session },
    );
    expect([taken.status, await taken.text()]).toEqual([202, ""]);
    expect(told(await events.next())).toEqual([answer]);
    const [initialize] = peer.calls("initialize").slice(-1);
    expect((initialize!.body as Json).params.capabilities).toEqual(every);
  });

  test("what the client did not declare is refused, and not offered", async () => {
    asksInCall(peer, { method: "sampling/createMessage", params: {} });
    const session = await bench.session(key, { roots: { listChanged: true } });
    const { body } = await bench.legacy(key, "tools/call", { name: "acme-echo" }, session);
    expect(told(body)).toMatchObject([{ code: -32601 }]);
    const [initialize] = peer.calls("initialize").slice(-1);
    expect((initialize!.body as Json).params.capabilities).toEqual({ roots: {} });
  });

  test("MC-16 only the caller and the session that was asked can answer", async () => {
    asksInCall(peer, { method: "elicitation/create", params: form });
    const session = await bench.session(key, every);
    const auth = { authorization: `Bearer ${key}` };
    const events = new Events(
      await bench.fetch(
        { jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: "acme-echo" } },
        { ...auth, ...session },
      ),
    );
    const { id } = await events.next();
    const answer = { jsonrpc: "2.0", id, result: { action: "accept", content: { which: "evil" } } };
    const other = await bench.key("other", []);
    const theirs = await bench.session(other.value, every);
    const refused = await bench.fetch(answer, { authorization: `Bearer ${other.value}`, ...theirs });
    expect(refused.status).toBe(400);
    expect((await bench.fetch(answer, { authorization: `Bearer ${other.value}`, ...session })).status).toBe(
      404,
    );
    const mineToo = await bench.session(key, every);
    expect((await bench.fetch(answer, { ...auth, ...mineToo })).status).toBe(400);
    expect((await bench.fetch(answer, auth)).status).toBe(400);
    expect((await bench.fetch({ ...answer, result: accepted }, { ...auth, ...session })).status).toBe(202);
    expect(told(await events.next())).toEqual([accepted]);
  });

  test("a client that goes takes its call with it: the upstream is told", async () => {
    asksInCall(peer, { method: "elicitation/create", params: form });
    const session = await bench.session(key, every);
    const gone = new AbortController();
    const cancelled = peer.arrival("notifications/cancelled");
    const events = new Events(
      await bench.fetch(
        { jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: "acme-echo" } },
        { authorization: `Bearer ${key}`, ...session },
        { signal: gone.signal },
      ),
    );
    await events.next();
    gone.abort();
    expect((await cancelled).body).toMatchObject({ method: "notifications/cancelled" });
  });
});

describe("an older upstream asks a client of 2026-07-28", () => {
  let key: string;
  beforeEach(async () => {
    key = await open("legacy");
  });
  const call = (params: Json = {}, token = key, caps: Json = every, signal?: AbortSignal) =>
    bench.modern(token, "tools/call", { name: "acme-echo", ...params }, {}, caps, signal);

  test("the call is held, answered input_required, and goes on with the repeat", async () => {
    asksInCall(peer, { method: "elicitation/create", params: form }, 2);
    const first = (await call()).body.result;
    expect(first).toMatchObject({ resultType: "input_required", requestState: expect.any(String) });
    expect(first.inputRequests).toEqual({
      q1: { method: "elicitation/create", params: { ...form, message: "[acme] Which one?" } },
    });
    const second = (await call({ inputResponses: { q1: accepted }, requestState: first.requestState })).body
      .result;
    expect(second.resultType).toBe("input_required");
    const declined = { action: "decline" };
    const last = (await call({ inputResponses: { q2: declined }, requestState: second.requestState })).body;
    expect(told(last)).toEqual([accepted, declined]);
    expect(last.result).toMatchObject({ resultType: "complete" });
    expect(peer.calls("tools/call")).toHaveLength(1);
  });

  test("an upstream that asks and does not wait: the answer is kept for the repeat, and given once", async () => {
    const finish = Promise.withResolvers<void>();
    peer.on("tools/call", async ({ res, id }) => {
      res.writeHead(200, { "content-type": "text/event-stream" });
      const event = (said: Json) =>
        `event: message\ndata: ${JSON.stringify({ jsonrpc: "2.0", ...said })}\n\n`;
      res.write(event({ id: "up", method: "roots/list" }));
      await finish.promise;
      res.end(event({ id, result: { content: [{ type: "text", text: "done" }] } }));
    });
    const { requestState } = (await call()).body.result;
    finish.resolve();
    await expect.poll(() => bench.calls).toHaveLength(1);
    const round = { inputResponses: { q1: { roots: [] } }, requestState };
    expect((await call(round)).body.result.content[0].text).toBe("done");
    expect((await call(round)).body.error.code).toBe(-32602);
  });

  test("MC-32 the state is the caller's, for this call, and once", async () => {
    asksInCall(peer, { method: "elicitation/create", params: form });
    const { requestState } = (await call()).body.result;
    const round = { inputResponses: { q1: accepted }, requestState };
    const upstreamId = bench.upstreams.all()[0]!.id;
    const other = await bench.key("other", [{ upstreamId, tools: ["*"] }]);
    expect((await call(round, other.value)).body.error.code).toBe(-32602);
    expect((await call({ ...round, arguments: { a: 1 } })).body.error.code).toBe(-32602);
    expect((await call({ ...round, inputResponses: { q1: "yes" } })).body.error.code).toBe(-32602);
    // Nothing answered: it is asked again, with a state of its own.
    const again = (await call({ requestState })).body.result;
    expect(again.inputRequests).toHaveProperty("q1");
    expect((await call(round)).body.error.code).toBe(-32602);
    const done = await call({ ...round, requestState: again.requestState });
    expect(told(done.body)).toEqual([accepted]);
    expect((await call({ ...round, requestState: again.requestState })).body.error.code).toBe(-32602);
  });

  test("only what this request declared is offered; a client that goes is told of", async () => {
    asksInCall(peer, { method: "roots/list" });
    expect(told((await call({}, key, { elicitation: {} })).body)).toMatchObject([{ code: -32601 }]);
    expect((peer.calls("initialize").at(-1)!.body as Json).params.capabilities).toEqual({ elicitation: {} });
    const { requestState } = (await call({}, key, { roots: {} })).body.result;
    const gone = new AbortController();
    const cancelled = peer.arrival("notifications/cancelled");
    peer.on("POST", ({ res }) => {
      res.writeHead(202).end();
      gone.abort();
    });
    await call(
      { requestState, inputResponses: { q1: { roots: [] } } },
      key,
      { roots: {} },
      gone.signal,
    ).catch(() => undefined);
    expect((await cancelled).body).toMatchObject({ method: "notifications/cancelled" });
  });

  test("-32042 becomes input_required without an id", async () => {
    const elicitation = { mode: "url", elicitationId: "e1", url: "https://up.example/x", message: "Sign in" };
    peer.on("tools/call", ({ res, id }) => {
      const error = { code: -32042, message: "more", data: { elicitations: [elicitation] } };
      res.writeHead(200, { "content-type": "application/json" });
      res.end(JSON.stringify({ jsonrpc: "2.0", id, error }));
    });
    const { result } = (await call()).body;
    expect(result.inputRequests.page1.params).toEqual({
      mode: "url",
      url: "https://up.example/x",
      message: "[acme] Sign in",
    });
    expect(
      (await call({ requestState: result.requestState, inputResponses: {} })).body.result.resultType,
    ).toBe("input_required");
  });
});

describe("a newer upstream asks an older client", () => {
  test("input_required becomes requests on the stream, the answers a repeated call", async () => {
    const key = await open("modern");
    peer.on("tools/call", ({ request, res, id }) => {
      const { inputResponses, requestState } = (request.body as Json).params;
      const result = inputResponses
        ? {
            resultType: "complete",
            content: [{ type: "text", text: JSON.stringify([inputResponses, requestState]) }],
          }
        : {
            resultType: "input_required",
            requestState: "up-state",
            inputRequests: { a: { method: "elicitation/create", params: form }, b: { method: "roots/list" } },
          };
      res.writeHead(200, { "content-type": "application/json" });
      res.end(JSON.stringify({ jsonrpc: "2.0", id, result }));
    });
    const session = await bench.session(key, every);
    const auth = { authorization: `Bearer ${key}`, ...session };
    const events = new Events(
      await bench.fetch({ jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: "acme-echo" } }, auth),
    );
    const asked = [await events.next(), await events.next()];
    const answers: Json = { "elicitation/create": accepted, "roots/list": { roots: [] } };
    for (const { id, method } of asked)
      await bench.fetch({ jsonrpc: "2.0", id, result: answers[method] }, auth);
    expect(told(await events.next())).toEqual([{ a: accepted, b: { roots: [] } }, "up-state"]);
    const meta = (peer.calls("tools/call")[0]!.body as Json).params._meta;
    expect(meta[`${META}clientCapabilities`]).toEqual(every);
  });

  test("a client that cannot be asked reads what it is about, and nothing is offered in its name", async () => {
    const key = await open("modern");
    peer.on("tools/call", ({ res, id }) => {
      const result = { resultType: "input_required", inputRequests: { a: { method: "roots/list" } } };
      res.writeHead(200, { "content-type": "application/json" });
      res.end(JSON.stringify({ jsonrpc: "2.0", id, result }));
    });
    const session = await bench.session(key, {});
    const { body } = await bench.legacy(key, "tools/call", { name: "acme-echo" }, session);
    expect(body.result).toMatchObject({ isError: true });
    const meta = (peer.calls("tools/call")[0]!.body as Json).params._meta;
    expect(meta[`${META}clientCapabilities`]).toEqual({});
  });
});

describe("a session", () => {
  beforeEach(async () => {
    peer = await startScriptedUpstream({ tools: [echo] });
    bench = await openBench(peer);
  });

  test("MC-14 is ended by its owner with DELETE, everywhere and for good", async () => {
    const { value } = await bench.key("k", []);
    const other = await bench.key("other", []);
    const session = await bench.session(value, {});
    const end = (key: string) =>
      bench.fetch(undefined, { authorization: `Bearer ${key}`, ...session }, { method: "DELETE" });
    expect((await end(other.value)).status).toBe(404);
    expect((await bench.legacy(value, "ping", {}, session)).status).toBe(200);
    expect((await end(value)).status).toBe(204);
    expect((await bench.legacy(value, "ping", {}, session)).status).toBe(404);
    expect((await end(value)).status).toBe(404);
  });

  test("MC-15 its stream is its owner's; what was lost is sent again to nobody else", async () => {
    const { value } = await bench.key("k", []);
    const session = await bench.session(value, {});
    const listen = (headers: Record<string, string> = {}, key = value) =>
      bench.fetch(
        undefined,
        { authorization: `Bearer ${key}`, ...session, accept: "text/event-stream", ...headers },
        { method: "GET" },
      );
    const first = await listen();
    expect([first.status, first.headers.get("content-type")]).toEqual([200, "text/event-stream"]);
    const reader = first.body!.getReader();
    const primed = new TextDecoder().decode((await reader.read()).value);
    const id = /^id: (\S+)\ndata: \n\n$/.exec(primed)![1]!;
    await reader.cancel();
    bench.streams.send(() => true, { method: "notifications/tools/list_changed" });
    const again = new Events(await listen({ "last-event-id": id }));
    expect(await again.next()).toEqual({ jsonrpc: "2.0", method: "notifications/tools/list_changed" });
    const other = await bench.key("other", []);
    expect((await listen({ "last-event-id": id }, other.value)).status).toBe(404);
    const mineToo = await bench.session(value, {});
    const fresh = await listen({ ...mineToo, "last-event-id": id });
    expect(new TextDecoder().decode((await fresh.body!.getReader().read()).value)).not.toContain("message");
    await bench.fetch(undefined, { authorization: `Bearer ${value}`, ...session }, { method: "DELETE" });
    await expect(again.next()).rejects.toThrow("the stream ended");
  });

  test("MC-03 MC-14 /sse wants the credential each time, and its address is one caller's", async () => {
    const refused = await bench.fetch(undefined, {}, { method: "GET", path: "/sse" });
    expect(refused.status).toBe(401);
    expect(refused.headers.get("www-authenticate")).toContain("/.well-known/oauth-protected-resource/mcp");
    const { value } = await bench.key("k", []);
    const other = await bench.key("other", []);
    const opened = await bench.fetch(undefined, { "x-api-key": value }, { method: "GET", path: "/sse" });
    const reader = opened.body!.getReader();
    const first = new TextDecoder().decode((await reader.read()).value);
    const path = /^event: endpoint\ndata: (\/sse\/[A-Za-z0-9_-]+)\n\n$/.exec(first)![1]!;
    const ping = { jsonrpc: "2.0", id: 1, method: "ping" };
    expect((await bench.fetch(ping, {}, { path })).status).toBe(401);
    expect((await bench.fetch(ping, { "x-api-key": other.value }, { path })).status).toBe(404);
    expect((await bench.fetch(ping, { "x-api-key": value }, { path })).status).toBe(202);
    const answer = new TextDecoder().decode((await reader.read()).value);
    expect(answer).toBe('event: message\ndata: {"jsonrpc":"2.0","id":1,"result":{}}\n\n');
    await reader.cancel();
    expect((await bench.fetch(ping, { "x-api-key": value }, { path })).status).toBe(404);
  });

  test("GET and DELETE are 405 without a session", async () => {
    const { value } = await bench.key("k", []);
    for (const method of ["GET", "DELETE"])
      expect((await bench.fetch(undefined, { "x-api-key": value }, { method })).status).toBe(405);
  });
});
