import { beforeEach, describe, expect, test } from "vitest";
import { answer } from "../../test/peers/scripted-upstream.ts";
import { type Json, META } from "./endpoint.suite.ts";
import { eras, features, fewer, stage } from "./features.suite.ts";

describe.each(eras)("lists, %s client", (era) => {
  test("prompts of all upstreams under {upstream}-{prompt}, every field kept, without asking anybody", async () => {
    const before = stage.requests();
    const { result } = (await stage.ask(era, "prompts/list")).body;
    expect(result.prompts).toEqual([{ ...features.prompts[0], name: "acme-greet" }, { name: "beta-greet" }]);
    expect(stage.requests()).toBe(before);
    if (era === "modern")
      expect(result).toMatchObject({ ttlMs: 10_000, cacheScope: "private", resultType: "complete" });
  });

  test("resources and templates, the URIs of two told apart, icons and unknown fields kept", async () => {
    const { resources } = (await stage.ask(era, "resources/list")).body.result;
    expect(resources).toEqual([
      features.resources[1],
      { ...features.resources[0], uri: "postern://acme/file:///readme.md" },
      { ...fewer.resources[0], uri: "postern://beta/file:///readme.md" },
    ]);
    const templates = (await stage.ask(era, "resources/templates/list")).body.result;
    expect(templates.resourceTemplates).toEqual(features.templates);
  });

  test("ID-30 only what this caller may use: rules and request filters, in lists and when asked for", async () => {
    const names = async () =>
      (await stage.ask(era, "prompts/list")).body.result.prompts.map((one: Json) => one.name);
    const headers = { "x-bf-mcp-include-clients": "beta" };
    const filtered = (await stage.ask(era, "prompts/list", {}, headers)).body.result.prompts;
    expect(filtered.map((one: Json) => one.name)).toEqual(["beta-greet"]);
    const none = (await stage.ask(era, "resources/list", {}, { "x-bf-mcp-include-tools": "" })).body.result;
    expect(none.resources).toEqual([]);
    stage.key = await stage.keyFor([stage.second]);
    expect(await names()).toEqual(["beta-greet"]);
    // Alone, the other's name is not in the way, and that there is another is not told.
    const { resources } = (await stage.ask(era, "resources/list")).body.result;
    expect(resources).toEqual(fewer.resources);
    expect((await stage.ask(era, "prompts/get", { name: "acme-greet" })).body.error.code).toBe(-32602);
    // A scheme nobody listed is the only upstream's to answer, and this one knows no resources after all.
    expect((await stage.ask(era, "resources/read", { uri: "acme://only" })).body.error.code).toBe(-32601);
    expect(stage.acme.requests).toHaveLength(0);
  });

  test("an upstream without tools for this caller offers nothing else either", async () => {
    await stage.bench.upstreams.update(stage.first.id, { tools_to_execute: [] } as never);
    expect((await stage.ask(era, "prompts/list")).body.result.prompts).toHaveLength(1);
  });

  test("pages of our own, and a cursor of somebody else", async () => {
    const prompts = Array.from({ length: 1_001 }, (_, index) => ({
      name: `p${String(index).padStart(4, "0")}`,
    }));
    await stage.bench.upstreams.recordTools(stage.first.id, [], { ...features, prompts });
    const one = (await stage.ask(era, "prompts/list")).body.result;
    expect(one.prompts).toHaveLength(1_000);
    const two = (await stage.ask(era, "prompts/list", { cursor: one.nextCursor })).body.result;
    expect([two.prompts.map((prompt: Json) => prompt.name), two.nextCursor]).toEqual([
      ["acme-p1000", "beta-greet"],
      undefined,
    ]);
    expect((await stage.ask(era, "prompts/list", { cursor: "!" })).body.error.code).toBe(-32602);
  });
});

describe.each(eras)("what goes on to an upstream, %s client", (era) => {
  test("prompts/get under the upstream's own name, and the result as it came", async () => {
    const result = {
      description: "d",
      messages: [{ role: "user", content: { type: "text", text: "hi" } }],
      "x-kept": 1,
    };
    stage.acme.on("prompts/get", answer.result({ ...result, resultType: "complete" }));
    stage.other.on("prompts/get", answer.result(result));
    for (const [name, peer] of [
      ["acme-greet", stage.acme],
      ["beta-greet", stage.other],
    ] as const) {
      const { body } = await stage.ask(era, "prompts/get", { name, arguments: { who: "Ada" } });
      expect(body.result).toMatchObject(result);
      const [sent] = peer.calls("prompts/get");
      expect(sent?.body?.params).toMatchObject({ name: "greet", arguments: { who: "Ada" } });
      if (peer === stage.acme) expect(sent?.headers["mcp-name"]).toBe("greet");
    }
    expect(stage.bench.calls.map(({ upstream, tool, outcome }) => [upstream, tool, outcome])).toEqual([
      ["acme", "prompts/get", "result"],
      ["beta", "prompts/get", "result"],
    ]);
  });

  test("resources/read with the upstream's own URI; contents come back under the URI that was asked", async () => {
    const contents = [
      { uri: "file:///readme.md", text: "# hi", "x-kept": true },
      { uri: "file:///other.md", blob: "AA==" },
    ];
    stage.acme.on(
      "resources/read",
      answer.result({ contents, resultType: "complete", ttlMs: 5, cacheScope: "public" }),
    );
    const uri = "postern://acme/file:///readme.md";
    const { result } = (await stage.ask(era, "resources/read", { uri })).body;
    expect(result.contents[0]).toEqual({ ...contents[0], uri });
    expect(stage.acme.calls("resources/read")[0]).toMatchObject({
      body: { params: { uri: "file:///readme.md" } },
      headers: { "mcp-name": "file:///readme.md" },
    });
    if (era === "modern") expect(result).toMatchObject({ ttlMs: 5, cacheScope: "private" });
    const row = await stage.ask(era, "resources/read", { uri: "acme://rows/7" });
    expect(row.body.result.contents).toHaveLength(2);
    expect(stage.acme.calls("resources/read")[1]?.body?.params?.uri).toBe("acme://rows/7");
  });

  test("an older upstream's result gets what 2026-07-28 requires, its errors the client's code", async () => {
    stage.other.on("resources/read", answer.result({ contents: [] }));
    const uri = "postern://beta/file:///readme.md";
    const { result } = (await stage.ask(era, "resources/read", { uri })).body;
    if (era === "modern")
      expect(result).toMatchObject({ ttlMs: 0, cacheScope: "private", resultType: "complete" });
    else expect(result).toEqual({ contents: [] });
    stage.other.on("resources/read", answer.error(-32002, "Resource not found"));
    expect((await stage.ask(era, "resources/read", { uri })).body.error.code).toBe(
      era === "modern" ? -32602 : -32002,
    );
  });

  test("an unknown resource, and a URI that several have", async () => {
    for (const uri of ["nobody://1", "file:///readme.md"]) {
      const { status, body } = await stage.ask(era, "resources/read", { uri });
      expect([status, body.error.code, body.error.data]).toEqual([
        200,
        era === "modern" ? -32602 : -32002,
        { uri },
      ]);
    }
    expect(stage.requests()).toBe(0);
  });

  test("completion/complete for prompts and templates; nobody is asked who proposes nothing", async () => {
    stage.acme.on(
      "completion/complete",
      answer.result({ completion: { values: ["Ada"] }, resultType: "complete" }),
    );
    const argument = { name: "who", value: "A" };
    const context = { arguments: { a: "b" } };
    const prompt = { ref: { type: "ref/prompt", name: "acme-greet" }, argument, context };
    expect((await stage.ask(era, "completion/complete", prompt)).body.result.completion).toEqual({
      values: ["Ada"],
    });
    const row = { ref: { type: "ref/resource", uri: "acme://rows/{id}" }, argument };
    expect((await stage.ask(era, "completion/complete", row)).body.result.completion.values).toEqual(["Ada"]);
    const sent = stage.acme
      .calls("completion/complete")
      .map(({ body }) => [body?.params?.ref, body?.params?.context]);
    expect(sent).toEqual([
      [{ type: "ref/prompt", name: "greet" }, context],
      [{ type: "ref/resource", uri: "acme://rows/{id}" }, undefined],
    ]);
    const silent = { ref: { type: "ref/prompt", name: "beta-greet" }, argument };
    expect((await stage.ask(era, "completion/complete", silent)).body.result.completion.values).toEqual([]);
    expect(stage.other.requests).toHaveLength(0);
    const unknown = { ref: { type: "ref/prompt", name: "acme-nope" }, argument };
    expect((await stage.ask(era, "completion/complete", unknown)).body.error.code).toBe(-32602);
  });

  test("MC-25 a result no client could read is an error of ours", async () => {
    stage.acme.on("prompts/get", answer.result({ resultType: "complete" }));
    const { error } = (await stage.ask(era, "prompts/get", { name: "acme-greet" })).body;
    expect(error.data.code).toBe("upstream_protocol");
  });

  test("progress of a prompt reaches the client under its own token", async () => {
    const result = { messages: [], resultType: "complete" };
    stage.acme.on("prompts/get", async (exchange) => {
      const { progressToken } = exchange.request.body?.params?._meta ?? {};
      const params = { progressToken, progress: 1 };
      await answer.sse({ method: "notifications/progress", params }, { result })(exchange);
    });
    const meta =
      era === "modern" ? { [`${META}protocolVersion`]: "2026-07-28", [`${META}clientCapabilities`]: {} } : {};
    const response = await stage.bench.fetch(
      {
        jsonrpc: "2.0",
        id: 1,
        method: "prompts/get",
        params: { name: "acme-greet", _meta: { ...meta, progressToken: "t" } },
      },
      {
        authorization: `Bearer ${stage.key}`,
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

describe("a missing account", () => {
  const perUser = { auth_type: "per_user_oauth", oauth_config: { client_id: "c" } };
  const text = /^Authentication required for mine\. Open this URL to connect your account: http/;

  beforeEach(async () => {
    stage.key = await stage.keyFor([
      await stage.offered(
        stage.acme,
        "mine",
        { ...features, resources: [{ name: "M", uri: "mine://1" }] },
        perUser,
      ),
    ]);
  });

  test.each(eras)(
    "without URL elicitation it is an error with the link, %s; nobody is asked",
    async (era) => {
      for (const [method, params] of [
        ["prompts/get", { name: "mine-greet" }],
        ["resources/read", { uri: "mine://1" }],
      ] as const) {
        const { status, body } = await stage.ask(era, method, params);
        expect([status, body.error.code]).toEqual([200, -32603]);
        expect(body.error.message).toMatch(text);
        expect(body.error.data).toMatchObject({
          code: "mcp_auth_required",
          mcp_auth_required: { mcp_client_name: "mine" },
        });
      }
      expect(stage.acme.requests).toHaveLength(0);
    },
  );

  test("2026-07-28 with URL elicitation: input_required, whose state fits this request alone", async () => {
    const caps = { elicitation: { url: {} } };
    const read = (params: Json) =>
      stage.bench.modern(stage.key, "resources/read", params, { "mcp-name": String(params.uri) }, caps);
    const { result } = (await read({ uri: "mine://1" })).body;
    expect(result).toMatchObject({
      resultType: "input_required",
      inputRequests: { auth: { method: "elicitation/create", params: { mode: "url" } } },
    });
    const stray = await stage.bench.modern(
      stage.key,
      "prompts/get",
      { name: "mine-greet", requestState: result.requestState },
      {},
      caps,
    );
    expect(stray.body.error.code).toBe(-32602);
  });

  test("2025-11-25 with URL elicitation: -32042", async () => {
    const session = await stage.bench.session(stage.key, { elicitation: { url: {} } });
    const { error } = (await stage.bench.legacy(stage.key, "prompts/get", { name: "mine-greet" }, session))
      .body;
    expect([error.code, error.data.elicitations[0].mode]).toEqual([-32042, "url"]);
  });
});
