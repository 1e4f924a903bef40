import { expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { readJson } from "../../test/support/read.ts";
import { cookieName, readCookie } from "../http/index.ts";
import { DENY, KEY, MINUTE, owners, ready, SKIP, SUBMIT, USER } from "./consent.suite.ts";
import {
  addKey,
  addUpstream,
  BASE,
  connectDuring,
  counts,
  exchange,
  setUp,
  signIn,
  startConsent,
  Tab,
} from "./issuer.suite.ts";

onBothDatabases("consent", (open) => {
  it("an identity that is required and missing: 303 back with an error; a browser gets pages, an API the envelope", async () => {
    const gateway = await setUp(open);
    const { tab, flowId } = await startConsent(gateway);
    const response = await tab.post(SUBMIT, { flow_id: flowId });
    expect([response.status, response.headers.get("location")]).toEqual([
      303,
      `/oauth/consent?flow_id=${flowId}&error=identity_required`,
    ]);
    const services = await tab.get(`/oauth/consent/mcps?flow_id=${flowId}`);
    expect(services.headers.get("location")).toBe(`/oauth/consent?flow_id=${flowId}&error=identity_required`);
    const asPage = await new Tab(gateway).post(SUBMIT, { flow_id: flowId }, { accept: "text/html,*/*" });
    expect([asPage.status, asPage.headers.get("content-type")]).toEqual([403, "text/html; charset=utf-8"]);
  });

  it("CB-25 a wrong key: one answer for all reasons, ten tries per consent", async () => {
    const gateway = await setUp(open);
    const key = await addKey(gateway);
    await gateway.keys.update(key.id, { isActive: false });
    const { tab, flowId } = await startConsent(gateway);
    for (let n = 0; n < 10; n++) {
      const response = await tab.post(KEY, { flow_id: flowId, vk: n % 2 ? key.value : "sk-bf-wrong" });
      expect(response.headers.get("location")).toBe(`/oauth/consent?flow_id=${flowId}&error=invalid_key`);
    }
    const locked = await tab.post(KEY, { flow_id: flowId, vk: "sk-bf-wrong" });
    expect(locked.status).toBe(429);
    expect(locked.headers.get("retry-after")).not.toBeNull();
  });

  it("CB-13 a change of identity gives up what was connected under the first one", async () => {
    const gateway = await setUp(open);
    const { tab, flowId, key, submit } = await ready(gateway);
    await tab.post(KEY, { flow_id: flowId, vk: key.value });
    expect(await counts(gateway)).toMatchObject({ credentials: 1 });
    const second = await addKey(gateway, { name: "second" });
    await tab.post(KEY, { flow_id: flowId, vk: second.value });
    expect(await counts(gateway)).toMatchObject({ credentials: 0 });
    expect((await submit()).status).toBe(302);
    const grant = await gateway.database.db.selectFrom("grants").selectAll().executeTakeFirstOrThrow();
    expect([grant.owner_mode, grant.owner_id]).toEqual(["vk", second.id]);
  });

  it("CB-23 deny: access_denied with state and iss, connections gone, later submit 409", async () => {
    const gateway = await setUp(open);
    const { tab, flowId, submit } = await ready(gateway);
    const response = await tab.post(DENY, { flow_id: flowId });
    expect(response.status).toBe(302);
    const { searchParams } = new URL(response.headers.get("location")!);
    expect(Object.fromEntries(searchParams)).toEqual({
      error: "access_denied",
      state: "the state",
      iss: BASE,
    });
    expect(await counts(gateway)).toMatchObject({ grants: 0, credentials: 0 });
    expect((await submit()).status).toBe(409);
  });

  it("ID-07 CB-28 user-id binds the signed-in person only, who must still be signed in at submit", async () => {
    const gateway = await setUp(open);
    const { tab, flowId } = await startConsent(gateway);
    const error = async (userId: string) =>
      new URL(
        (await tab.post(USER, { flow_id: flowId, user_id: userId })).headers.get("location")!,
        BASE,
      ).searchParams.get("error");
    expect(await error("user_ada@example.com")).toBe("sign_in_first");
    const ada = await signIn(gateway, tab);
    expect(await error("user_bob@example.com")).toBe("other_account");
    expect(await (await tab.get(`/oauth/consent?flow_id=${flowId}`)).text()).toContain("Allow as Ada");
    expect(await error(ada.id)).toBeNull();
    const sessionCookie = tab.cookies.get(gateway.sessions.cookieName)!;
    tab.cookies.delete(gateway.sessions.cookieName);
    const gone = await tab.post(SUBMIT, { flow_id: flowId });
    expect(gone.headers.get("location")).toBe(`/oauth/consent?flow_id=${flowId}&error=sign_in_first`);
    tab.cookies.set(gateway.sessions.cookieName, sessionCookie);
    expect((await tab.post(SUBMIT, { flow_id: flowId })).status).toBe(302);
    const grant = await gateway.database.db.selectFrom("grants").selectAll().executeTakeFirstOrThrow();
    expect([grant.owner_mode, grant.owner_id]).toEqual(["user", ada.id]);
  });

  it("an identity disabled before submit is refused there", async () => {
    const gateway = await setUp(open);
    const { submit, key, flowId } = await ready(gateway);
    await gateway.keys.update(key.id, { isActive: false });
    const response = await submit();
    expect(response.headers.get("location")).toBe(`/oauth/consent?flow_id=${flowId}&error=identity_disabled`);
    expect(await counts(gateway)).toMatchObject({ grants: 0, credentials: 1 });
  });

  it("a person's key: connecting needs that person's login", async () => {
    const gateway = await setUp(open);
    const upstream = await addUpstream(gateway);
    const { tab, flowId } = await startConsent(gateway);
    const ada = await signIn(gateway, tab);
    const key = await addKey(gateway, { userId: ada.id });
    const sessionCookie = tab.cookies.get(gateway.sessions.cookieName)!;
    tab.cookies.delete(gateway.sessions.cookieName);
    await tab.post(KEY, { flow_id: flowId, vk: key.value });
    const gate = () =>
      gateway.issuer.consentGate(new Request(BASE, { headers: tab.headers() }), flowId, upstream.id);
    await expect(gate()).rejects.toMatchObject({ status: 403, code: "sign_in_required" });
    expect(await (await tab.get(`/oauth/consent/mcps?flow_id=${flowId}`)).text()).toContain(
      "Sign in as that person",
    );
    tab.cookies.set(gateway.sessions.cookieName, sessionCookie);
    expect(await gate()).toMatchObject({
      flowId,
      identity: { owner: { mode: "user", id: ada.id }, virtualKeyId: key.id },
      returnTo: `/oauth/consent/mcps?flow_id=${flowId}&service=${upstream.id}`,
    });
  });

  it("the gate: 401 unknown or expired, 403 before approval and for what is not allowed, 404 unknown upstream", async () => {
    const gateway = await setUp(open);
    const upstream = await addUpstream(gateway);
    const key = await addKey(gateway);
    const { tab, flowId } = await startConsent(gateway);
    const gate = (id: string, upstreamId = upstream.id, more = {}) =>
      gateway.issuer.consentGate(
        new Request(BASE, { headers: { ...tab.headers(), ...more } }),
        id,
        upstreamId,
      );
    await expect(gate(`flow_${"A".repeat(22)}`)).rejects.toMatchObject({ status: 401 });
    await expect(gate(flowId)).rejects.toMatchObject({ status: 403, code: "not_approved" });
    await tab.post(KEY, { flow_id: flowId, vk: key.value });
    await expect(gate(flowId, upstream.id, { "sec-fetch-site": "cross-site" })).rejects.toMatchObject({
      status: 403,
    });
    await expect(gate(flowId, "mcp_none")).rejects.toMatchObject({ status: 404 });
    expect(await gate(flowId)).toMatchObject({ flowId });
    await gateway.upstreams.update(upstream.id, { allow_on_all_virtual_keys: false });
    await expect(gate(flowId)).rejects.toMatchObject({ status: 403, code: "upstream_not_allowed" });
    gateway.world.advance(15 * MINUTE);
    await expect(gate(flowId)).rejects.toMatchObject({ status: 401, code: "flow_expired" });
  });

  it("without required identity: skip, and the grant itself is the identity, held by this browser", async () => {
    const gateway = await setUp(open, { settings: { enforceAuthOnInference: false } });
    const upstream = await addUpstream(gateway);
    const started = await startConsent(gateway);
    const { tab, flowId } = started;
    expect(await (await tab.get(`/oauth/consent?flow_id=${flowId}`)).text()).toContain(
      "Allow without an account",
    );
    await tab.post(SKIP, { flow_id: flowId });
    await connectDuring(gateway, flowId, upstream.id);
    const location = new URL((await tab.post(SUBMIT, { flow_id: flowId })).headers.get("location")!);
    const grant = await gateway.database.db.selectFrom("grants").selectAll().executeTakeFirstOrThrow();
    expect([grant.owner_mode, grant.owner_id]).toEqual(["session", grant.id]);
    expect(await owners(gateway)).toEqual([{ owner_mode: "session", owner_id: grant.id }]);
    const request = (from: Tab) => new Request(BASE, { headers: from.headers() });
    const held = readCookie(request(tab), cookieName("grant", gateway.settings, grant.id));
    expect(gateway.hash.of("grant_cookie", held!)).toBe(await gateway.issuer.grantBrowserHash(grant.id));
    expect(await gateway.issuer.grantBrowserHash("grant_of_nobody")).toBeUndefined();
    const answer = await exchange(gateway, { ...started, code: location.searchParams.get("code")! });
    const { access_token } = await readJson(answer);
    expect(await gateway.issuer.authenticate(access_token)).toMatchObject({
      ok: true,
      grant: { owner: { mode: "session", id: grant.id } },
    });
  });

  it("skip where an identity is required: back with an error", async () => {
    const gateway = await setUp(open);
    const { tab, flowId } = await startConsent(gateway);
    const response = await tab.post(SKIP, { flow_id: flowId });
    expect(response.headers.get("location")).toBe(`/oauth/consent?flow_id=${flowId}&error=skip_not_allowed`);
  });
});
