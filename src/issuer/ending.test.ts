import { expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { readJson } from "../../test/support/read.ts";
import { Hidden, type Owner } from "../base/index.ts";
import {
  ADMIN_TOKEN,
  addKey,
  addUpstream,
  connectDuring,
  consented,
  counts,
  exchange,
  type Gateway,
  refresh,
  setUp,
  signIn,
  somebodyWaits,
  startConsent,
  Tab,
} from "./issuer.suite.ts";

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

const isAlive = async (gateway: Gateway, accessToken: string) =>
  (await gateway.issuer.authenticate(accessToken)).ok;

onBothDatabases("the end of a session grant", (open) => {
  interface Session {
    gateway: Gateway;
    got: { code: string; verifier: string; clientId: string };
    access_token: string;
    refresh_token: string;
    grantId: string;
  }

  /** Every way a grant can end; each takes what was connected for it along. */
  const endings: Record<string, { redeem: boolean; end(session: Session): Promise<unknown> }> = {
    "revoked by an administrator": {
      redeem: true,
      end: ({ gateway, grantId }) =>
        gateway.call(`/api/oauth2/sessions/${grantId}`, {
          method: "DELETE",
          headers: { authorization: `Bearer ${ADMIN_TOKEN}` },
        }),
    },
    "revoked by its client": {
      redeem: true,
      end: ({ gateway, refresh_token, got }) =>
        gateway.call("/api/oauth/per-user/revoke", {
          method: "POST",
          body: new URLSearchParams({ token: refresh_token, client_id: got.clientId }),
        }),
    },
    "with all of its client": {
      redeem: true,
      end: async ({ gateway }) => revokeAll(gateway, { client_id: await clientRow(gateway) }),
    },
    "without use for 30 days": {
      redeem: true,
      end: async ({ gateway }) => {
        gateway.world.advance(30 * DAY + 1);
        await gateway.issuer.sweep();
      },
    },
    "a refresh token used twice": {
      redeem: true,
      end: async ({ gateway, got, refresh_token }) => {
        await refresh(gateway, got.clientId, refresh_token);
        gateway.world.advance(MINUTE);
        await refresh(gateway, got.clientId, refresh_token);
      },
    },
    "a code used twice": { redeem: true, end: ({ gateway, got }) => exchange(gateway, got) },
    "a code with a wrong verifier": {
      redeem: false,
      end: ({ gateway, got }) => exchange(gateway, { ...got, verifier: "x".repeat(43) }),
    },
    "a code that nobody redeems": {
      redeem: false,
      end: async ({ gateway }) => {
        gateway.world.advance(5 * MINUTE);
        await gateway.issuer.sweep();
      },
    },
  };

  async function withSession(redeem: boolean): Promise<Session> {
    const gateway = await setUp(open, { settings: { enforceAuthOnInference: false } });
    const upstream = await addUpstream(gateway);
    const started = await startConsent(gateway);
    await started.tab.post("/api/oauth/per-user/consent/skip", { flow_id: started.flowId });
    await connectDuring(gateway, started.flowId, upstream.id);
    const submitted = await started.tab.post("/api/oauth/per-user/consent/submit", {
      flow_id: started.flowId,
    });
    const code = new URL(submitted.headers.get("location")!).searchParams.get("code")!;
    const got = { ...started, code };
    const tokens = redeem ? await readJson(await exchange(gateway, got)) : {};
    const { id } = await gateway.database.db.selectFrom("grants").select("id").executeTakeFirstOrThrow();
    const owner: Owner = { mode: "session", id };
    await gateway.flows.start(gateway.database.db, {
      kind: "connect",
      owner,
      upstreamId: upstream.id,
      data: {},
      ttlMs: 100 * DAY,
    });
    expect((await gateway.vault.open(owner, upstream)).outcome).toBe("ready");
    return { gateway, got, grantId: id, ...tokens };
  }

  for (const [how, { redeem, end }] of Object.entries(endings)) {
    it(`PK-15 ${how}: its credentials and links go with it, the provider is to be told, others stay`, async () => {
      const session = await withSession(redeem);
      const { gateway, grantId } = session;
      const upstream = gateway.upstreams.all()[0]!;
      const other: Owner = { mode: "session", id: "anon_other" };
      await gateway.database.transaction((tx) =>
        gateway.vault.put(tx, {
          owner: other,
          upstreamId: upstream.id,
          account: "",
          secret: { kind: "oauth", accessToken: new Hidden("theirs"), oauthConfigId: "" },
        }),
      );
      await end(session);
      const left = await gateway.database.db.selectFrom("credentials").select("owner_id").execute();
      expect(left).toEqual([{ owner_id: other.id }]);
      const links = await gateway.database.db
        .selectFrom("flows")
        .select("id")
        .where("kind", "=", "connect")
        .where("ended_at", "is", null)
        .execute();
      expect(links).toEqual([]);
      expect((await gateway.vault.open({ mode: "session", id: grantId }, upstream)).outcome).toBe(
        "needs_user",
      );
      expect(await counts(gateway)).toMatchObject({ grants: 0, tokens: 0 });
      if (redeem) expect(await isAlive(gateway, session.access_token)).toBe(false);
      const told = await gateway.database.db
        .selectFrom("audit")
        .select(["owner_id", "upstream_id"])
        .where("event", "like", "credential.provider_%")
        .execute();
      expect(told).toEqual([{ owner_id: grantId, upstream_id: upstream.id }]);
    });
  }
});

async function clientRow(gateway: Gateway): Promise<string> {
  return (await gateway.database.db.selectFrom("grants").select("client_row_id").executeTakeFirstOrThrow())
    .client_row_id;
}

async function revokeAll(gateway: Gateway, body: unknown, bearer = ADMIN_TOKEN): Promise<number | string> {
  const response = await gateway.call("/api/oauth2/sessions/revoke", {
    method: "POST",
    headers: { authorization: `Bearer ${bearer}`, "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  const answer = await readJson(response);
  return answer.revoked ?? `${response.status} ${answer.error.code}`;
}

onBothDatabases("all grants at once", (open, kind) => {
  it("TK-20 of a key, a person or a client, for administrators and for oneself", async () => {
    const gateway = await setUp(open);
    const one = await addKey(gateway, { name: "one" });
    const two = await addKey(gateway, { name: "two" });
    const first = await consented(gateway, one.value);
    const grant = async (value: string) => {
      const started = await startConsent(gateway, { clientId: first.clientId });
      return (await readJson(await exchange(gateway, await consented(gateway, value, started)))).access_token;
    };
    await exchange(gateway, first);
    const ofOne = await grant(one.value);
    const ofTwo = await grant(two.value);
    for (const body of [
      { virtual_key_id: one.id },
      { virtual_key_id: "vk_none" },
      { client_id: await clientRow(gateway) },
      { user_id: "user_x" },
    ])
      expect(await revokeAll(gateway, body, two.value)).toBe("403 administrator_required");
    for (const body of [{}, { client_id: "a", user_id: "b" }, { user_id: "a\0" }, { everything: true }])
      expect(await revokeAll(gateway, body)).toBe("400 invalid_request");
    expect(await revokeAll(gateway, { virtual_key_id: one.id })).toBe(2);
    expect([await isAlive(gateway, ofOne), await isAlive(gateway, ofTwo)]).toEqual([false, true]);
    expect(await revokeAll(gateway, { virtual_key_id: two.id }, two.value)).toBe(1);
    expect(await isAlive(gateway, ofTwo)).toBe(false);

    const again = await grant(two.value);
    expect(await revokeAll(gateway, { client_id: await clientRow(gateway) })).toBe(1);
    expect(await isAlive(gateway, again)).toBe(false);

    const started = await startConsent(gateway);
    const person = await signIn(gateway, started.tab);
    await started.tab.post("/api/oauth/per-user/consent/user-id", {
      flow_id: started.flowId,
      user_id: person.id,
    });
    const submitted = await started.tab.post("/api/oauth/per-user/consent/submit", {
      flow_id: started.flowId,
    });
    const code = new URL(submitted.headers.get("location")!).searchParams.get("code")!;
    const theirs = await readJson(await exchange(gateway, { ...started, code }));
    expect(await isAlive(gateway, theirs.access_token)).toBe(true);
    expect(await revokeAll(gateway, { user_id: person.id })).toBe(1);
    expect(await isAlive(gateway, theirs.access_token)).toBe(false);
    expect(await revokeAll(gateway, { user_id: person.id })).toBe(0);
  });

  it.runIf(kind === "postgres")(
    "TK-14 a thousand and more at once are dead on another replica at its next look",
    async () => {
      const gateway = await setUp(open);
      const key = await addKey(gateway);
      const got = await consented(gateway, key.value);
      const { access_token } = await readJson(await exchange(gateway, got));
      const replica = await setUp(open, { beside: gateway });
      replica.database.changes.follow();
      replica.database.changes.stop();
      expect(await isAlive(replica, access_token)).toBe(true);
      await gateway.database.transaction(async (tx) => {
        for (let n = 0; n < 1_100; n++) await gateway.database.changes.note(tx, "grant", `grant_${n}`, 0);
      });
      expect(await revokeAll(gateway, { virtual_key_id: key.id })).toBe(1);
      await replica.database.changes.pull();
      expect(await isAlive(replica, access_token)).toBe(false);
    },
  );
});

onBothDatabases("the end of a person", (open) => {
  async function withPerson() {
    const gateway = await setUp(open);
    const { users, keys, vault, access, issuer } = gateway;
    // As app.ts links them.
    access.listeners.push((tx, changes) => vault.setAccessOf(tx, changes));
    keys.listeners.push({
      changed: (tx, before, after) => access.keyChanged(tx, before, after),
      deleted: async (tx, key) => issuer.revokeGrantsOf(tx, { virtualKeyId: key.id }),
    });
    users.listeners.push({
      deleted: async (tx, user) => {
        await issuer.revokeGrantsOf(tx, { owner: { mode: "user", id: user.id } });
        await vault.dropOwner(tx, { mode: "user", id: user.id });
        await keys.deleteOf(tx, user.id);
      },
    });
    const upstream = await addUpstream(gateway);
    const started = await startConsent(gateway);
    const person = await signIn(gateway, started.tab);
    const key = await addKey(gateway, { name: "own", userId: person.id, upstreamIds: [upstream.id] });
    const other = await addKey(gateway, { name: "other" });
    await connectDuring(gateway, started.flowId, upstream.id);
    const got = await consented(gateway, key.value, started);
    const { access_token } = await readJson(await exchange(gateway, got));
    const owner: Owner = { mode: "user", id: person.id };
    const works = async () => [
      await isAlive(gateway, access_token),
      (await gateway.keys.authenticate(key.value)).ok,
      (await gateway.sessions.of(
        new Request("http://localhost:8080/", { headers: started.tab.headers() }),
      )) !== undefined,
    ];
    return { gateway, upstream, person, key, other, owner, works };
  }

  it("ID-28 deleted: keys, grants, credentials and sign-ins end together, and a namesake inherits nothing", async () => {
    const { gateway, upstream, person, other, owner, works } = await withPerson();
    expect(await works()).toEqual([true, true, true]);
    expect((await gateway.vault.open(owner, upstream)).outcome).toBe("ready");
    const failing = gateway.users.delete(person.id, async () => {
      throw new Error("disk full");
    });
    await expect(failing).rejects.toThrow("disk full");
    expect(await works()).toEqual([true, true, true]);
    await gateway.users.delete(person.id);
    expect(await works()).toEqual([false, false, false]);
    expect((await gateway.vault.open(owner, upstream)).outcome).toBe("needs_user");
    expect(await counts(gateway)).toMatchObject({ grants: 0, tokens: 0, credentials: 0 });
    expect((await gateway.keys.authenticate(other.value)).ok).toBe(true);
    const { db } = gateway.database;
    for (const table of ["users", "dashboard_sessions"] as const)
      expect(await db.selectFrom(table).select("id").execute()).toEqual([]);
    await expect(gateway.users.delete(person.id)).rejects.toMatchObject({ code: "user_not_found" });
    const prepared = await gateway.users.prepareAdmin("ada@example.com", new Hidden("correct horse battery"));
    const again = await gateway.database.transaction((tx) => gateway.users.insertAdmin(tx, prepared));
    expect(again.id).not.toBe(person.id);
    await expect(gateway.users.delete(again.id)).rejects.toMatchObject({ code: "last_administrator" });
    await expect(gateway.users.setActive(again.id, false)).rejects.toMatchObject({
      code: "last_administrator",
    });
  });

  it("ID-28 a submit that meets the deletion makes nothing for who is gone", async () => {
    const { gateway, upstream, person, key } = await withPerson();
    const tab = new Tab(gateway);
    const { flowId } = await startConsent(gateway, { tab });
    await tab.post("/api/oauth/per-user/consent/vk", { flow_id: flowId, vk: key.value });
    await connectDuring(gateway, flowId, upstream.id);
    const begun = Promise.withResolvers<void>();
    const deleting = gateway.users.delete(person.id, async (tx) => {
      begun.resolve();
      // SQLite lets the submit begin when this has ended.
      if (gateway.database.kind === "postgres") await somebodyWaits(tx);
    });
    await begun.promise;
    const answer = await tab.post("/api/oauth/per-user/consent/submit", { flow_id: flowId });
    await deleting;
    expect([answer.status, answer.headers.get("location")]).toEqual([
      303,
      expect.stringContaining("error=identity_disabled"),
    ]);
    // What was connected is nobody's, and goes with the consent.
    const left = await gateway.database.db.selectFrom("credentials").select("owner_mode").execute();
    expect(left).toEqual([{ owner_mode: "flow" }]);
    expect(await counts(gateway)).toMatchObject({ grants: 0, tokens: 0 });
  });

  it("ID-14 switched off: nothing of theirs works, on any replica, and all of it again afterwards", async () => {
    const { gateway, upstream, person, owner, works } = await withPerson();
    await works();
    await gateway.users.setActive(person.id, false);
    expect(await works()).toEqual([false, false, false]);
    expect(await counts(gateway)).toMatchObject({ grants: 1, credentials: 1 });
    await gateway.users.setActive(person.id, true);
    expect(await works()).toEqual([true, true, true]);
    expect((await gateway.vault.open(owner, upstream)).outcome).toBe("ready");
  });
});
