import assert from "node:assert/strict";
import fc from "fast-check";
import type { Caller } from "../hostile/caller.ts";
import { asUsual, type HostileStage, openHostileStage } from "../hostile/stage.ts";
import { answer, type Handler } from "../peers/scripted-upstream.ts";
import { checkMessage, checkText, messagesIn } from "./check.ts";
import { heapInUse } from "./memory.ts";
import { mutated, mutations, withHandles } from "./mutations.ts";
import { type RawAnswer, RawHttp, type RawRequest } from "./raw-http.ts";
import type { FuzzOptions } from "./run-options.ts";

const META = "io.modelcontextprotocol/";
const VERSION = "mcp-protocol-version";
/** What the heap may grow by between the first third of the runs and the last. */
const MOST_GROWTH = 24 * 1024 * 1024;
const PATIENCE_MS = 10_000;

type Json = Record<string, unknown>;

const every = { elicitation: { form: {}, url: {} }, sampling: {}, roots: {} };
const argument = { name: "who", value: "a" };

/** What older and newer clients say; every method there is, and some that there are not. */
const requests: [method: string, params: Json][] = [
  [
    "initialize",
    { protocolVersion: "2025-11-25", capabilities: every, clientInfo: { name: "a", version: "1" } },
  ],
  ["server/discover", {}],
  ["ping", {}],
  ["tools/list", {}],
  ["tools/list", { cursor: Buffer.from("after evil-tool").toString("base64url") }],
  ["tools/call", { name: "evil-tool", arguments: { a: 1 }, _meta: { progressToken: "bob-progress" } }],
  ["tools/call", { name: "evil-ask", arguments: {} }],
  [
    "tools/call",
    {
      name: "evil-ask",
      arguments: {},
      requestState: "$handle1",
      inputResponses: { q: { action: "accept" } },
    },
  ],
  ["tools/call", { name: "good-echo", arguments: { text: "hello" } }],
  ["resources/list", {}],
  ["resources/templates/list", {}],
  ["resources/read", { uri: "evil://mine" }],
  ["resources/subscribe", { uri: "evil://mine" }],
  ["resources/unsubscribe", { uri: "evil://mine" }],
  ["prompts/list", {}],
  ["prompts/get", { name: "evil-greet", arguments: { who: "a" } }],
  ["completion/complete", { ref: { type: "ref/prompt", name: "evil-greet" }, argument }],
  ["completion/complete", { ref: { type: "ref/resource", uri: "evil://{any}" }, argument }],
  ["logging/setLevel", { level: "debug" }],
  [
    "subscriptions/listen",
    { notifications: { toolsListChanged: true, resourceSubscriptions: ["evil://mine"] } },
  ],
  ["tasks/get", { taskId: "$handle3" }],
  ["tasks/list", {}],
  ["tasks/cancel", { taskId: "$handle3" }],
  ["tasks/result", { taskId: "$handle3" }],
  ["notifications/initialized", {}],
  ["notifications/cancelled", { requestId: "bob-1", reason: "fuzz" }],
  ["notifications/progress", { progressToken: "bob-progress", progress: 1 }],
  ["notifications/roots/list_changed", {}],
  ["constructor", {}],
];
const answers: Json[] = [
  { result: { action: "accept", content: {} } },
  { error: { code: -1, message: "no" } },
];

const headerNames = fc.constantFrom(
  "accept",
  "content-type",
  "content-encoding",
  "last-event-id",
  "mcp-method",
  "mcp-name",
  "mcp-param-a",
  VERSION,
  "mcp-session-id",
  "origin",
  "traceparent",
  "x-bf-mcp-accounts",
  "x-bf-mcp-include-clients",
  "x-bf-mcp-include-tools",
  "x-bf-mcp-session-id",
  "x-forwarded-for",
);
const headerValues = fc.oneof(
  fc.constantFrom(
    "$handle0",
    "$handle2",
    "",
    "*/*",
    "application/json",
    "text/event-stream",
    "2024-11-05",
    "2025-06-18",
    "2026-07-28",
    "2026-07-28, 2026-07-28",
    "tools/call",
    "evil-tool",
    "=?base64?ZXZpbC10b29s?=",
    "=?base64?%?=",
    "gzip",
    "null",
    "evil",
    "x".repeat(4_000),
  ),
  fc.stringMatching(/^[\x21-\x7e]{0,30}$/),
);
const headerEdits = fc.array(fc.record({ drop: fc.boolean(), name: headerNames, value: headerValues }), {
  maxLength: 3,
});

const attempts = fc.record({
  what: fc.nat(requests.length + answers.length - 1),
  era: fc.constantFrom("modern" as const, "legacy" as const),
  /** Whose session an older message names: one's own, somebody else's, none. */
  session: fc.constantFrom("own" as const, "own" as const, "theirs" as const, "none" as const),
  id: fc.constantFrom<unknown>(1, "bob-1", "$handle3", undefined),
  mutation: mutations,
  headers: headerEdits,
  way: fc.oneof(
    { weight: 12, arbitrary: fc.constant({ method: "POST", path: "/mcp" }) },
    {
      weight: 2,
      arbitrary: fc.record({
        method: fc.constantFrom("POST", "GET", "DELETE", "OPTIONS", "PUT", "PATCH", "HEAD"),
        path: fc.constantFrom("/mcp", "/sse", "/sse/$handle2", "/mcp/none", "/mcp/", "/mcp?a=1", "/sse/x"),
      }),
    },
  ),
});
type Attempt = typeof attempts extends fc.Arbitrary<infer T> ? T : never;

/**
 * Whatever Alice sends: never a server error, never a message that is none, never anything of Bob's, although she names his
 * session, his states, his streams and his calls; afterwards his things are as they were, and memory is not used up.
 */
export async function fuzzFromClients({ seed, runs }: FuzzOptions): Promise<void> {
  const fuzz = await Fuzz.open();
  try {
    await fuzz.assertMany({ seed, runs });
    await fuzz.assertUnharmed();
  } finally {
    await fuzz.close();
  }
}

class Fuzz {
  readonly #stage: HostileStage;
  readonly #http: RawHttp;
  readonly #handles: string[];
  readonly #bobsCall: { release(): Promise<string> };
  readonly #state: string;
  readonly #closing: () => void;

  private constructor(stage: HostileStage, bob: BobsThings, close: () => void) {
    this.#stage = stage;
    this.#http = new RawHttp(stage.gateway.url);
    this.#state = bob.state;
    this.#handles = [bob.session, bob.state, bob.sse, bob.eventId];
    this.#bobsCall = bob.call;
    this.#closing = close;
  }

  static async open(): Promise<Fuzz> {
    const stage = await openHostileStage("modern", { tools: ["ask"], timeoutS: 600 });
    await furnish(stage);
    const leaving = new AbortController();
    return new Fuzz(stage, await bobsThings(stage, leaving.signal), () => leaving.abort());
  }

  async assertMany({ seed, runs }: FuzzOptions): Promise<void> {
    const { evil, good } = this.#stage;
    let done = 0;
    let before = 0;
    const property = fc.asyncProperty(attempts, async (attempt) => {
      await this.#try(attempt);
      evil.forgetRequests();
      good.forgetRequests();
      if (++done === Math.ceil(runs / 3)) before = heapInUse();
    });
    await fc.assert(property, { seed, numRuns: runs });
    const grown = heapInUse() - before;
    assert.ok(grown < MOST_GROWTH, `the heap grew by ${Math.round(grown / 1024)} KiB (seed ${seed})`);
  }

  async assertUnharmed(): Promise<void> {
    const { alice, bob } = this.#stage;
    assert.equal(await this.#bobsCall.release(), bob.marker);
    const answered = await ask(bob, {
      requestState: this.#state,
      inputResponses: { q: { action: "accept" } },
    });
    assert.equal(textOf(answered), bob.marker);
    for (const caller of [alice, bob])
      for (const era of ["modern", "legacy"] as const)
        assert.equal(textOf((await caller.call("evil-tool", {}, { era })).message), caller.marker);
  }

  async close(): Promise<void> {
    this.#closing();
    this.#http.close();
    await this.#stage.close();
  }

  async #try(attempt: Attempt): Promise<void> {
    const sent = await this.#requestOf(attempt);
    const enough = sent.method === "GET" ? /\n\n/ : /"(?:result|error)":|elicitation\/create|acknowledged/;
    const late = new Promise<never>((_, reject) => {
      setTimeout(() => reject(new Error(`no answer to ${sent.method} ${sent.path}`)), PATIENCE_MS).unref();
    });
    const received = await Promise.race([this.#http.send(sent, enough), late]);
    assert.ok(received, `the connection ended: ${sent.method} ${sent.path}`);
    this.#check(sent, received);
    // Her session may be over now; most attempts are worth more with one.
    if (sent.method === "DELETE" && received.status === 204) this.#stage.alice.forgetSession();
  }

  #check(sent: RawRequest, { status, type, text }: RawAnswer): void {
    const what = `${sent.method} ${sent.path} ${status} ${text.slice(0, 300)}`;
    assert.ok(status >= 200 && status < 500, what);
    checkText(text, [this.#stage.bob.marker, "bobs-own"]);
    if (sent.method === "HEAD" || text === "") return;
    for (const message of messagesIn(type, text)) checkMessage(message);
  }

  async #requestOf({ what, era, session, id, mutation, headers, way }: Attempt): Promise<RawRequest> {
    const [method, params] = requests[what] ?? [];
    const answered = answers[what - requests.length];
    const said =
      era === "modern" && params ? { ...params, _meta: { ...meta, ...(params._meta as Json) } } : params;
    const message = { jsonrpc: "2.0", id, method, params: said, ...answered };
    const base = new Map<string, string>([
      ["authorization", `Bearer ${this.#stage.alice.key}`],
      ["content-type", "application/json"],
      ["accept", "application/json, text/event-stream"],
    ]);
    if (era === "modern") {
      base.set(VERSION, "2026-07-28");
      if (method) base.set("mcp-method", method);
      const named = params?.name ?? params?.uri ?? params?.taskId;
      if (typeof named === "string") base.set("mcp-name", named);
    } else if (session !== "none") {
      base.set("mcp-session-id", session === "own" ? await this.#stage.alice.session() : "$handle0");
    }
    for (const { drop, name, value } of headers) drop ? base.delete(name) : base.set(name, value);
    const put = (text: string) => text.replaceAll(/\$handle(\d)/g, (all, at) => this.#handles[at] ?? all);
    const body =
      way.method === "GET" || way.method === "HEAD"
        ? undefined
        : withHandles(mutated(message, mutation), this.#handles);
    return { method: way.method, path: put(way.path), headers: [...base].flat().map(put), body };
  }
}

const meta = {
  [`${META}protocolVersion`]: "2026-07-28",
  [`${META}clientCapabilities`]: every,
  [`${META}clientInfo`]: { name: "a", version: "1" },
};

/** An upstream with something of everything, and in every answer whose account it was. */
async function furnish({ evil, evilId, gateway }: HostileStage): Promise<void> {
  const complete = { resultType: "complete", ttlMs: 0, cacheScope: "private" };
  const withMarker =
    (result: (marker: string) => Json): Handler =>
    (exchange) =>
      answer.result({ ...complete, ...result(String(exchange.request.headers["x-account"])) })(exchange);
  const capabilities = {
    tools: {},
    prompts: {},
    resources: { subscribe: true },
    completions: {},
    logging: {},
  };
  evil
    .on("server/discover", answer.result({ ...complete, supportedVersions: ["2026-07-28"], capabilities }))
    .on("prompts/list", answer.result({ ...complete, prompts: [{ name: "greet" }] }))
    .on("resources/list", answer.result({ ...complete, resources: [{ name: "mine", uri: "evil://mine" }] }))
    .on(
      "resources/templates/list",
      answer.result({ ...complete, resourceTemplates: [{ name: "any", uriTemplate: "evil://{any}" }] }),
    )
    .on(
      "prompts/get",
      withMarker((text) => ({ messages: [{ role: "user", content: { type: "text", text } }] })),
    )
    .on(
      "resources/read",
      withMarker((text) => ({ contents: [{ uri: "evil://mine", text }] })),
    )
    .on(
      "completion/complete",
      withMarker((text) => ({ completion: { values: [text] } })),
    );
  const usual = evil.standing("tools/call")!;
  evil.on("tools/call", (exchange) => {
    const { name, inputResponses } = exchange.request.body?.params ?? {};
    if (name !== "ask" || inputResponses !== undefined) return (name === "ask" ? asUsual : usual)(exchange);
    const account = String(exchange.request.headers["x-account"]);
    const q = {
      method: "elicitation/create",
      params: {
        mode: "form",
        message: `Sure, ${account}?`,
        requestedSchema: { type: "object", properties: {} },
      },
    };
    return answer.result({
      resultType: "input_required",
      inputRequests: { q },
      requestState: `state of ${account}`,
    })(exchange);
  });
  await gateway.admin("POST", `/api/mcp/client/${evilId}/refresh-tools`);
}

interface BobsThings {
  session: string;
  state: string;
  sse: string;
  eventId: string;
  call: { release(): Promise<string> };
}

/** What Bob has open, by every name that somebody could get hold of. */
async function bobsThings(stage: HostileStage, signal: AbortSignal): Promise<BobsThings> {
  const { bob, gateway } = stage;
  const session = await bob.session();
  const asked = await ask(bob, {});
  const listen = async (path: string, headers: Record<string, string>) => {
    const response = await fetch(gateway.url + path, {
      signal,
      headers: { authorization: `Bearer ${bob.key}`, accept: "text/event-stream", ...headers },
    });
    const { value } = await response.body!.getReader().read();
    return new TextDecoder().decode(value);
  };
  const stream = await listen("/mcp", { "mcp-session-id": session });
  const sse = await listen("/sse", {});
  return {
    session,
    state: (asked.result as Json).requestState as string,
    sse: /\/sse\/(\S+)/.exec(sse)![1]!,
    eventId: /id: (\S+)/.exec(stream)![1]!,
    call: await stage.bobWaits({ id: "bob-1", progressToken: "bob-progress" }),
  };
}

async function ask(caller: Caller, more: Json): Promise<Json> {
  const _meta = { [`${META}clientCapabilities`]: every };
  return (await caller.request("tools/call", { name: "evil-ask", arguments: {}, ...more, _meta })).message;
}

function textOf(message: Json): unknown {
  return (message.result as { content?: { text: string }[] } | undefined)?.content?.[0]?.text;
}
