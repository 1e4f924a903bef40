import { expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { readJson } from "../../test/support/read.ts";
import { endStaleGrants } from "./after-restore.ts";
import {
  addKey,
  consented,
  counts,
  exchange,
  type Gateway,
  refresh,
  setUp,
  startConsent,
} from "./issuer.suite.ts";

const DAY = 24 * 60 * 60_000;

async function signedIn(gateway: Gateway, key: { value: string }) {
  const got = await consented(gateway, key.value);
  const tokens = await readJson(await exchange(gateway, got));
  return { clientId: got.clientId, ...tokens } as {
    clientId: string;
    access_token: string;
    refresh_token: string;
  };
}

onBothDatabases("the sweep of what was issued", (open) => {
  it("removes the rows of clients that no grant refers to, and the client comes again all the same (AV-25)", async () => {
    const gateway = await setUp(open);
    const key = await addKey(gateway);
    const { clientId } = await signedIn(gateway, key);
    gateway.world.advance(29 * DAY);
    await gateway.issuer.sweep();
    expect(await counts(gateway)).toMatchObject({ grants: 1, clients: 1 });
    gateway.world.advance(2 * DAY);
    await gateway.issuer.sweep();
    expect(await counts(gateway)).toMatchObject({ grants: 0, tokens: 0, clients: 0 });
    const again = await consented(gateway, key.value, await startConsent(gateway, { clientId }));
    expect((await exchange(gateway, again)).status).toBe(200);
  });

  it("takes no client away from a consent that is just being finished, on two replicas (AV-25)", async () => {
    const gateway = await setUp(open);
    const key = await addKey(gateway);
    const { clientId } = await signedIn(gateway, key);
    gateway.world.advance(31 * DAY);
    const flow = await startConsent(gateway, { clientId });
    const [finished] = await Promise.all([
      consented(gateway, key.value, flow),
      gateway.issuer.sweep(),
      gateway.issuer.sweep(),
    ]);
    expect((await exchange(gateway, finished)).status).toBe(200);
    expect(await counts(gateway)).toMatchObject({ grants: 1, clients: 1 });
  });

  it("ends more grants than one batch holds, and passes those by that were used since (AV-25)", async () => {
    const gateway = await setUp(open);
    const key = await addKey(gateway);
    const { access_token } = await signedIn(gateway, key);
    const { db } = gateway.database;
    const row = await db.selectFrom("grants").selectAll().executeTakeFirstOrThrow();
    const now = gateway.world.now().getTime();
    const many = (from: number, change: object) =>
      db
        .insertInto("grants")
        .values(Array.from({ length: 150 }, (_, at) => ({ ...row, id: `grant_${from + at}`, ...change })))
        .execute();
    await many(0, { ends_at: now - 1 });
    // Their `idle_until` is behind; what counts is the use.
    await many(200, { idle_until: now - 1, last_used_at: now });
    await gateway.issuer.sweep();
    expect(await counts(gateway)).toMatchObject({ grants: 151 });
    expect((await gateway.issuer.authenticate(access_token)).ok).toBe(true);
  });
});

onBothDatabases("grants after a restore", (open) => {
  const restore = (gateway: Gateway, everything = false) =>
    gateway.database.transaction((tx) => endStaleGrants(tx, gateway.world.now().getTime(), everything));

  it("go on while their access token counts, and end when it may have been renewed since", async () => {
    const gateway = await setUp(open);
    const key = await addKey(gateway);
    const stale = await signedIn(gateway, key);
    gateway.world.advance(20 * 60 * 60_000);
    const young = await signedIn(gateway, key);
    gateway.world.advance(5 * 60 * 60_000);
    expect(await restore(gateway)).toBe(1);
    expect((await refresh(gateway, stale.clientId, stale.refresh_token)).status).toBe(400);
    expect((await refresh(gateway, young.clientId, young.refresh_token)).status).toBe(200);
    await gateway.issuer.sweep();
    expect(await counts(gateway)).toMatchObject({ grants: 1 });
  });

  it("all end when the operator says so", async () => {
    const gateway = await setUp(open);
    const { clientId, access_token, refresh_token } = await signedIn(gateway, await addKey(gateway));
    expect(await restore(gateway, true)).toBe(1);
    expect((await refresh(gateway, clientId, refresh_token)).status).toBe(400);
    expect((await gateway.issuer.authenticate(access_token)).ok).toBe(false);
  });
});
