import { expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { KEY, SUBMIT, USER } from "./consent.suite.ts";
import {
  addKey,
  addUpstream,
  BASE,
  connectDuring,
  counts,
  type Gateway,
  setUp,
  signIn,
  startConsent,
  type Tab,
} from "./issuer.suite.ts";

const NOT_YOU = "/api/oauth/per-user/consent/not-you";

const errorOf = (response: Response) =>
  new URL(response.headers.get("location")!, BASE).searchParams.get("error");

async function page(tab: Tab, flowId: string): Promise<string> {
  return (await tab.get(`/oauth/consent?flow_id=${flowId}`)).text();
}

const sessions = async (gateway: Gateway) =>
  (await gateway.database.db.selectFrom("dashboard_sessions").select("user_id").execute()).map(
    ({ user_id }) => user_id,
  );

/** Signed in as somebody else, in a browser that keeps its consent. */
async function becomes(gateway: Gateway, tab: Tab, email: string) {
  tab.cookies.delete(gateway.sessions.cookieName);
  return signIn(gateway, tab, email);
}

onBothDatabases("who somebody is at the consent", (open) => {
  it("CB-24 the page says who is signed in and how, and whoever that is not signs out and comes back to the same consent", async () => {
    const gateway = await setUp(open);
    const upstream = await addUpstream(gateway);
    const { tab, flowId } = await startConsent(gateway);
    const mallory = await signIn(gateway, tab, "mallory@example.com");
    expect(await page(tab, flowId)).toMatch(/You are.*mallory@example\.com, signed in with a password/s);
    await tab.post(USER, { flow_id: flowId, user_id: mallory.id });
    await connectDuring(gateway, flowId, upstream.id);
    const services = await (await tab.get(`/oauth/consent/mcps?flow_id=${flowId}`)).text();
    expect(services).toContain("mallory@example.com");
    expect(services).toContain("Not you?");

    const left = await tab.post(NOT_YOU, { flow_id: flowId });
    expect(left.status).toBe(303);
    const to = new URL(left.headers.get("location")!, BASE);
    expect(to.pathname).toBe("/login");
    expect(to.searchParams.get("return_to")).toBe(`/oauth/consent?flow_id=${flowId}`);
    expect(left.headers.getSetCookie()[0]).toMatch(/session=;.*Max-Age=0/);
    expect(await sessions(gateway)).toEqual([]);
    expect(await counts(gateway)).toMatchObject({ credentials: 0 });
    expect(errorOf(await tab.post(SUBMIT, { flow_id: flowId }))).toBe("identity_required");
    expect(await page(tab, flowId)).toContain("First say who you are");

    const ada = await becomes(gateway, tab, "ada@example.com");
    await tab.post(USER, { flow_id: flowId, user_id: ada.id });
    expect((await tab.post(SUBMIT, { flow_id: flowId })).status).toBe(302);
    const grant = await gateway.database.db.selectFrom("grants").selectAll().executeTakeFirstOrThrow();
    expect([grant.owner_mode, grant.owner_id]).toEqual(["user", ada.id]);
  });

  it("ID-07 a session that became somebody else's between step and submit, or before the step: back with an error", async () => {
    const gateway = await setUp(open);
    const { tab, flowId } = await startConsent(gateway);
    const ada = await signIn(gateway, tab);
    const adas = tab.cookies.get(gateway.sessions.cookieName)!;
    // The page showed Ada; by the time it is sent somebody else is signed in.
    const bob = await becomes(gateway, tab, "bob@example.com");
    expect(errorOf(await tab.post(USER, { flow_id: flowId, user_id: ada.id }))).toBe("other_account");
    expect(errorOf(await tab.post(USER, { flow_id: flowId }))).toBe("other_account");
    await tab.post(USER, { flow_id: flowId, user_id: bob.id });
    tab.cookies.set(gateway.sessions.cookieName, adas);
    expect(errorOf(await tab.get(`/oauth/consent/mcps?flow_id=${flowId}`))).toBe("other_account");
    expect(errorOf(await tab.post(SUBMIT, { flow_id: flowId }))).toBe("other_account");
    tab.cookies.delete(gateway.sessions.cookieName);
    expect(errorOf(await tab.post(SUBMIT, { flow_id: flowId }))).toBe("sign_in_first");
    expect(await counts(gateway)).toMatchObject({ grants: 0, codes: 0 });
  });

  it("CB-24 another site, and another browser, sign nobody out and change nothing", async () => {
    const gateway = await setUp(open);
    const { tab, flowId } = await startConsent(gateway);
    const ada = await signIn(gateway, tab);
    await tab.post(USER, { flow_id: flowId, user_id: ada.id });
    const crossed = await tab.post(NOT_YOU, { flow_id: flowId }, { "sec-fetch-site": "cross-site" });
    expect(crossed.status).toBe(403);
    const other = await startConsent(gateway);
    expect((await other.tab.post(NOT_YOU, { flow_id: flowId })).status).toBe(403);
    expect(await sessions(gateway)).toEqual([ada.id]);
    expect((await tab.post(SUBMIT, { flow_id: flowId })).status).toBe(302);
  });

  it("a personal key acts as its owner: mode user, the grant keeps the key, and the page says whose it is", async () => {
    const gateway = await setUp(open);
    const { tab, flowId } = await startConsent(gateway);
    const ada = await signIn(gateway, tab);
    const key = await addKey(gateway, { name: "laptop", userId: ada.id });
    tab.cookies.delete(gateway.sessions.cookieName);
    await tab.post(KEY, { flow_id: flowId, vk: key.value });
    const shown = await (await tab.get(`/oauth/consent/mcps?flow_id=${flowId}`)).text();
    expect(shown).toContain("virtual key laptop of Ada");
    expect((await tab.post(SUBMIT, { flow_id: flowId })).status).toBe(302);
    const grant = await gateway.database.db.selectFrom("grants").selectAll().executeTakeFirstOrThrow();
    expect([grant.owner_mode, grant.owner_id, grant.virtual_key_id]).toEqual(["user", ada.id, key.id]);
  });

  it("a service account's key: who looks after it connects its services here, and the audit line names both", async () => {
    const gateway = await setUp(open);
    const upstream = await addUpstream(gateway);
    const { tab, flowId } = await startConsent(gateway);
    const ada = await signIn(gateway, tab);
    const machine = await gateway.database.transaction((tx) =>
      gateway.serviceAccounts.insert(tx, { name: "nightly", managerId: ada.id }),
    );
    const key = await addKey(gateway, { name: "cron", userId: machine.id });
    await tab.post(KEY, { flow_id: flowId, vk: key.value });
    const shown = async () => (await tab.get(`/oauth/consent/mcps?flow_id=${flowId}`)).text();
    expect(await shown()).toContain("virtual key cron of the service account nightly");
    const gate = () =>
      gateway.issuer.consentGate(new Request(BASE, { headers: tab.headers() }), flowId, upstream.id);
    expect(await gate()).toMatchObject({ identity: { owner: { mode: "user", id: machine.id } } });
    await connectDuring(gateway, flowId, upstream.id);
    expect((await tab.post(SUBMIT, { flow_id: flowId })).status).toBe(302);
    const owned = await gateway.database.db
      .selectFrom("credentials")
      .select(["owner_mode", "owner_id"])
      .execute();
    expect(owned).toEqual([{ owner_mode: "user", owner_id: machine.id }]);
    const line = await gateway.database.db
      .selectFrom("audit")
      .select(["owner_id", "detail_json"])
      .where("event", "=", "grant.created")
      .executeTakeFirstOrThrow();
    expect([line.owner_id, JSON.parse(line.detail_json).connected_by]).toEqual([
      machine.id,
      `user:${ada.id}`,
    ]);
    // Somebody who does not look after it proves the key only.
    const second = await startConsent(gateway, { tab });
    await becomes(gateway, tab, "bob@example.com");
    await tab.post(KEY, { flow_id: second.flowId, vk: key.value });
    const refused = gateway.issuer.consentGate(
      new Request(BASE, { headers: tab.headers() }),
      second.flowId,
      upstream.id,
    );
    await expect(refused).rejects.toMatchObject({ status: 403, code: "sign_in_required" });
  });
});
