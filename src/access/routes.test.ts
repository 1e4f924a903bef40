import { afterEach, expect, it } from "vitest";
import { watchedLog } from "../../test/support/leavings.ts";
import { readJson } from "../../test/support/read.ts";
import { testSettings } from "../../test/support/settings.ts";
import { testWorld } from "../../test/support/world.ts";
import { Audit } from "../audit/index.ts";
import { Hidden, Seal } from "../base/index.ts";
import { openDatabase, openKeyedHash } from "../db/index.ts";
import { mount, RateLimits } from "../http/index.ts";
import { checkDefinition, Upstreams } from "../upstreams/index.ts";
import { reconcileKeyFile, VirtualKeys, virtualKeyRoutes } from "./index.ts";

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const path = "/api/governance/virtual-keys";

async function application() {
  const world = testWorld();
  const settings = testSettings();
  const database = await openDatabase("sqlite::memory:", watchedLog());
  closing.push(() => database.close());
  const seal = new Seal([world.random(32)], world.random);
  const upstreams = new Upstreams({ world, database, seal, settings });
  await upstreams.create(checkDefinition({ name: "docs", connection_string: "https://d.example/" }), "api");
  const keys = new VirtualKeys({ world, database, hash: await openKeyedHash(database, seal, world) });
  const routes = virtualKeyRoutes({
    keys,
    upstreams,
    world,
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
  return { world, database, upstreams, keys, routes, call };
}

it("every route is for administrators and safe against other sites", async () => {
  const { routes } = await application();
  for (const route of routes) {
    expect(route.access, route.operationId).toBe("admin");
    expect(route.csrf, route.operationId).toBe(route.method === "GET" ? "none" : "session");
  }
});

it("AD-09 the value is in the answer to POST and nowhere after", async () => {
  const { call, database, keys } = await application();
  const created = await call("POST", path, {
    name: "agent",
    expires_at: "2099-01-02T03:04:05+02:00",
    mcp_configs: [{ mcp_client_name: "docs" }],
  });
  expect(created.status).toBe(200);
  const { id, value, ...rest } = created.body.virtual_key;
  expect(value).toMatch(/^sk-bf-[\w-]{43}$/);
  expect(rest).toMatchObject({
    name: "agent",
    is_active: true,
    expires_at: "2099-01-02T01:04:05.000Z",
    mcp_configs: [{ mcp_client_name: "docs", tools_to_execute: ["*"] }],
  });
  const shown = `sk-bf-…${value.slice(-4)}`;
  expect((await call("GET", `${path}/${id}`)).body.virtual_key.value).toBe(shown);
  expect((await call("GET", path)).body).toMatchObject({
    total_count: 1,
    virtual_keys: [{ id, value: shown }],
  });
  const changed = await call("PUT", `${path}/${id}`, { description: "d", expires_at: null });
  expect(changed.body.virtual_key).toMatchObject({
    name: "agent",
    description: "d",
    expires_at: null,
    value: shown,
  });
  expect((await keys.authenticate(value)).ok).toBe(true);
  expect((await call("DELETE", `${path}/${id}`)).status).toBe(200);
  expect((await keys.authenticate(value)).ok).toBe(false);
  const audit = await database.db.selectFrom("audit").selectAll().execute();
  expect(audit.map((entry) => entry.event).sort()).toEqual([
    "virtual_key.created",
    "virtual_key.deleted",
    "virtual_key.updated",
  ]);
  expect(JSON.stringify(audit)).not.toContain(value);
});

it.each([
  [{}, "invalid_request", "name"],
  [{ name: "" }, "invalid_request", "name"],
  [{ name: "k", value: "sk-bf-mine" }, "invalid_request", "value"],
  [{ name: "k", expires_at: "tomorrow" }, "invalid_request", "expires_at"],
  [{ name: "k", expires_at: 5 }, "invalid_request", "expires_at"],
  [{ name: "k", user_id: "nobody" }, "unknown_user", "user_id"],
  [
    { name: "k", mcp_configs: [{ mcp_client_name: "none" }] },
    "unknown_mcp_client",
    "mcp_configs.0.mcp_client_name",
  ],
  [
    { name: "k", mcp_configs: [{ mcp_client_id: "none" }] },
    "unknown_mcp_client",
    "mcp_configs.0.mcp_client_id",
  ],
  [{ name: "k", mcp_configs: [{}] }, "unknown_mcp_client", "mcp_configs.0.mcp_client_name"],
  [
    { name: "k", mcp_configs: [{ mcp_client_name: "docs" }, { mcp_client_name: "docs" }] },
    "duplicate_mcp_client",
    "mcp_configs.1.mcp_client_name",
  ],
])("refuses %j with the field at fault, and stores nothing", async (body, code, param) => {
  const { call, keys } = await application();
  expect(await call("POST", path, body)).toMatchObject({ status: 400, body: { error: { code, param } } });
  expect((await keys.all()).length).toBe(0);
});

it("404 for an unknown key, 409 for a taken name, 400 for another user", async () => {
  const { call } = await application();
  for (const [method, body] of [["GET"], ["PUT", {}], ["DELETE"]] as [string, unknown?][]) {
    const answer = await call(method, `${path}/vk_none`, body);
    expect(answer).toMatchObject({ status: 404, body: { error: { code: "virtual_key_not_found" } } });
  }
  const { body } = await call("POST", path, { name: "a" });
  await call("POST", path, { name: "b" });
  const at = `${path}/${body.virtual_key.id}`;
  expect(await call("PUT", at, { name: "b" })).toMatchObject({
    status: 409,
    body: { error: { code: "name_taken" } },
  });
  expect((await call("PUT", at, { name: "a", user_id: null })).status).toBe(200);
  expect(await call("PUT", at, { user_id: "u" })).toMatchObject({
    status: 400,
    body: { error: { code: "immutable_field", param: "user_id" } },
  });
});

it("a key of the file is changed in the file", async () => {
  const { call, keys, upstreams, world } = await application();
  await reconcileKeyFile({ keys, upstreams, log: world.log }, [{ name: "f" }]);
  const [key] = await keys.all();
  for (const [method, body] of [["PUT", { is_active: false }], ["DELETE"]] as [string, unknown?][]) {
    const answer = await call(method, `${path}/${key!.id}`, body);
    expect(answer).toMatchObject({ status: 409, body: { error: { code: "managed_by_file" } } });
  }
});

it("AD-09 rotating: the new value once, the old one listed with its end; the period is the caller's", async () => {
  const { call, world, database } = await application();
  const made = (await call("POST", path, { name: "k" })).body.virtual_key;
  expect(made.previous_value_expires_at).toBeNull();
  const at = `${path}/${made.id}`;
  const rotated = await call("POST", `${at}/rotate`);
  expect(rotated.status).toBe(200);
  const { value, previous_value_expires_at: ends } = rotated.body.virtual_key;
  expect(value).toMatch(/^sk-bf-[\w-]{43}$/);
  expect(Date.parse(ends) - world.now().getTime()).toBe(24 * 60 * 60 * 1000);
  const shown = (await call("GET", at)).body.virtual_key;
  expect(shown).toMatchObject({ value: `sk-bf-…${value.slice(-4)}`, previous_value_expires_at: ends });
  world.advance(24 * 60 * 60 * 1000);
  expect((await call("GET", path)).body.virtual_keys[0].previous_value_expires_at).toBeNull();
  const soon = (await call("POST", `${at}/rotate`, { grace_period_s: 60 })).body.virtual_key;
  expect(Date.parse(soon.previous_value_expires_at) - world.now().getTime()).toBe(60_000);
  const now = (await call("POST", `${at}/rotate`, { grace_period_s: 0 })).body.virtual_key;
  expect(now.previous_value_expires_at).toBeNull();
  const audit = JSON.stringify(await database.db.selectFrom("audit").selectAll().execute());
  expect(audit).toContain("virtual_key.rotated");
  for (const secret of [value, soon.value, now.value]) expect(audit).not.toContain(secret);
});

it.each([-1, 1.5, 30 * 24 * 60 * 60 + 1, "60", null])(
  "a grace period of %j is refused",
  async (grace_period_s) => {
    const { call, keys } = await application();
    const { id } = (await call("POST", path, { name: "k" })).body.virtual_key;
    const before = await keys.get(id);
    expect(await call("POST", `${path}/${id}/rotate`, { grace_period_s })).toMatchObject({
      status: 400,
      body: { error: { code: "invalid_request", param: "grace_period_s" } },
    });
    expect(await keys.get(id)).toEqual(before);
    expect((await call("POST", `${path}/${id}/rotate`, { grace: 1 })).status).toBe(400);
    expect((await call("POST", `${path}/vk_none/rotate`)).body.error.code).toBe("virtual_key_not_found");
  },
);

it("a value that the file names is not rotated here: 409 with where to change it", async () => {
  const { call, keys, upstreams, world } = await application();
  const value = new Hidden("sk-bf-0123456789abcdef");
  await reconcileKeyFile({ keys, upstreams, log: world.log }, [{ name: "f", value }, { name: "g" }]);
  const [f, g] = (await keys.all()).sort((a, b) => (a.name < b.name ? -1 : 1));
  const refused = await call("POST", `${path}/${f!.id}/rotate`);
  expect(refused).toMatchObject({ status: 409, body: { error: { code: "managed_by_file" } } });
  expect(refused.body.error.message).toContain("configuration file");
  expect((await keys.authenticate(value.reveal())).ok).toBe(true);
  // Nobody knows the value of a key that the file declares without one: this is how to get it.
  expect((await call("POST", `${path}/${g!.id}/rotate`)).status).toBe(200);
});
