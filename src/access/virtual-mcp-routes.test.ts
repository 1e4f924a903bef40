import { afterEach, expect, it } from "vitest";
import { watchedLog } from "../../test/support/leavings.ts";
import { readJson } from "../../test/support/read.ts";
import { testSettings } from "../../test/support/settings.ts";
import { Audit } from "../audit/index.ts";
import { openDatabase } from "../db/index.ts";
import { mount, RateLimits } from "../http/index.ts";
import { start } from "./access.suite.ts";
import { reconcileVirtualMcpFile, virtualMcpRoutes } from "./index.ts";

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const path = "/api/mcp/virtual-mcps";

async function application() {
  const settings = testSettings();
  const database = await openDatabase("sqlite::memory:", watchedLog());
  closing.push(() => database.close());
  const parts = await start(database);
  const { world, upstreams, virtualMcps } = parts;
  const [docs, notes] = [await parts.upstream("docs"), await parts.upstream("notes")];
  const routes = virtualMcpRoutes({
    virtualMcps,
    upstreams,
    settings,
    audit: new Audit({ world, database }),
  });
  const authenticate = async () => ({ kind: "admin_token" });
  const app = mount(routes, { world, settings, limits: new RateLimits(world), authenticate });
  const call = async (method: string, at: string, body?: unknown) => {
    const response = await app.request(`http://localhost:8080${at}`, {
      method,
      headers: { host: "localhost:8080", "content-type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    return { status: response.status, body: await readJson(response) };
  };
  return { ...parts, docs, notes, routes, call };
}

it("every route is for administrators and safe against other sites", async () => {
  const { routes } = await application();
  for (const route of routes) {
    expect(route.access, route.operationId).toBe("admin");
    expect(route.csrf, route.operationId).toBe(route.method === "GET" ? "none" : "session");
  }
});

it("makes, shows, changes and deletes one, each with its audit line", async () => {
  const { call, keys, user, docs, notes, database } = await application();
  const { key } = await keys.create({ name: "k", configs: [], source: "api" });
  const ada = await user("ada");
  const created = await call("POST", path, {
    slug: "On-Call_1",
    name: "On call",
    description: "For nights",
    tools: [{ mcp_client_name: "docs", tools_to_execute: ["search"] }, { mcp_client_id: notes.id }],
    accounts: { notes: "work" },
    virtual_key_ids: [key.id, key.id],
    user_ids: [ada],
  });
  expect(created.status).toBe(200);
  const { id, ...shown } = created.body.virtual_mcp;
  const tools = [
    { mcp_client_id: docs.id, mcp_client_name: "docs", tools_to_execute: ["search"] },
    { mcp_client_id: notes.id, mcp_client_name: "notes", tools_to_execute: ["*"] },
  ].sort((a, b) => (a.mcp_client_id < b.mcp_client_id ? -1 : 1));
  expect(shown).toMatchObject({
    slug: "On-Call_1",
    url: "http://localhost:8080/mcp/On-Call_1",
    name: "On call",
    description: "For nights",
    disabled: false,
    tools,
    accounts: { notes: "work" },
    virtual_key_ids: [key.id],
    user_ids: [ada],
    source: "api",
  });
  expect((await call("GET", `${path}/${id}`)).body.virtual_mcp).toEqual({ id, ...shown });
  expect((await call("GET", `${path}?search=on-call&limit=1`)).body).toMatchObject({
    virtual_mcps: [{ id }],
    count: 1,
    total_count: 1,
    limit: 1,
    offset: 0,
  });
  const put = async (body: unknown) => (await call("PUT", `${path}/${id}`, body)).body.virtual_mcp;
  expect(await put({ disabled: true, slug: "On-Call_1" })).toMatchObject({
    disabled: true,
    tools,
    accounts: { notes: "work" },
    virtual_key_ids: [key.id],
  });
  expect(await put({ tools: [{ mcp_client_name: "notes" }] })).toMatchObject({ accounts: { notes: "work" } });
  expect(await put({ accounts: {} })).toMatchObject({ accounts: {}, tools: [{ mcp_client_name: "notes" }] });
  await put({ accounts: { notes: "home" } });
  expect(await put({ tools: [{ mcp_client_name: "docs" }] })).toMatchObject({ accounts: {} });
  expect(await put({ virtual_key_ids: [], user_ids: [], name: "Nights" })).toMatchObject({
    name: "Nights",
    virtual_key_ids: [],
    user_ids: [],
  });
  expect((await call("DELETE", `${path}/${id}`)).status).toBe(200);
  expect((await call("GET", `${path}/${id}`)).status).toBe(404);
  const audit = await database.db.selectFrom("audit").select(["event", "actor"]).execute();
  expect(new Set(audit.map((line) => line.event))).toEqual(
    new Set(["virtual_mcp.created", "virtual_mcp.updated", "virtual_mcp.deleted"]),
  );
});

it.each([
  [{ name: "n" }, "invalid_request", "slug"],
  [{ slug: "s" }, "invalid_request", "name"],
  [{ slug: "-s", name: "n" }, "invalid_request", "slug"],
  [{ slug: "a.b", name: "n" }, "invalid_request", "slug"],
  [{ slug: "a/b", name: "n" }, "invalid_request", "slug"],
  [{ slug: "a".repeat(64), name: "n" }, "invalid_request", "slug"],
  [{ slug: "s", name: "n", team_ids: [] }, "invalid_request", "team_ids"],
  [
    { slug: "s", name: "n", tools: [{ mcp_client_name: "none" }] },
    "unknown_mcp_client",
    "tools.0.mcp_client_name",
  ],
  [
    { slug: "s", name: "n", tools: [{ mcp_client_name: "docs" }, { mcp_client_name: "docs" }] },
    "duplicate_mcp_client",
    "tools.1.mcp_client_name",
  ],
  [{ slug: "s", name: "n", accounts: { docs: "work" } }, "unknown_mcp_client", "accounts"],
  [
    { slug: "s", name: "n", tools: [{ mcp_client_name: "docs" }], accounts: { docs: "" } },
    "invalid_request",
    "accounts.docs",
  ],
  [{ slug: "s", name: "n", virtual_key_ids: ["vk_none"] }, "unknown_virtual_key", "virtual_key_ids"],
  [{ slug: "s", name: "n", user_ids: ["nobody"] }, "unknown_user", "user_ids"],
  [{ slug: "s", name: "n", group_ids: ["none"] }, "unknown_group", "group_ids"],
])("refuses %j with the field at fault, and stores nothing", async (body, code, param) => {
  const { call, virtualMcps } = await application();
  expect(await call("POST", path, body)).toMatchObject({ status: 400, body: { error: { code, param } } });
  expect((await virtualMcps.list({})).total).toBe(0);
});

it("lists tools in full unless told otherwise, and says which", async () => {
  const { call } = await application();
  const created = await call("POST", path, { slug: "s", name: "n" });
  expect(created.body.virtual_mcp).toMatchObject({ listing: "full", names: "prefixed" });
  const { id } = created.body.virtual_mcp;
  const put = async (body: unknown) => (await call("PUT", `${path}/${id}`, body)).body;
  expect((await put({ listing: "search" })).virtual_mcp).toMatchObject({ listing: "search" });
  expect((await put({ name: "m" })).virtual_mcp).toMatchObject({ listing: "search" });
  expect((await put({ listing: "some" })).error).toMatchObject({ code: "invalid_request", param: "listing" });
  const second = await call("POST", path, { slug: "t", name: "t", listing: "search" });
  expect(second.body.virtual_mcp.listing).toBe("search");
});

it("404 for an unknown one, 409 for a taken slug or name, 400 for another slug", async () => {
  const { call } = await application();
  for (const [method, body] of [["GET"], ["PUT", {}], ["DELETE"]] as [string, unknown?][]) {
    const answer = await call(method, `${path}/vmcp_none`, body);
    expect(answer).toMatchObject({ status: 404, body: { error: { code: "virtual_mcp_not_found" } } });
  }
  const { body } = await call("POST", path, { slug: "a", name: "A" });
  await call("POST", path, { slug: "b", name: "B" });
  const refused = async (method: string, at: string, sent: unknown) => {
    const answer = await call(method, at, sent);
    return [answer.status, answer.body.error.code, answer.body.error.param];
  };
  expect(await refused("POST", path, { slug: "A", name: "x" })).toEqual([409, "slug_taken", "slug"]);
  expect(await refused("POST", path, { slug: "x", name: "A" })).toEqual([409, "name_taken", "name"]);
  const at = `${path}/${body.virtual_mcp.id}`;
  expect(await refused("PUT", at, { name: "B" })).toEqual([409, "name_taken", "name"]);
  expect(await refused("PUT", at, { slug: "c" })).toEqual([400, "immutable_field", "slug"]);
});

it("one of the file is changed in the file; once it is gone there it may be deleted", async () => {
  const { call, virtualMcps, upstreams, database, world } = await application();
  const reconcile = (names: string[]) =>
    reconcileVirtualMcpFile(
      { virtualMcps, upstreams, database, log: world.log },
      names.map((name) => ({ name, listing: "search" as const })),
    );
  await reconcile(["f"]);
  const { virtual_mcps } = (await call("GET", path)).body;
  expect(virtual_mcps[0]).toMatchObject({ source: "file", listing: "search" });
  for (const [method, body] of [["PUT", { disabled: true }], ["DELETE"]] as [string, unknown?][]) {
    const answer = await call(method, `${path}/${virtual_mcps[0].id}`, body);
    expect(answer).toMatchObject({ status: 409, body: { error: { code: "managed_by_file" } } });
  }
  await reconcile([]);
  expect((await call("DELETE", `${path}/${virtual_mcps[0].id}`)).status).toBe(200);
});
