import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { answer, type ScriptedUpstream, startScriptedUpstream } from "../../test/peers/scripted-upstream.ts";
import { checkDefinition, type Features, type Upstream } from "../upstreams/index.ts";
import { type Bench, echo, type Json, META, openBench } from "./endpoint.suite.ts";

let acme: ScriptedUpstream;
let other: ScriptedUpstream;
let bench: Bench;
let key: string;
let first: Upstream;
let second: Upstream;

const icons = [{ src: "data:image/png;base64,AA==", mimeType: "image/png" }];
const features: Features = {
  capabilities: { resources: {}, prompts: {}, completions: {}, tools: {} },
  resources: [
    { name: "Readme", uri: "file:///readme.md", icons, annotations: { priority: 0.5 }, "x-kept": [1.5] },
    { name: "Only", uri: "acme://only" },
  ],
  templates: [{ name: "Row", uriTemplate: "acme://rows/{id}", "x-kept": true }],
  prompts: [{ name: "greet", title: "Greet", arguments: [{ name: "who", required: true }], icons }],
};
const fewer: Features = {
  capabilities: { resources: {}, prompts: {} },
  resources: [{ name: "Readme", uri: "file:///readme.md" }],
  templates: [],
  prompts: [{ name: "greet" }],
};

beforeEach(async () => {
  acme = await startScriptedUpstream({ tools: [echo] });
  other = await startScriptedUpstream({ tools: [echo], era: "legacy" });
  bench = await openBench(acme, other);
  first = await offered(acme, "acme", features);
  second = await offered(other, "beta", fewer);
  key = await keyFor([first, second]);
});

afterEach(async () => {
  await bench.close();
  await acme.close();
  await other.close();
});

async function offered(peer: ScriptedUpstream, name: string, what: Features, more: Json = {}) {
  const upstream = await bench.upstream(peer, { name, ...more });
  await bench.upstreams.recordTools(upstream.id, peer.tools, what);
  await bench.upstreams.recordEra(upstream.id, peer.era);
  return bench.upstreams.get(upstream.id);
}

async function keyFor(upstreams: Upstream[], tools = ["*"]): Promise<string> {
  const configs = upstreams.map(({ id }) => ({ upstreamId: id, tools }));
  return (await bench.key(`k${Math.random()}`, configs)).value;
}

const eras = ["modern", "legacy"] as const;
const ask = (
  era: (typeof eras)[number],
  method: string,
  params: Json = {},
  headers: Record<string, string> = {},
) => {
  const named: Record<string, string> =
    typeof params.uri === "string" && era === "modern" ? { "mcp-name": params.uri } : {};
  return bench[era](key, method, params, { ...named, ...headers });
};
const requests = () => acme.requests.length + other.requests.length;

describe.each(eras)("lists, %s client", (era) => {
  test("prompts of all upstreams under {upstream}-{prompt}, every field kept, without asking anybody", async () => {
    const before = requests();
    const { result } = (await ask(era, "prompts/list")).body;
    expect(result.prompts).toEqual([{ ...features.prompts[0], name: "acme-greet" }, { name: "beta-greet" }]);
    expect(requests()).toBe(before);
    if (era === "modern")
      expect(result).toMatchObject({ ttlMs: 10_000, cacheScope: "private", resultType: "complete" });
  });

  test("resources and templates, the URIs of two told apart, icons and unknown fields kept", async () => {
    const { resources } = (await ask(era, "resources/list")).body.result;
    expect(resources).toEqual([
      features.resources[1],
      { ...features.resources[0], uri: "postern://acme/file:///readme.md" },
      { ...fewer.resources[0], uri: "postern://beta/file:///readme.md" },
    ]);
    const templates = (await ask(era, "resources/templates/list")).body.result;
    expect(templates.resourceTemplates).toEqual(features.templates);
  });

  test("ID-30 only what this caller may use: rules and request filters, in lists and when asked for", async () => {
    const names = async () =>
      (await ask(era, "prompts/list")).body.result.prompts.map((one: Json) => one.name);
    const headers = { "x-bf-mcp-include-clients": "beta" };
    const filtered = (await ask(era, "prompts/list", {}, headers)).body.result.prompts;
    expect(filtered.map((one: Json) => one.name)).toEqual(["beta-greet"]);
    const none = (await ask(era, "resources/list", {}, { "x-bf-mcp-include-tools": "" })).body.result;
    expect(none.resources).toEqual([]);
    key = await keyFor([second]);
    expect(await names()).toEqual(["beta-greet"]);
    // Alone, the other's name is not in the way, and that there is another is not told.
    const { resources } = (await ask(era, "resources/list")).body.result;
    expect(resources).toEqual(fewer.resources);
    expect((await ask(era, "prompts/get", { name: "acme-greet" })).body.error.code).toBe(-32602);
    // A scheme nobody listed is the only upstream's to answer, and this one knows no resources after all.
    expect((await ask(era, "resources/read", { uri: "acme://only" })).body.error.code).toBe(-32601);
    expect(acme.requests).toHaveLength(0);
  });

  test("an upstream without tools for this caller offers nothing else either", async () => {
    await bench.upstreams.update(first.id, { tools_to_execute: [] } as never);
    expect((await ask(era, "prompts/list")).body.result.prompts).toHaveLength(1);
  });

  test("pages of our own, and a cursor of somebody else", async () => {
    const prompts = Array.from({ length: 1_001 }, (_, index) => ({
      name: `p${String(index).padStart(4, "0")}`,
    }));
    await bench.upstreams.recordTools(first.id, [], { ...features, prompts });
    const one = (await ask(era, "prompts/list")).body.result;
    expect(one.prompts).toHaveLength(1_000);
    const two = (await ask(era, "prompts/list", { cursor: one.nextCursor })).body.result;
    expect([two.prompts.map((prompt: Json) => prompt.name), two.nextCursor]).toEqual([
      ["acme-p1000", "beta-greet"],
      undefined,
    ]);
    expect((await ask(era, "prompts/list", { cursor: "!" })).body.error.code).toBe(-32602);
  });
});

describe.each(eras)("what goes on to an upstream, %s client", (era) => {
  test("prompts/get under the upstream's own name, and the result as it came", async () => {
    const result = {
      description: "d",
      messages: [{ role: "user", content: { type: "text", text: "hi" } }],
      "x-kept": 1,
    };
    acme.on("prompts/get", answer.result({ ...result, resultType: "complete" }));
    other.on("prompts/get", answer.result(result));
    for (const [name, peer] of [
      ["acme-greet", acme],
      ["beta-greet", other],
    ] as const) {
      const { body } = await ask(era, "prompts/get", { name, arguments: { who: "Ada" } });
      expect(body.result).toMatchObject(result);
      const [sent] = peer.calls("prompts/get");
      expect(sent?.body?.params).toMatchObject({ name: "greet", arguments: { who: "Ada" } });
      if (peer === acme) expect(sent?.headers["mcp-name"]).toBe("greet");
    }
    expect(bench.calls.map(({ upstream, tool, outcome }) => [upstream, tool, outcome])).toEqual([
      ["acme", "prompts/get", "result"],
      ["beta", "prompts/get", "result"],
    ]);
  });

  test("resources/read with the upstream's own URI; contents come back under the URI that was asked", async () => {
    const contents = [
      { uri: "file:///readme.md", text: "# hi", "x-kept": true },
      { uri: "file:///other.md", blob: "AA==" },
    ];
    acme.on(
      "resources/read",
      answer.result({ contents, resultType: "complete", ttlMs: 5, cacheScope: "public" }),
    );
    const uri = "postern://acme/file:///readme.md";
    const { result } = (await ask(era, "resources/read", { uri })).body;
    expect(result.contents[0]).toEqual({ ...contents[0], uri });
    expect(acme.calls("resources/read")[0]).toMatchObject({
      body: { params: { uri: "file:///readme.md" } },
      headers: { "mcp-name": "file:///readme.md" },
    });
    if (era === "modern") expect(result).toMatchObject({ ttlMs: 5, cacheScope: "private" });
    const row = await ask(era, "resources/read", { uri: "acme://rows/7" });
    expect(row.body.result.contents).toHaveLength(2);
    expect(acme.calls("resources/read")[1]?.body?.params?.uri).toBe("acme://rows/7");
  });

  test("an older upstream's result gets what 2026-07-28 requires, its errors the client's code", async () => {
    other.on("resources/read", answer.result({ contents: [] }));
    const uri = "postern://beta/file:///readme.md";
    const { result } = (await ask(era, "resources/read", { uri })).body;
    if (era === "modern")
      expect(result).toMatchObject({ ttlMs: 0, cacheScope: "private", resultType: "complete" });
    else expect(result).toEqual({ contents: [] });
    other.on("resources/read", answer.error(-32002, "Resource not found"));
    expect((await ask(era, "resources/read", { uri })).body.error.code).toBe(
      era === "modern" ? -32602 : -32002,
    );
  });

  test("an unknown resource, and a URI that several have", async () => {
    for (const uri of ["nobody://1", "file:///readme.md"]) {
      const { status, body } = await ask(era, "resources/read", { uri });
      expect([status, body.error.code, body.error.data]).toEqual([
        200,
        era === "modern" ? -32602 : -32002,
        { uri },
      ]);
    }
    expect(requests()).toBe(0);
  });

  test("completion/complete for prompts and templates; nobody is asked who proposes nothing", async () => {
    acme.on(
      "completion/complete",
      answer.result({ completion: { values: ["Ada"] }, resultType: "complete" }),
    );
    const argument = { name: "who", value: "A" };
    const context = { arguments: { a: "b" } };
    const prompt = { ref: { type: "ref/prompt", name: "acme-greet" }, argument, context };
    expect((await ask(era, "completion/complete", prompt)).body.result.completion).toEqual({
      values: ["Ada"],
    });
    const row = { ref: { type: "ref/resource", uri: "acme://rows/{id}" }, argument };
    expect((await ask(era, "completion/complete", row)).body.result.completion.values).toEqual(["Ada"]);
    const sent = acme
      .calls("completion/complete")
      .map(({ body }) => [body?.params?.ref, body?.params?.context]);
    expect(sent).toEqual([
      [{ type: "ref/prompt", name: "greet" }, context],
      [{ type: "ref/resource", uri: "acme://rows/{id}" }, undefined],
    ]);
    const silent = { ref: { type: "ref/prompt", name: "beta-greet" }, argument };
    expect((await ask(era, "completion/complete", silent)).body.result.completion.values).toEqual([]);
    expect(other.requests).toHaveLength(0);
    const unknown = { ref: { type: "ref/prompt", name: "acme-nope" }, argument };
    expect((await ask(era, "completion/complete", unknown)).body.error.code).toBe(-32602);
  });

  test("MC-25 a result no client could read is an error of ours", async () => {
    acme.on("prompts/get", answer.result({ resultType: "complete" }));
    const { error } = (await ask(era, "prompts/get", { name: "acme-greet" })).body;
    expect(error.data.code).toBe("upstream_protocol");
  });

  test("progress of a prompt reaches the client under its own token", async () => {
    const result = { messages: [], resultType: "complete" };
    acme.on("prompts/get", async (exchange) => {
      const { progressToken } = exchange.request.body?.params?._meta ?? {};
      const params = { progressToken, progress: 1 };
      await answer.sse({ method: "notifications/progress", params }, { result })(exchange);
    });
    const meta =
      era === "modern" ? { [`${META}protocolVersion`]: "2026-07-28", [`${META}clientCapabilities`]: {} } : {};
    const response = await bench.fetch(
      {
        jsonrpc: "2.0",
        id: 1,
        method: "prompts/get",
        params: { name: "acme-greet", _meta: { ...meta, progressToken: "t" } },
      },
      {
        authorization: `Bearer ${key}`,
        ...(era === "modern" && {
          "mcp-protocol-version": "2026-07-28",
          "mcp-method": "prompts/get",
          "mcp-name": "acme-greet",
        }),
      },
    );
    expect(response.headers.get("content-type")).toBe("text/event-stream");
    expect(await response.text()).toContain('"progressToken":"t"');
  });
});

describe("capabilities", () => {
  const offeredTo = async (era: (typeof eras)[number]) =>
    era === "modern"
      ? (await ask(era, "server/discover")).body.result.capabilities
      : (await ask(era, "initialize", { protocolVersion: "2025-11-25", capabilities: {} })).body.result
          .capabilities;

  test.each(eras)("what one of this caller's upstreams declared, %s", async (era) => {
    expect(await offeredTo(era)).toMatchObject({ tools: {}, prompts: {}, resources: {}, completions: {} });
    key = await keyFor([second]);
    expect(await offeredTo(era)).not.toHaveProperty("completions");
    key = await keyFor([]);
    expect(Object.keys(await offeredTo(era))).toEqual(["tools"]);
    const { status, body } = await ask(era, "prompts/list");
    expect([status, body.error.code]).toEqual([era === "modern" ? 404 : 200, -32601]);
  });

  test("an upstream nobody has read yet may offer anything, and its lists are empty", async () => {
    const url = {
      name: "new",
      connection_type: "http",
      connection_string: acme.url,
      tools_to_execute: ["*"],
    };
    key = await keyFor([await bench.upstreams.create(checkDefinition(url as never), "api")]);
    expect(await offeredTo("modern")).toMatchObject({ prompts: {}, resources: {} });
    expect((await ask("modern", "prompts/list")).body.result.prompts).toEqual([]);
  });
});

describe("a missing account", () => {
  const perUser = { auth_type: "per_user_oauth", oauth_config: { client_id: "c" } };
  const text = /^Authentication required for mine\. Open this URL to connect your account: http/;

  beforeEach(async () => {
    key = await keyFor([
      await offered(acme, "mine", { ...features, resources: [{ name: "M", uri: "mine://1" }] }, perUser),
    ]);
  });

  test.each(eras)(
    "without URL elicitation it is an error with the link, %s; nobody is asked",
    async (era) => {
      for (const [method, params] of [
        ["prompts/get", { name: "mine-greet" }],
        ["resources/read", { uri: "mine://1" }],
      ] as const) {
        const { status, body } = await ask(era, method, params);
        expect([status, body.error.code]).toEqual([200, -32603]);
        expect(body.error.message).toMatch(text);
        expect(body.error.data).toMatchObject({
          code: "mcp_auth_required",
          mcp_auth_required: { mcp_client_name: "mine" },
        });
      }
      expect(acme.requests).toHaveLength(0);
    },
  );

  test("2026-07-28 with URL elicitation: input_required, whose state fits this request alone", async () => {
    const caps = { elicitation: { url: {} } };
    const read = (params: Json) =>
      bench.modern(key, "resources/read", params, { "mcp-name": String(params.uri) }, caps);
    const { result } = (await read({ uri: "mine://1" })).body;
    expect(result).toMatchObject({
      resultType: "input_required",
      inputRequests: { auth: { method: "elicitation/create", params: { mode: "url" } } },
    });
    const stray = await bench.modern(
      key,
      "prompts/get",
      { name: "mine-greet", requestState: result.requestState },
      {},
      caps,
    );
    expect(stray.body.error.code).toBe(-32602);
  });

  test("2025-11-25 with URL elicitation: -32042", async () => {
    const session = await bench.session(key, { elicitation: { url: {} } });
    const { error } = (await bench.legacy(key, "prompts/get", { name: "mine-greet" }, session)).body;
    expect([error.code, error.data.elicitations[0].mode]).toEqual([-32042, "url"]);
  });
});

describe("logging", () => {
  const log = (level: string) => ({ method: "notifications/message", params: { level, data: level } });
  const logging = { ...features, capabilities: { ...features.capabilities, logging: {} } };
  const levelsIn = (text: string) => [...text.matchAll(/"level":"(\w+)"/g)].map(([, level]) => level);

  beforeEach(async () => {
    for (const [peer, { id }] of [
      [acme, first],
      [other, second],
    ] as const) {
      const result = { content: [], ...(peer.era === "modern" && { resultType: "complete" }) };
      peer.on("tools/call", answer.sse(log("debug"), log("error"), { result }));
      peer.on("logging/setLevel", answer.result({}));
      await bench.upstreams.recordTools(id, peer.tools, logging);
    }
    other.next((exchange) => {
      exchange.res.setHeader("mcp-session-id", "s1");
      other.sessions.add("s1");
      const result = {
        protocolVersion: "2025-11-25",
        capabilities: logging.capabilities,
        serverInfo: { name: "o" },
      };
      return answer.result(result)(exchange);
    }, "initialize");
  });

  async function called(name: string, session: Record<string, string>): Promise<string> {
    const response = await bench.fetch(
      { jsonrpc: "2.0", id: 1, method: "tools/call", params: { name, arguments: {} } },
      { authorization: `Bearer ${key}`, ...session },
    );
    return await response.text();
  }

  test("logging/setLevel holds for the session, towards upstreams of both eras", async () => {
    const session = await bench.session(key, {});
    expect(levelsIn(await called("acme-echo", session))).toEqual(["debug", "error"]);
    expect((await bench.legacy(key, "logging/setLevel", { level: "warning" }, session)).body.result).toEqual(
      {},
    );
    expect(levelsIn(await called("acme-echo", session))).toEqual(["error"]);
    expect(acme.calls("tools/call")[1]?.body?.params?._meta?.[`${META}logLevel`]).toBe("warning");
    expect(levelsIn(await called("beta-echo", session))).toEqual(["error"]);
    await called("beta-echo", session);
    expect(other.calls("logging/setLevel").map(({ body }) => body?.params)).toEqual([{ level: "warning" }]);
    expect(levelsIn(await called("acme-echo", await bench.session(key, {})))).toEqual(["debug", "error"]);
    expect((await bench.legacy(key, "logging/setLevel", { level: "loud" }, session)).body.error.code).toBe(
      -32602,
    );
  });

  test("2026-07-28: the level of the request, and none without", async () => {
    const _meta = { [`${META}logLevel`]: "error" };
    const sent = { jsonrpc: "2.0", id: 1, method: "tools/call" };
    const version = { [`${META}protocolVersion`]: "2026-07-28", [`${META}clientCapabilities`]: {} };
    const headers = {
      authorization: `Bearer ${key}`,
      "mcp-protocol-version": "2026-07-28",
      "mcp-method": "tools/call",
    };
    const post = async (meta: Json) => {
      const params = { name: "beta-echo", arguments: {}, _meta: { ...version, ...meta } };
      return (await bench.fetch({ ...sent, params }, { ...headers, "mcp-name": "beta-echo" })).text();
    };
    expect(levelsIn(await post(_meta))).toEqual(["error"]);
    expect(levelsIn(await post({}))).toEqual([]);
    expect((await bench.modern(key, "logging/setLevel", { level: "error" })).status).toBe(404);
  });
});

describe("MCP Apps", () => {
  const page = "ui://shop/view.html";
  const shop: Features = {
    capabilities: { tools: {}, resources: {}, extensions: { "io.modelcontextprotocol/ui": {} } },
    resources: [
      { name: "View", uri: page, mimeType: "text/html;profile=mcp-app", _meta: { ui: { csp: {} } } },
    ],
    templates: [],
    prompts: [],
  };
  const show = {
    ...echo,
    name: "show",
    _meta: { ui: { resourceUri: page, "x-kept": 1 }, "ui/resourceUri": page },
  };
  const buy = { ...echo, name: "buy", _meta: { ui: { visibility: ["app"] } } };
  const tools = async (era: (typeof eras)[number]) => (await ask(era, "tools/list")).body.result.tools;

  beforeEach(async () => {
    acme.tools = [show, buy];
    await bench.upstreams.recordTools(first.id, acme.tools, shop);
  });

  test.each(eras)(
    "a page, its tool and its metadata stay as they are where nobody else has the URI, %s",
    async (era) => {
      expect((await tools(era)).find((tool: Json) => tool.name === "acme-show")._meta).toEqual(show._meta);
      const { resources } = (await ask(era, "resources/list")).body.result;
      expect(resources.at(-1)).toEqual(shop.resources[0]);
      const contents = [{ uri: page, mimeType: "text/html;profile=mcp-app", text: "<p>", _meta: { ui: {} } }];
      acme.on("resources/read", answer.result({ contents, resultType: "complete" }));
      expect((await ask(era, "resources/read", { uri: page })).body.result.contents).toEqual(contents);
    },
  );

  test.each(eras)(
    "where two have it, tool and list name the same page, and reading it reaches its server, %s",
    async (era) => {
      other.tools = [show];
      await bench.upstreams.recordTools(second.id, other.tools, shop);
      const uri = `ui://postern/acme/${page}`;
      expect((await tools(era)).find((tool: Json) => tool.name === "acme-show")._meta).toEqual({
        ui: { resourceUri: uri, "x-kept": 1 },
        "ui/resourceUri": uri,
      });
      acme.on(
        "resources/read",
        answer.result({ contents: [{ uri: page, text: "<p>" }], resultType: "complete" }),
      );
      expect((await ask(era, "resources/read", { uri })).body.result.contents).toEqual([
        { uri, text: "<p>" },
      ]);
      expect(other.calls("resources/read")).toHaveLength(0);
    },
  );

  test.each(eras)(
    "MC-18 a page calls its tools by their own names, where only one upstream with pages has them, %s",
    async (era) => {
      expect((await ask(era, "tools/call", { name: "buy", arguments: {} })).body.result).toBeDefined();
      expect(acme.calls("tools/call")[0]?.body?.params?.name).toBe("buy");
      // No page, no such name: the other upstream's tool is called by its full name alone.
      expect((await ask(era, "tools/call", { name: "echo", arguments: {} })).body.error.code).toBe(-32602);
      other.tools = [show, buy];
      await bench.upstreams.recordTools(second.id, other.tools, shop);
      expect((await ask(era, "tools/call", { name: "buy", arguments: {} })).body.error.code).toBe(-32602);
      key = await keyFor([first], ["show"]);
      expect((await ask(era, "tools/call", { name: "buy", arguments: {} })).body.error.code).toBe(-32602);
    },
  );
});
