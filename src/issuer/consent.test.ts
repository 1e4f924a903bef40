import { expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { readJson } from "../../test/support/read.ts";
import { DENY, KEY, MINUTE, owners, ready, SKIP, SUBMIT, USER } from "./consent.suite.ts";
import {
  addKey,
  BASE,
  consented,
  counts,
  exchange,
  type Gateway,
  REDIRECT,
  register,
  setUp,
  startConsent,
  Tab,
} from "./issuer.suite.ts";

onBothDatabases("consent", (open) => {
  it("leads from authorize to a code that carries state and iss, and moves what was connected", async () => {
    const gateway = await setUp(open);
    const { submit, key, tab, flowId, upstream } = await ready(gateway);
    const owner = { mode: "flow", id: flowId } as const;
    const trip = { owner, upstreamId: upstream.id, data: {}, ttlMs: MINUTE };
    const link = await gateway.flows.start(gateway.database.db, {
      ...trip,
      kind: "connect",
      parentId: flowId,
    });
    await gateway.flows.start(gateway.database.db, { ...trip, kind: "state", parentId: link.id });
    const page = await (await tab.get(`/oauth/consent/mcps?flow_id=${flowId}`)).text();
    expect(page).toContain("virtual key ci");
    expect(page).toContain("Replace");
    const response = await submit();
    expect(response.status).toBe(302);
    const location = new URL(response.headers.get("location")!);
    expect(location.href.startsWith(`${REDIRECT}?code=`)).toBe(true);
    expect(location.searchParams.get("state")).toBe("the state");
    expect(location.searchParams.get("iss")).toBe(BASE);
    expect(await owners(gateway)).toEqual([{ owner_mode: "vk", owner_id: key.id }]);
    const open_ = await gateway.database.db
      .selectFrom("flows")
      .select("kind")
      .where("ended_at", "is", null)
      .execute();
    expect(open_).toEqual([{ kind: "code" }]);
    expect(await counts(gateway)).toMatchObject({
      grants: 1,
      clients: 1,
      codes: 1,
      tokens: 0,
      credentials: 1,
    });
  });

  it("CB-10 CB-21 submitted twice, one after the other: 302, then 409, one grant, one code", async () => {
    const gateway = await setUp(open);
    const { submit } = await ready(gateway);
    expect((await submit()).status).toBe(302);
    const again = await submit();
    expect(again.status).toBe(409);
    expect((await readJson(again)).error.code).toBe("flow_finished");
    expect(await counts(gateway)).toMatchObject({ grants: 1, codes: 1, credentials: 1 });
  });

  it("CB-10 submitted fifty times at once, on two replicas: exactly one 302", async () => {
    const gateway = await setUp(open);
    const { tab, flowId } = await ready(gateway);
    const beside = gateway.database.kind === "postgres" ? await setUp(open, { beside: gateway }) : gateway;
    const post = (at: Gateway) =>
      at.call(SUBMIT, {
        method: "POST",
        headers: tab.headers(),
        body: new URLSearchParams({ flow_id: flowId }),
      });
    const answers = await Promise.all(Array.from({ length: 50 }, (_, n) => post(n % 2 ? beside : gateway)));
    const statuses = answers.map(({ status }) => status).sort();
    expect(statuses).toEqual([302, ...Array(49).fill(409)]);
    expect(await counts(gateway)).toMatchObject({ grants: 1, clients: 1, codes: 1, credentials: 1 });
    const events = await gateway.database.db.selectFrom("audit").select("event").execute();
    expect(events.filter(({ event }) => event === "grant.created")).toHaveLength(1);
  });

  it("a store failure at any statement of submit leaves nothing behind, and the same submit then succeeds", async () => {
    const gateway = await setUp(open);
    const { submit, flowId } = await ready(gateway);
    const before = await counts(gateway);
    let statement = 0;
    for (; ; statement++) {
      gateway.faults.left = statement;
      const response = await submit();
      gateway.faults.left = undefined;
      if (response.status === 302) break;
      expect([statement, response.status]).toEqual([statement, 500]);
      expect((await readJson(response)).error.code).toBe("internal_error");
      expect(await counts(gateway)).toEqual(before);
      expect(await owners(gateway)).toEqual([{ owner_mode: "flow", owner_id: flowId }]);
    }
    expect(statement).toBeGreaterThan(10);
    expect(await counts(gateway)).toMatchObject({ grants: 1, codes: 1, credentials: 1 });
  });

  it("flow_id missing, malformed or never existed: 400 envelope", async () => {
    const gateway = await setUp(open);
    const tab = new Tab(gateway);
    for (const fields of [{}, { flow_id: "" }, { flow_id: "x\0" }, { flow_id: `flow_${"A".repeat(22)}` }]) {
      const response = await tab.post(SUBMIT, fields as Record<string, string>);
      expect(response.status).toBe(400);
      expect((await readJson(response)).error).toMatchObject({ param: "flow_id" });
    }
  });

  it("CB-11 expired: 410 at every step, also without the cookie, and what was connected is swept", async () => {
    const gateway = await setUp(open);
    const { tab, flowId, submit } = await ready(gateway);
    gateway.world.advance(15 * MINUTE);
    expect((await submit()).status).toBe(410);
    expect((await new Tab(gateway).post(SUBMIT, { flow_id: flowId })).status).toBe(410);
    expect((await tab.get(`/oauth/consent?flow_id=${flowId}`)).status).toBe(410);
    await gateway.vault.dropAbandoned();
    await gateway.issuer.sweep();
    expect(await counts(gateway)).toMatchObject({ grants: 0, credentials: 0 });
  });

  it("CB-01 CB-02 another browser, or another flow's cookie: 403 everywhere, nothing changed", async () => {
    const gateway = await setUp(open);
    const { tab, flowId, key, upstream, submit } = await ready(gateway);
    const other = await startConsent(gateway);
    const stolen = new Tab(gateway);
    for (const [name, value] of tab.cookies)
      stolen.cookies.set(name, `${value.startsWith("A") ? "B" : "A"}${value.slice(1)}`);
    for (const stranger of [new Tab(gateway), other.tab, stolen]) {
      const page = await stranger.get(`/oauth/consent?flow_id=${flowId}`);
      expect(page.status).toBe(403);
      expect(await page.text()).not.toMatch(/\bC1\b/);
      expect((await stranger.get(`/oauth/consent/mcps?flow_id=${flowId}`)).status).toBe(403);
      for (const path of [SUBMIT, DENY, SKIP]) {
        expect((await stranger.post(path, { flow_id: flowId })).status).toBe(403);
      }
      expect((await stranger.post(KEY, { flow_id: flowId, vk: key.value })).status).toBe(403);
      expect((await stranger.post(USER, { flow_id: flowId, user_id: "x" })).status).toBe(403);
      const request = new Request(BASE, { headers: stranger.headers() });
      await expect(gateway.issuer.consentGate(request, flowId, upstream.id)).rejects.toMatchObject({
        status: 403,
      });
    }
    expect((await submit()).status).toBe(302);
    // Contract section 3: the browser is checked before "already submitted".
    expect((await other.tab.post(SUBMIT, { flow_id: flowId })).status).toBe(403);
  });

  it("CB-03 CB-04 cross-site posts: 403, other content types 415, nothing changed", async () => {
    const gateway = await setUp(open);
    const { tab, flowId, submit } = await ready(gateway);
    const foreign: Record<string, string>[] = [
      { "sec-fetch-site": "cross-site" },
      { "sec-fetch-site": "same-site" },
      { "sec-fetch-site": "cross-site", origin: BASE },
    ];
    for (const headers of foreign) {
      expect((await tab.post(SUBMIT, { flow_id: flowId }, headers)).status).toBe(403);
    }
    for (const origin of ["https://evil.example", "null", "http://127.0.0.1:9999"]) {
      const headers = { ...tab.headers(), origin };
      const body = new URLSearchParams({ flow_id: flowId });
      expect((await gateway.call(SUBMIT, { method: "POST", headers, body })).status).toBe(403);
    }
    for (const type of ["text/plain", "application/json", "multipart/form-data; boundary=x"]) {
      const response = await tab.post(SUBMIT, { flow_id: flowId }, { "content-type": type });
      expect(response.status).toBe(415);
    }
    expect(await counts(gateway)).toMatchObject({ grants: 0 });
    expect((await submit()).status).toBe(302);
  });

  it("CB-14 CB-16 CB-17 CB-20 every authorize shows the page, with the cleaned name and the host", async () => {
    const gateway = await setUp(open);
    const key = await addKey(gateway);
    const first = await consented(gateway, key.value);
    const name = `<b>Claude\u202Eedoc\u200b\nVerified by your company${"x".repeat(200)}`;
    const metadata = {
      client_name: name,
      redirect_uris: ["https://evil.example/cb"],
      logo_uri: "http://127.0.0.1:1/l",
    };
    const { client_id } = await readJson(await register(gateway, metadata));
    const second = await startConsent(gateway, {
      tab: first.tab,
      clientId: client_id,
      redirectUri: "https://evil.example/cb",
    });
    const page = await second.tab.get(`/oauth/consent?flow_id=${second.flowId}&error=Call+555-0100`);
    const text = await page.text();
    expect(text).toContain("&lt;b&gt;Claudeedoc Verified by your company");
    expect(text).toContain("evil.example");
    expect(text).toContain("Not verified, registered itself just now");
    expect(text).not.toMatch(/<b>|\u202E|\u200b|x{60}|555-0100|127\.0\.0\.1:1|<script/);
    expect(page.headers.get("content-security-policy")).toContain("form-action 'self' https://evil.example");
    expect(page.headers.get("content-security-policy")).toContain("frame-ancestors 'none'");
  });

  it("CB-07 CB-08 the flow cookie is new for each flow, HttpOnly, Lax, fifteen minutes, and __Host- on https", async () => {
    const gateway = await setUp(open, { settings: { baseUrl: new URL("https://gw.example") } });
    const { client_id } = await readJson(
      await gateway.call("https://gw.example/api/oauth/per-user/register", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ redirect_uris: [REDIRECT] }),
      }),
    );
    const query = new URLSearchParams({
      client_id,
      redirect_uri: REDIRECT,
      response_type: "code",
      code_challenge: "a".repeat(43),
      code_challenge_method: "S256",
    });
    const response = await gateway.call(`https://gw.example/api/oauth/per-user/authorize?${query}`);
    expect(response.status, await response.clone().text()).toBe(302);
    const flowId = new URL(response.headers.get("location")!, BASE).searchParams.get("flow_id");
    expect(response.headers.get("set-cookie")).toMatch(
      new RegExp(
        `^__Host-postern-flow-${flowId}=[\\w-]{43}; Path=/; HttpOnly; SameSite=Lax; Max-Age=900; Secure$`,
      ),
    );
  });

  it("CB-22 two consents in one browser do not disturb each other", async () => {
    const gateway = await setUp(open);
    const key = await addKey(gateway);
    const tab = new Tab(gateway);
    const [one, two] = [await startConsent(gateway, { tab }), await startConsent(gateway, { tab })];
    const second = await consented(gateway, key.value, two);
    const first = await consented(gateway, key.value, one);
    expect(first.code).not.toBe(second.code);
    expect((await exchange(gateway, first)).status).toBe(200);
    expect((await exchange(gateway, second)).status).toBe(200);
  });
});
