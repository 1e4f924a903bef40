import { beforeEach, describe, expect, test } from "vitest";
import { answer } from "../../test/peers/scripted-upstream.ts";
import type { Features } from "../upstreams/index.ts";
import { echo, type Json } from "./endpoint.suite.ts";
import { eras, stage } from "./features.suite.ts";

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
  const tools = async (era: (typeof eras)[number]) => (await stage.ask(era, "tools/list")).body.result.tools;

  beforeEach(async () => {
    stage.acme.tools = [show, buy];
    await stage.bench.upstreams.recordTools(stage.first.id, stage.acme.tools, shop);
  });

  test.each(eras)(
    "a page, its tool and its metadata stay as they are where nobody else has the URI, %s",
    async (era) => {
      expect((await tools(era)).find((tool: Json) => tool.name === "acme-show")._meta).toEqual(show._meta);
      const { resources } = (await stage.ask(era, "resources/list")).body.result;
      expect(resources.at(-1)).toEqual(shop.resources[0]);
      const contents = [{ uri: page, mimeType: "text/html;profile=mcp-app", text: "<p>", _meta: { ui: {} } }];
      stage.acme.on("resources/read", answer.result({ contents, resultType: "complete" }));
      expect((await stage.ask(era, "resources/read", { uri: page })).body.result.contents).toEqual(contents);
    },
  );

  test.each(eras)(
    "where two have it, tool and list name the same page, and reading it reaches its server, %s",
    async (era) => {
      stage.other.tools = [show];
      await stage.bench.upstreams.recordTools(stage.second.id, stage.other.tools, shop);
      const uri = `ui://postern/acme/${page}`;
      expect((await tools(era)).find((tool: Json) => tool.name === "acme-show")._meta).toEqual({
        ui: { resourceUri: uri, "x-kept": 1 },
        "ui/resourceUri": uri,
      });
      stage.acme.on(
        "resources/read",
        answer.result({ contents: [{ uri: page, text: "<p>" }], resultType: "complete" }),
      );
      expect((await stage.ask(era, "resources/read", { uri })).body.result.contents).toEqual([
        { uri, text: "<p>" },
      ]);
      expect(stage.other.calls("resources/read")).toHaveLength(0);
    },
  );

  test.each(eras)(
    "MC-18 a page calls its tools by their own names, where only one upstream with pages has them, %s",
    async (era) => {
      expect((await stage.ask(era, "tools/call", { name: "buy", arguments: {} })).body.result).toBeDefined();
      expect(stage.acme.calls("tools/call")[0]?.body?.params?.name).toBe("buy");
      // No page, no such name: the other upstream's tool is called by its full name alone.
      expect((await stage.ask(era, "tools/call", { name: "echo", arguments: {} })).body.error.code).toBe(
        -32602,
      );
      stage.other.tools = [show, buy];
      await stage.bench.upstreams.recordTools(stage.second.id, stage.other.tools, shop);
      expect((await stage.ask(era, "tools/call", { name: "buy", arguments: {} })).body.error.code).toBe(
        -32602,
      );
      stage.key = await stage.keyFor([stage.first], ["show"]);
      expect((await stage.ask(era, "tools/call", { name: "buy", arguments: {} })).body.error.code).toBe(
        -32602,
      );
    },
  );
});
