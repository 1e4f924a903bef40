import { expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { testSettings } from "../../test/support/settings.ts";
import { Audit } from "../audit/index.ts";
import { type Owner, Problem } from "../base/index.ts";
import { type Database, Outbox } from "../db/index.ts";
import { Upstreams } from "../upstreams/index.ts";
import { Vault } from "./index.ts";
import { alice, type Bench, bearer, bench, give, hour, row, up1 } from "./vault.suite.ts";

const shared: Owner = { mode: "shared", id: "up1" };
const own = { id: "up1", oauth: { grantType: "client_credentials" as const } };

/** A vault on the bench's database that may obtain tokens of the gateway's own. */
function replica(b: Bench, database: Database = b.database, prepare = async () => b.provider.authorization) {
  const { world, seal, flows } = b;
  const upstreams = new Upstreams({ world, database, seal, settings: testSettings() });
  return new Vault({
    world,
    database,
    seal,
    flows,
    upstreams,
    outbox: new Outbox(world, seal),
    audit: new Audit({ database, world }),
    oauth: { recorded: async () => ({ ...b.provider.authorization, scopes: ["read"] }), prepareOwn: prepare },
  });
}

async function stateOf({ database }: Bench): Promise<{ state: string; failure_json: string | null }> {
  const query = database.db.selectFrom("upstreams").select(["state", "failure_json"]);
  return query.where("id", "=", "up1").executeTakeFirstOrThrow();
}

onBothDatabases("tokens of the gateway's own", (open, kind) => {
  it("RFC6749-4.4 are obtained once, however many calls wait on two replicas, and again before they expire", async () => {
    const b = await bench(open);
    const here = replica(b);
    const there = kind === "postgres" ? replica(b, (await open(b.url)).database) : here;
    const all = await Promise.all(
      Array.from({ length: 20 }, (_, n) => bearer(n % 2 ? here : there, shared, own)),
    );
    expect(new Set(all)).toEqual(new Set(["Bearer access-1"]));
    expect(b.provider.refreshes).toHaveLength(1);
    expect(Object.fromEntries(b.provider.refreshes[0]!)).toMatchObject({
      grant_type: "client_credentials",
      scope: "read",
      resource: "https://up.example/mcp",
    });
    b.world.advance(hour - 30_000);
    expect(await bearer(here, shared, own)).toBe("Bearer access-2");
    expect(b.provider.refreshes.map((form) => form.get("grant_type"))).toEqual([
      "client_credentials",
      "client_credentials",
    ]);
  });

  it("are stored before they are used, and serve after a restart", async () => {
    const b = await bench(open);
    expect(await bearer(replica(b), shared, own)).toBe("Bearer access-1");
    expect(await bearer(replica(b), shared, own)).toBe("Bearer access-1");
    expect(b.provider.refreshes).toHaveLength(1);
  });

  it("wait for a provider that is down, and ask nobody", async () => {
    const b = await bench(open);
    const vault = replica(b);
    b.provider.answer = () => ({ status: 503, body: {} });
    expect(await vault.open(shared, own)).toMatchObject({ outcome: "unavailable" });
    expect((await stateOf(b)).state).toBe("healthy");
    b.provider.answer = () => b.provider.rotated();
    b.world.advance(60_000);
    expect(await bearer(vault, shared, own)).toBe("Bearer access-1");
  });

  it("are not looked for again and again while the authorization server cannot be found", async () => {
    const b = await bench(open);
    let searches = 0;
    const vault = replica(b, b.database, async () => {
      searches += 1;
      if (searches === 1) throw new Problem("upstream", "upstream_unreachable", "Down.");
      return b.provider.authorization;
    });
    expect(await vault.open(shared, own)).toEqual({ outcome: "unavailable", retryAfterMs: 5000 });
    expect(await vault.open(shared, own)).toMatchObject({ outcome: "unavailable" });
    expect(searches).toBe(1);
    b.world.advance(5000);
    expect(await bearer(vault, shared, own)).toBe("Bearer access-1");
  });

  it("that are refused turn the upstream needs_reauth with what to do; dropped, they are obtained anew", async () => {
    const b = await bench(open);
    const vault = replica(b);
    const definition_json = JSON.stringify({ oauth: own.oauth });
    const kind = { auth_type: "oauth", definition_json };
    await b.database.db.updateTable("upstreams").set(kind).where("id", "=", "up1").execute();
    b.provider.answer = () => ({ status: 401, body: { error: "invalid_client" } });
    expect(await bearer(vault, shared, own)).toBe("needs_reauth");
    expect(await bearer(vault, shared, own)).toBe("needs_reauth");
    expect(b.provider.refreshes).toHaveLength(1);
    const { state, failure_json } = await stateOf(b);
    expect(state).toBe("needs_reauth");
    expect(JSON.parse(failure_json!)).toMatchObject({ code: "shared_credential_lost" });
    b.provider.answer = () => b.provider.rotated();
    await b.database.transaction((tx) => vault.dropOwner(tx, shared));
    expect(await bearer(vault, shared, own)).toBe("Bearer access-1");
    expect(await stateOf(b)).toMatchObject({ state: "pending_verification", failure_json: null });
    expect(b.provider.revocations).toEqual([]);
  });

  it("that the upstream refuses are obtained anew once", async () => {
    const b = await bench(open);
    const vault = replica(b);
    const opened = await vault.open(shared, own);
    if (opened.outcome !== "ready") expect.unreachable();
    else {
      b.world.advance(120_000);
      await vault.markRejected(opened.credential);
      expect(await bearer(vault, shared, own)).toBe("Bearer access-2");
    }
  });

  it("ID-21: neither stand in for a person's credential nor a person's for them", async () => {
    const b = await bench(open);
    const vault = replica(b);
    expect(await bearer(vault, shared, own)).toBe("Bearer access-1");
    expect(await bearer(vault, alice)).toBe("missing");
    expect(await bearer(vault, alice, own)).toBe("missing");
    expect(await bearer(vault, { mode: "discovery", id: "up1" }, own)).toBe("missing");
    await give(b, alice, hour, {}, "up2");
    expect(await bearer(vault, { mode: "shared", id: "up2" }, { id: "up2" })).toBe("missing");
  });

  it("R11: a shared secret copied to another owner's row does not open", async () => {
    const b = await bench(open);
    const vault = replica(b);
    await bearer(vault, shared, own);
    await give(b, alice, hour);
    const { sealed } = await row(b, shared);
    await b.database.db.updateTable("credentials").set({ sealed }).where("owner_id", "=", alice.id).execute();
    expect(await bearer(replica(b), alice, up1)).toBe("needs_reauth");
  });
});
