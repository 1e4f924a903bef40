import { expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { UpstreamOAuth } from "./index.ts";
import { AS, behaving, PRM, registering, start } from "./oauth.suite.ts";

const MINUTE = 60_000;

/** A server where each registration gives another client. */
async function registrar() {
  const { mcp, as, metadata } = await behaving();
  let clients = 0;
  as.answers["POST /register"] = (body: string) => registering({ client_id: `dcr-${++clients}` })(body);
  const registrations = () => as.paths().filter((path) => path === "POST /register").length;
  return { mcp, as, metadata, registrations };
}

onBothDatabases("a registration that the provider has forgotten", (open, kind) => {
  it("is made again once, whoever finds out and on whichever replica, and not again for ten minutes", async () => {
    const { mcp, as, registrations } = await registrar();
    const { database, url } = await open();
    const r = await start([mcp, as], `${mcp.origin}/mcp`, {}, {}, database);
    const first = await r.oauth.prepare(r.upstream);
    const other = kind === "postgres" ? (await open(url)).database : database;
    const there = new UpstreamOAuth({ ...r, database: other });
    const done = await Promise.all(
      Array.from({ length: 10 }, (_, n) => (n % 2 ? r.oauth : there).renewClient(r.upstream, first.version)),
    );
    expect(new Set(done)).toEqual(new Set(["done"]));
    expect(registrations()).toBe(2);
    const second = (await there.recorded(r.upstream))!;
    expect(second).toMatchObject({ configId: first.configId, issuer: first.issuer, clientSource: "dcr" });
    expect([first.client.client_id, second.client.client_id]).toEqual(["dcr-1", "dcr-2"]);
    expect(second.registeredAgainAt).toBeGreaterThanOrEqual(r.world.now().getTime());
    expect(r.audited).toContainEqual(expect.objectContaining({ event: "upstream.registered_again" }));
    // Refused as well: that is no case for a third.
    expect(await there.renewClient(r.upstream, second.version)).toBe("refused");
    // Who comes late is told that there is another one already.
    expect(await r.oauth.renewClient(r.upstream, first.version)).toBe("done");
    expect(registrations()).toBe(2);
    r.world.advance(11 * MINUTE);
    expect(await r.oauth.renewClient(r.upstream, second.version)).toBe("done");
    expect(registrations()).toBe(3);
    // The server that forgot it may remember it yet: nobody asks for its deletion.
    expect(await database.db.selectFrom("outbox").selectAll().execute()).toEqual([]);
  });
});

it("whose secret has ended is made again, too", async () => {
  const { mcp, as } = await registrar();
  const r = await start([mcp, as], `${mcp.origin}/mcp`);
  const ends = Math.ceil(r.world.now().getTime() / 1000) + 3600;
  as.answers["POST /register"] = registering({
    client_id: "short",
    client_secret: "s",
    client_secret_expires_at: ends,
  });
  await r.oauth.prepare(r.upstream);
  r.world.advance(2 * 3600_000);
  expect(await r.oauth.recorded(r.upstream)).toBeUndefined();
  as.answers["POST /register"] = registering({ client_id: "next" });
  expect(await r.oauth.renewClient(r.upstream, undefined)).toBe("done");
  expect((await r.oauth.recorded(r.upstream))?.client.client_id).toBe("next");
});

it("waits while the server cannot be asked, and is tried again a minute later", async () => {
  const { mcp, as, metadata, registrations } = await registrar();
  const r = await start([mcp, as], `${mcp.origin}/mcp`);
  const { version } = await r.oauth.prepare(r.upstream);
  as.answers[AS] = { raw: { status: 503, json: {} } };
  expect(await r.oauth.renewClient(r.upstream, version)).toBe("later");
  expect((await r.oauth.recorded(r.upstream))?.client.client_id).toBe("dcr-1");
  as.answers[AS] = metadata;
  r.world.advance(MINUTE);
  expect(await r.oauth.renewClient(r.upstream, version)).toBe("done");
  expect(registrations()).toBe(2);
});

it("R9 UP-18 is not made at another server that the upstream names meanwhile", async () => {
  const { mcp, as } = await registrar();
  const elsewhere = await registrar();
  const r = await start([mcp, as, elsewhere.as], `${mcp.origin}/mcp`);
  const { version } = await r.oauth.prepare(r.upstream);
  mcp.answers[`${PRM}/mcp`] = { resource: `${mcp.origin}/mcp`, authorization_servers: [elsewhere.as.origin] };
  expect(await r.oauth.renewClient(r.upstream, version)).toBe("refused");
  expect(elsewhere.registrations()).toBe(0);
});

it("is nothing to make again where an administrator gave the client", async () => {
  const { mcp, as, registrations } = await registrar();
  const given = { client_id: "mine", client_secret: "my-secret" };
  const r = await start([mcp, as], `${mcp.origin}/mcp`, { oauth_config: given });
  const { version } = await r.oauth.prepare(r.upstream);
  expect(await r.oauth.renewClient(r.upstream, version)).toBe("refused");
  expect(registrations()).toBe(0);
});
