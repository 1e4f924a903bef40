import { expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { testSettings } from "../../test/support/settings.ts";
import { testWorld } from "../../test/support/world.ts";
import type { Database } from "../db/index.ts";
import { defaultRateLimits } from "../http/index.ts";
import { RunningSettings } from "./index.ts";

async function replica(database: Database, given: string[] = []) {
  const running = { settings: testSettings(), limits: { ...defaultRateLimits } };
  const settings = new RunningSettings({ database, world: testWorld(), running, given: new Set(given) });
  await settings.load();
  const change = (changes: Record<string, unknown>, also = async () => {}) =>
    settings.change(new Map(Object.entries(changes)), also);
  return { running, settings, change };
}

onBothDatabases("running settings", (open) => {
  it("count at once, everywhere they are read, and go back to what was before", async () => {
    const { running, settings, change } = await replica((await open()).database);
    await change({
      "client.mcp_tool_execution_timeout": 5,
      "client.grant_max_days": 0,
      "limits.guess": { requests: 3, window_seconds: 10 },
    });
    expect(running.settings).toMatchObject({ toolTimeoutMs: 5000, grantMaxMs: 0 });
    expect(running.limits.guess).toEqual({ requests: 3, windowMs: 10_000 });
    expect(running.limits.api).toEqual(defaultRateLimits.api);
    expect(settings.current().sources).toMatchObject({
      "limits.guess": "database",
      "client.grant_idle_days": "default",
    });
    await change({ "client.mcp_tool_execution_timeout": null, "limits.guess": null });
    expect(running.settings).toMatchObject({ toolTimeoutMs: 30_000, grantMaxMs: 0 });
    expect(running.limits.guess).toEqual(defaultRateLimits.guess);
  });

  it("stand and fall with the audit line of the change", async () => {
    const { running, change } = await replica((await open()).database);
    const failing = change({ "client.access_token_hours": 1 }, async () => {
      throw new Error("no");
    });
    await expect(failing).rejects.toThrow("no");
    expect(running.settings.accessTokenMs).toBe(testSettings().accessTokenMs);
  });

  it("yield to the file, also when they were stored before it named them", async () => {
    const { database } = await open();
    const before = await replica(database);
    await before.change({ "client.access_token_hours": 1 });
    const { running, settings, change } = await replica(database, ["client.access_token_hours"]);
    expect(running.settings.accessTokenMs).toBe(testSettings().accessTokenMs);
    expect(settings.current().sources["client.access_token_hours"]).toBe("file");
    await expect(change({ "client.access_token_hours": 2 })).rejects.toMatchObject({
      code: "managed_by_file",
      param: "client.access_token_hours",
    });
    await expect(change({ "client.access_token_hours": null })).rejects.toMatchObject({ kind: "conflict" });
    await change({ "client.access_token_hours": 24 });
  });

  it("a stored value that is no longer allowed has no effect", async () => {
    const { database } = await open();
    await database.db
      .insertInto("settings")
      .values({ name: "client.access_token_hours", value_json: "1000", updated_at: 1 })
      .execute();
    const { running, settings } = await replica(database);
    expect(running.settings.accessTokenMs).toBe(testSettings().accessTokenMs);
    expect(settings.current().sources["client.access_token_hours"]).toBe("default");
  });

  it("follow a change that another replica made", async () => {
    const { database, url } = await open();
    if (database.kind === "sqlite") return;
    const here = await replica(database);
    const elsewhere = (await open(url)).database;
    const there = await replica(elsewhere);
    await here.change({ "client.allowed_origins": ["https://a.example"] });
    expect(there.running.settings.allowedOrigins).toEqual([]);
    await elsewhere.changes.pull();
    await there.settings.settled();
    expect(there.running.settings.allowedOrigins).toEqual(["https://a.example"]);
  });
});
