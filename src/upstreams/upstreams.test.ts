import { expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { testSettings } from "../../test/support/settings.ts";
import { testWorld } from "../../test/support/world.ts";
import { Seal } from "../base/index.ts";
import type { Database } from "../db/index.ts";
import {
  ConfigurationFault,
  checkDefinition,
  type DefinitionBody,
  definitionsFromMcpServers,
  reconcileFile,
  redacted,
  Upstreams,
} from "./index.ts";

const plain: DefinitionBody = {
  name: "plain",
  connection_string: "https://plain.example/mcp",
  tools_to_execute: ["*"],
};
const keyed: DefinitionBody = {
  name: "keyed",
  connection_string: "https://keyed.example/mcp",
  auth_type: "headers",
  headers: { "X-Key": "static-secret-1" },
};
const personal: DefinitionBody = {
  name: "personal",
  connection_string: "https://personal.example/mcp",
  auth_type: "per_user_oauth",
  oauth_config: {
    client_id: "given",
    client_secret: "client-secret-1",
    token_url: "https://as.example/token",
  },
};

async function parts(database: Database) {
  const world = testWorld();
  const seal = new Seal([world.random(32)], world.random);
  const settings = testSettings();
  const upstreams = new Upstreams({ world, database, seal, settings });
  await upstreams.load();
  return { world, seal, settings, upstreams, database };
}

onBothDatabases("upstreams", (open) => {
  const start = async () => parts((await open()).database);

  it("stores a definition, has it in memory at once and after a restart", async () => {
    const { upstreams, world, seal, settings, database } = await start();
    const before = upstreams.version;
    const created = await upstreams.create(checkDefinition(keyed), "api");
    expect(upstreams.version).toBeGreaterThan(before);
    expect(created).toMatchObject({
      name: "keyed",
      state: "pending_verification",
      generation: 1,
      timeoutMs: 30_000,
    });
    expect(created.toolsToExecute).toEqual([]);
    const again = new Upstreams({ world, database, seal, settings });
    await again.load();
    expect(again.findByName("keyed")?.headers["x-key"]?.reveal()).toBe("static-secret-1");
    expect(again.all().map((upstream) => upstream.name)).toEqual(["keyed"]);
  });

  it("keeps secrets sealed, also in the OAuth row (ST-01)", async () => {
    const { upstreams, database } = await start();
    await upstreams.create(checkDefinition(keyed), "api");
    await upstreams.create(checkDefinition(personal), "api");
    const rows = [
      ...(await database.db.selectFrom("upstreams").selectAll().execute()),
      ...(await database.db.selectFrom("oauth_configs").selectAll().execute()),
    ];
    const columns = rows.flatMap((row) => Object.values(row));
    const texts = columns.map((value) =>
      value instanceof Uint8Array ? Buffer.from(value).toString("latin1") : value,
    );
    expect(texts.join("\n")).not.toMatch(/static-secret-1|client-secret-1/);
  });

  it("shows the redirect URI from its creation on", async () => {
    const { upstreams } = await start();
    const own = await upstreams.create(checkDefinition(personal), "api");
    expect(own.redirectUri).toBe(`http://localhost:8080/api/oauth/callback/${own.id}`);
    const shared = { ...personal, name: "shared", oauth_config: { redirect: "shared" as const } };
    const other = await upstreams.create(checkDefinition(shared), "api");
    expect(other.redirectUri).toBe("http://localhost:8080/api/oauth/callback");
  });

  it("refuses a second one of the same name and stores nothing", async () => {
    const { upstreams } = await start();
    await upstreams.create(checkDefinition(plain), "api");
    const second = upstreams.create(checkDefinition({ ...keyed, name: "plain" }), "api");
    await expect(second).rejects.toMatchObject({ kind: "conflict", code: "name_taken", param: "name" });
    expect(upstreams.all()).toHaveLength(1);
  });

  it("changes only what a patch names, and counts the generation for headers and authorization only", async () => {
    const { upstreams } = await start();
    const { id } = await upstreams.create(checkDefinition({ ...keyed, tool_execution_timeout: 5 }), "api");
    const renamed = await upstreams.update(id, { name: "renamed", tools_to_execute: ["a"] });
    expect(renamed).toMatchObject({ name: "renamed", toolsToExecute: ["a"], timeoutMs: 5000, generation: 1 });
    expect(renamed.headers["x-key"]?.reveal()).toBe("static-secret-1");
    const rekeyed = await upstreams.update(id, { headers: { "x-key": "static-secret-2" } });
    expect(rekeyed.generation).toBe(2);
    expect(upstreams.findByName("keyed")).toBeUndefined();
  });

  it("AD-09 a redacted value sent back keeps the stored one; an edited mask is refused", async () => {
    const { upstreams } = await start();
    const { id } = await upstreams.create(checkDefinition(keyed), "api");
    const kept = await upstreams.update(id, { headers: { "X-KEY": redacted } });
    expect(kept.headers["x-key"]?.reveal()).toBe("static-secret-1");
    expect(kept.generation).toBe(1);
    const edited = upstreams.update(id, { headers: { "x-key": `${redacted}abcd` } });
    await expect(edited).rejects.toMatchObject({ code: "secret_required", param: "headers.x-key" });
  });

  it("AD-10 a stored secret is not re-aimed: another header name, another OAuth address or resource", async () => {
    const { upstreams } = await start();
    const { id } = await upstreams.create(checkDefinition(keyed), "api");
    const moved = upstreams.update(id, { headers: { "x-evil": redacted } });
    await expect(moved).rejects.toMatchObject({ code: "secret_required" });
    const oauth = await upstreams.create(checkDefinition(personal), "api");
    const fields = {
      token_url: "https://evil.example/t",
      resource: "https://evil.example/",
      revocation_url: "https://evil.example/r",
    };
    for (const [field, value] of Object.entries(fields)) {
      for (const secret of [{}, { client_secret: redacted }]) {
        const change = upstreams.update(oauth.id, { oauth_config: { [field]: value, ...secret } });
        await expect(change, field).rejects.toMatchObject({ code: "secret_required" });
      }
    }
    expect(upstreams.get(oauth.id)).toMatchObject({
      generation: 1,
      oauth: { tokenUrl: "https://as.example/token" },
    });
    const entered = { token_url: "https://new.example/t", client_secret: "client-secret-2" };
    expect((await upstreams.update(oauth.id, { oauth_config: entered })).generation).toBe(2);
  });

  it("MC-22 address and kind never change over the API", async () => {
    const { upstreams } = await start();
    const { id } = await upstreams.create(checkDefinition(keyed), "api");
    const changes = {
      connection_string: "https://evil.example/mcp",
      auth_type: "none",
      connection_type: "sse",
    } as const;
    for (const [field, value] of Object.entries(changes)) {
      await expect(upstreams.update(id, { [field]: value })).rejects.toMatchObject({
        code: "immutable_field",
        param: field,
      });
    }
    await upstreams.update(id, { connection_string: keyed.connection_string, auth_type: "headers" });
  });

  it("runs listeners inside the transaction: one that fails undoes the change", async () => {
    const { upstreams, database } = await start();
    const { id } = await upstreams.create(checkDefinition(plain), "api");
    upstreams.listeners.push({
      changed: () => Promise.reject(new Error("store failure")),
      deleted: async (tx, upstream) => {
        await tx.updateTable("upstreams").set({ state: "error" }).where("id", "=", upstream.id).execute();
        throw new Error("store failure");
      },
    });
    await expect(upstreams.update(id, { disabled: true })).rejects.toThrow("store failure");
    await expect(upstreams.delete(id)).rejects.toThrow("store failure");
    expect(upstreams.get(id)).toMatchObject({ disabled: false, state: "pending_verification" });
    upstreams.listeners.length = 0;
    await upstreams.delete(id);
    expect(upstreams.find(id)).toBeUndefined();
    expect(await database.db.selectFrom("upstreams").selectAll().execute()).toEqual([]);
    await expect(upstreams.delete(id)).rejects.toMatchObject({ kind: "not_found" });
  });

  it("records tools, failures and the era; a failure keeps the tools", async () => {
    const { upstreams, world } = await start();
    const { id } = await upstreams.create(checkDefinition(plain), "api");
    const failure = { code: "upstream_unreachable", message: "…", at: world.now().getTime() };
    await upstreams.recordFailure(id, failure);
    expect(upstreams.get(id)).toMatchObject({ state: "error", lastFailure: failure });
    await upstreams.recordTools(id, [{ name: "echo", title: "Echo", "x-own": 1 }]);
    await upstreams.recordEra(id, "modern");
    expect(upstreams.get(id)).toMatchObject({ state: "healthy", era: "modern", generation: 1 });
    expect(upstreams.get(id).lastFailure).toBeUndefined();
    await upstreams.recordFailure(id, failure);
    expect(upstreams.get(id)).toMatchObject({
      state: "unstable",
      tools: [{ name: "echo", title: "Echo", "x-own": 1 }],
    });
  });

  it("two patches at once both hold", async () => {
    const { upstreams } = await start();
    const { id } = await upstreams.create(checkDefinition(plain), "api");
    await Promise.all([
      upstreams.update(id, { tools_to_execute: ["a"] }),
      upstreams.update(id, { allow_on_all_virtual_keys: true }),
    ]);
    expect(upstreams.get(id)).toMatchObject({ toolsToExecute: ["a"], allowOnAllVirtualKeys: true });
  });

  it("makes the file's entries hold, leaves the API's alone, disables what is gone", async () => {
    const { upstreams } = await start();
    const api = await upstreams.create(checkDefinition(keyed), "api");
    await reconcileFile(upstreams, [plain, personal]);
    const { id } = upstreams.findByName("plain")!;
    await upstreams.recordTools(id, [{ name: "echo" }]);
    const moves: [string, string][] = [];
    upstreams.listeners.push({
      changed: async (_tx, before, after) => void moves.push([before.url.href, after.url.href]),
    });
    await reconcileFile(upstreams, [{ ...plain, connection_string: "https://moved.example/mcp" }]);
    expect(upstreams.get(id)).toMatchObject({ generation: 2, tools: [], state: "pending_verification" });
    expect(moves[0]).toEqual(["https://plain.example/mcp", "https://moved.example/mcp"]);
    expect(upstreams.findByName("personal")).toMatchObject({ disabled: true, state: "disabled" });
    expect(upstreams.get(api.id)).toEqual(api);
    await reconcileFile(upstreams, [plain, personal]);
    expect(upstreams.findByName("personal")).toMatchObject({ disabled: false });
  });

  it("a program of the file is kept by its command and the names of its variables, nothing secret", async () => {
    const { upstreams, database } = await start();
    const stdio_config = {
      command: "npx",
      args: ["--key", "arg-secret"],
      envs: ["A"],
      env: { B: "env-secret" },
    };
    const entry: DefinitionBody = { name: "local", connection_type: "stdio", stdio_config };
    await reconcileFile(upstreams, [plain, entry]);
    const local = upstreams.findByName("local")!;
    expect(local).toMatchObject({ connectionType: "stdio", authType: "none", generation: 1 });
    const rows = await database.db.selectFrom("upstreams").selectAll().execute();
    expect(JSON.stringify([rows, local])).not.toContain("secret");
    await upstreams.recordTools(local.id, [{ name: "echo" }]);
    await reconcileFile(upstreams, [plain, entry]);
    expect(upstreams.get(local.id)).toMatchObject({ generation: 1, tools: [{ name: "echo" }] });
    const other = { ...entry, stdio_config: { command: "uvx" } };
    await reconcileFile(upstreams, [plain, other]);
    expect(upstreams.get(local.id)).toMatchObject({ generation: 2, tools: [] });
    await reconcileFile(upstreams, [plain]);
    expect(upstreams.get(local.id)).toMatchObject({ disabled: true });
    await reconcileFile(upstreams, [{ ...plain, name: "local" }]);
    expect(upstreams.get(local.id)).toMatchObject({ connectionType: "http", disabled: false });
    expect(upstreams.get(local.id).stdio).toBeUndefined();
  });

  it("an unchanged file changes nothing", async () => {
    const { upstreams, world } = await start();
    await reconcileFile(upstreams, [plain, keyed, personal]);
    const before = upstreams.all();
    world.advance(1000);
    await reconcileFile(upstreams, [plain, keyed, personal]);
    expect(upstreams.all()).toEqual(before);
  });

  it("a name that the API made too, a name twice or a bad entry stop the start before anything is written", async () => {
    const { upstreams } = await start();
    await upstreams.create(checkDefinition(keyed), "api");
    for (const entries of [
      [plain, keyed],
      [plain, plain],
      [plain, { ...personal, connection_string: "ftp://x" }],
    ])
      await expect(reconcileFile(upstreams, entries)).rejects.toThrow(ConfigurationFault);
    expect(upstreams.all()).toHaveLength(1);
  });

  it("another replica sees a change when it pulls", async () => {
    const { database, url } = await open();
    if (database.kind === "sqlite") return;
    const world = testWorld();
    const seal = new Seal([world.random(32)], world.random);
    const settings = testSettings();
    const second = (await open(url)).database;
    const here = new Upstreams({ world, database, seal, settings });
    const there = new Upstreams({ world, database: second, seal, settings });
    const { id } = await here.create(checkDefinition(plain), "api");
    await second.changes.pull();
    await there.settled();
    expect(there.find(id)?.name).toBe("plain");
    await here.delete(id);
    await second.changes.pull();
    await there.settled();
    expect(there.find(id)).toBeUndefined();
  });
});

it("takes the mcpServers map of desktop clients", () => {
  expect(
    definitionsFromMcpServers({
      "my-server": { url: "https://a.example/mcp", headers: { "X-Key": "k" } },
      "2nd": { url: "https://b.example/mcp", type: "http" },
    }),
  ).toMatchObject([
    { name: "my_server", auth_type: "headers", tools_to_execute: ["*"] },
    { name: "_2nd", auth_type: "none" },
  ]);
  expect(
    definitionsFromMcpServers({
      local: { command: "npx", args: ["-y", "x"], env: { A: "1" } },
      old: { url: "https://c.example/sse", type: "sse" },
    }),
  ).toMatchObject([
    {
      connection_type: "stdio",
      stdio_config: { command: "npx", args: ["-y", "x"], env: { A: "1" } },
      auth_type: "none",
      tools_to_execute: ["*"],
    },
    { connection_type: "sse", connection_string: "https://c.example/sse" },
  ]);
  for (const server of [
    {},
    { command: "npx", url: "https://a.example" },
    { type: "stdio", url: "https://a.example" },
  ])
    expect(() => definitionsFromMcpServers({ local: server as { url: string } })).toThrow(ConfigurationFault);
});
