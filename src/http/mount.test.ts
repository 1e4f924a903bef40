import { describe, expect, it } from "vitest";
import { z } from "zod";
import { readJson } from "../../test/support/read.ts";
import { testSettings } from "../../test/support/settings.ts";
import { testWorld } from "../../test/support/world.ts";
import { Problem, type Settings } from "../base/index.ts";
import { defaultRateLimits, defineRoute, html, json, mount, page, RateLimits, redirect } from "./index.ts";

const route = defineRoute<{ name: string }>();
const base = {
  summary: "",
  tag: "t",
  access: "public",
  csrf: "none",
  rate: "none",
  errors: "envelope",
  answers: {},
  refuses: [],
} as const;

function application(changes: Partial<Settings> = {}, limits: Partial<typeof defaultRateLimits> = {}) {
  const world = testWorld();
  const seen: string[] = [];
  const routes = [
    route({
      ...base,
      method: "POST",
      path: "/api/things",
      operationId: "make",
      json: z.strictObject({ name: z.string().max(5) }),
      rate: "api",
      handle: ({ body }) => json({ made: body.name }),
    }),
    route({
      ...base,
      method: "GET",
      path: "/api/things",
      operationId: "list",
      query: z.object({ limit: z.coerce.number().max(9).default(3) }),
      handle: ({ query }) => json({ limit: query.limit }),
    }),
    route({
      ...base,
      method: "GET",
      path: "/api/things/{id}",
      operationId: "get",
      handle: ({ params }) => json(params),
    }),
    route({
      ...base,
      method: "POST",
      path: "/form",
      operationId: "form",
      csrf: "page",
      errors: "form",
      form: z.object({ flow_id: z.string() }),
      handle: () => redirect("/done"),
    }),
    route({
      ...base,
      method: "GET",
      path: "/effect",
      operationId: "effect",
      effect: true,
      handle: () => {
        seen.push("effect");
        return json({});
      },
    }),
    route({
      ...base,
      method: "GET",
      path: "/page",
      operationId: "page",
      errors: "page",
      handle: () =>
        page({ title: "T", body: html`<p>${"<script>"}</p>`, formActions: ["https://a.example"] }),
    }),
    route({
      ...base,
      method: "GET",
      path: "/crash",
      operationId: "crash",
      handle: () => {
        throw new Error("MARK internal path /srv/x");
      },
    }),
    route({
      ...base,
      method: "POST",
      path: "/oauth",
      operationId: "oauth",
      errors: "oauth",
      cors: true,
      form: z.object({ grant_type: z.string() }),
      handle: () => {
        throw new Problem("invalid", "invalid_grant", "Start again.");
      },
    }),
    route({
      ...base,
      method: "GET",
      path: "/mine",
      operationId: "mine",
      access: "admin",
      handle: ({ caller }) => json(caller),
    }),
  ];
  const app = mount(routes, {
    world,
    settings: testSettings(changes),
    limits: new RateLimits(world, { ...defaultRateLimits, ...limits }),
    authenticate: async () => ({ name: "ada" }),
  });
  const call = (path: string, init?: RequestInit) => app.request(`http://localhost:8080${path}`, init);
  return { app, call, seen, world };
}

const post = (
  body: string,
  type = "application/json",
  headers: Record<string, string> = {},
): RequestInit => ({
  method: "POST",
  body,
  headers: { "content-type": type, ...headers },
});

describe("refusals", () => {
  it("are the envelope, with a stable code, the field at fault and the id of the log", async () => {
    const { call } = application();
    const answer = await call("/api/things", post('{"name":"much too long"}'));
    const body = await readJson(answer);
    expect(answer.status).toBe(400);
    expect(body).toMatchObject({
      type: "invalid",
      is_bifrost_error: false,
      status_code: 400,
      error: { code: "invalid_request", param: "name", event_id: body.event_id },
      extra_fields: { provider: "", model_requested: "", request_type: "" },
    });
  });

  it.each([
    ["an unknown field", '{"name":"a","nam":1}', 400, "invalid_request", "nam"],
    ["a repeated member", '{"name":"a","name":"b"}', 400, "invalid_json", undefined],
    ["bytes that are not JSON", "{", 400, "invalid_json", undefined],
    ["nothing", "", 400, "invalid_request", undefined],
    ["too much nesting", "[".repeat(100_000), 400, "invalid_json", undefined],
    ["a body over the limit", `"${"x".repeat(1_100_000)}"`, 413, "body_too_large", undefined],
  ])("say what is wrong with %s", async (_, body, status, code, param) => {
    const answer = await application().call("/api/things", post(body));
    const { error } = await readJson(answer);
    expect([answer.status, error.code, error.param]).toEqual([status, code, param]);
  });

  it("a wrong type is 415, also with an odd charset or compression (MC-04)", async () => {
    const { call } = application();
    for (const type of [
      "text/plain",
      "application/json\ta",
      "application/jsonx",
      "application/json;charset=utf-16",
    ]) {
      expect((await call("/api/things", post('{"name":"a"}', type))).status, type).toBe(415);
    }
    expect(
      (await call("/api/things", post("x", "application/json", { "content-encoding": "gzip" }))).status,
    ).toBe(415);
    expect((await call("/api/things", post('{"name":"a"}', "APPLICATION/JSON; charset=UTF-8"))).status).toBe(
      200,
    );
  });

  it("an unknown path is 404, a wrong method 405 with Allow", async () => {
    const { call } = application();
    expect((await call("/nowhere")).status).toBe(404);
    const wrong = await call("/api/things", { method: "DELETE" });
    expect([wrong.status, wrong.headers.get("allow")]).toEqual([405, "POST, GET"]);
    for (const path of ["//page", "/page/", "/PAGE", "/page;x", "/x/../%70age/"]) {
      expect((await call(path)).status, `MC-37 ${path}`).toBe(404);
    }
  });

  it("a bug says nothing of what happened", async () => {
    const answer = await application().call("/crash");
    const text = await answer.text();
    expect(answer.status).toBe(500);
    expect(text).not.toContain("MARK");
    expect(JSON.parse(text)).toMatchObject({ is_bifrost_error: true, error: { code: "internal_error" } });
  });

  it("an OAuth endpoint speaks RFC 6749 JSON and answers any origin", async () => {
    const { call } = application();
    const answer = await call("/oauth", post("grant_type=x", "application/x-www-form-urlencoded"));
    expect(answer.status).toBe(400);
    expect(await readJson(answer)).toEqual({ error: "invalid_grant", error_description: "Start again." });
    expect(answer.headers.get("access-control-allow-origin")).toBe("*");
    expect(answer.headers.has("access-control-allow-credentials")).toBe(false);
    expect((await call("/oauth", { method: "OPTIONS" })).status).toBe(204);
  });

  it("too many requests are 429 with Retry-After, and end with the window", async () => {
    const { call, world } = application({}, { api: { requests: 2, windowMs: 10_000 } });
    const go = async () => (await call("/api/things", post('{"name":"a"}'))).status;
    expect([await go(), await go(), await go()]).toEqual([200, 200, 429]);
    world.advance(10_000);
    expect(await go()).toBe(200);
  });
});

describe("parameters", () => {
  it("repeated ones are refused, in queries and forms (AZ-05)", async () => {
    const { call } = application();
    expect((await call("/api/things?limit=1&limit=2")).status).toBe(400);
    const form = await call("/form", post("flow_id=a&flow_id=b", "application/x-www-form-urlencoded"));
    expect((await readJson(form)).error.param).toBe("flow_id");
    expect((await call("/form", post("flow_id=%ff%fe", "application/x-www-form-urlencoded"))).status).toBe(
      303,
    );
  });
});

describe("the browser", () => {
  const form = (headers: Record<string, string>) =>
    post("flow_id=a", "application/x-www-form-urlencoded", headers);

  it("is refused from elsewhere (CB-03, CB-04)", async () => {
    const { call } = application();
    const status = async (headers: Record<string, string>) => (await call("/form", form(headers))).status;
    expect(await status({ "sec-fetch-site": "cross-site" })).toBe(403);
    expect(await status({ "sec-fetch-site": "same-site", origin: "http://localhost:8080" })).toBe(403);
    expect(await status({ "sec-fetch-site": "none" })).toBe(403);
    expect(await status({ origin: "https://evil.example" })).toBe(403);
    expect(await status({ origin: "null" })).toBe(403);
    expect(await status({ origin: "http://localhost:8080" })).toBe(303);
    expect(await status({ "sec-fetch-site": "same-origin" })).toBe(303);
    expect(await status({})).toBe(303);
  });

  it("gets a page instead of JSON where it prefers one", async () => {
    const answer = await application().call(
      "/form",
      form({ "sec-fetch-site": "cross-site", accept: "text/html,application/json;q=0.9" }),
    );
    expect(answer.headers.get("content-type")).toContain("text/html");
  });

  it("escapes what is put into a page and allows nothing foreign (R27, CB-06)", async () => {
    const answer = await application().call("/page");
    expect(await answer.text()).toContain("&lt;script&gt;");
    const policy = answer.headers.get("content-security-policy")!;
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("frame-ancestors 'none'");
    expect(policy).toContain("form-action 'self' https://a.example;");
  });

  it("finds the security headers on every answer, errors too", async () => {
    const { call } = application({ baseUrl: new URL("https://localhost:8080") });
    for (const path of ["/page", "/nowhere", "/crash", "/api/things"]) {
      const { headers } = await call(path);
      expect(headers.get("x-frame-options"), path).toBe("DENY");
      expect(headers.get("content-security-policy"), path).toContain("frame-ancestors 'none'");
      expect(headers.get("x-content-type-options"), path).toBe("nosniff");
      expect(headers.get("cache-control"), path).toBe("no-store");
      expect(headers.get("strict-transport-security"), path).toBe("max-age=31536000");
    }
  });

  it("HEAD and prefetch cause no effect (AZ-18, UP-33)", async () => {
    const { call, seen } = application();
    expect((await call("/effect", { method: "HEAD" })).status).toBe(204);
    expect((await call("/effect", { headers: { "sec-purpose": "prefetch" } })).status).toBe(204);
    expect(seen).toEqual([]);
    await call("/effect");
    expect(seen).toEqual(["effect"]);
  });
});

describe("the host name", () => {
  it("must be ours (AZ-20, MC-02)", async () => {
    const { app } = application({ aliases: ["https://gw.example"] });
    const status = async (host: string) =>
      (await app.request("http://localhost:8080/page", { headers: { host } })).status;
    for (const host of ["localhost:8080", "127.0.0.1:8080", "[::1]:8080", "LOCALHOST:8080", "gw.example"]) {
      expect(await status(host), host).toBe(200);
    }
    for (const host of [
      "evil.example",
      "localhost:9090",
      "localhost",
      "127.0.0.1:8080.evil.example",
      "gw.example.evil.example",
    ]) {
      expect(await status(host), host).toBe(421);
    }
  });
});

it("describes every route in OpenAPI 3.1, with what follows from its declaration", async () => {
  const { call } = application();
  const response = await call("/api/openapi.json");
  expect(response.headers.get("x-content-type-options")).toBe("nosniff");
  const document = await readJson(response);
  expect(document.openapi).toBe("3.1.0");
  expect(Object.keys(document.paths)).toContain("/form");
  const things = document.paths["/api/things"];
  const { schema } = things.post.requestBody.content["application/json"];
  expect(schema.properties.name.maxLength).toBe(5);
  expect(Object.keys(things.post.responses)).toEqual(["400", "413", "415", "421", "429", "500", "503"]);
  expect(things.get.parameters).toMatchObject([{ name: "limit", in: "query", required: false }]);
  const form = document.paths["/form"].post.responses[403].$ref.split("/").at(-1);
  expect(Object.keys(document.components.responses[form].content)).toEqual(["application/json", "text/html"]);
  expect((await call("/api/openapi.json", { method: "POST" })).headers.get("allow")).toBe("GET");
});
