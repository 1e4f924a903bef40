import { expect, it } from "vitest";
import { startLoopbackServer } from "../../test/peers/loopback-server.ts";
import { onBothDatabases } from "../../test/support/databases.ts";
import { readJson } from "../../test/support/read.ts";
import { openOutbound } from "../base/index.ts";
import { DENY, KEY, SUBMIT } from "./consent.suite.ts";
import {
  ADMIN_TOKEN,
  addKey,
  BASE,
  counts,
  type Gateway,
  register,
  setUp,
  Tab,
  token,
} from "./issuer.suite.ts";
import { errorOf, isAlive, MINUTE } from "./token.suite.ts";

const DEVICE = "urn:ietf:params:oauth:grant-type:device_code";
const SECOND = 1000;

interface Codes {
  clientId: string;
  device_code: string;
  user_code: string;
}

const begin = (gateway: Gateway, fields: Record<string, string>) =>
  gateway.call("/api/oauth/per-user/device_authorization", {
    method: "POST",
    body: new URLSearchParams(fields),
  });

/** A device that registered itself, with nowhere to be redirected to, and asked for its codes. */
async function waiting(gateway: Gateway, more: Record<string, string> = {}): Promise<Codes> {
  const metadata = { client_name: "Build box", grant_types: [DEVICE, "refresh_token"] };
  const { client_id: clientId } = await readJson(await register(gateway, metadata));
  const response = await begin(gateway, { client_id: clientId, ...more });
  expect(response.status).toBe(200);
  return { clientId, ...(await readJson(response)) } as Codes;
}

const poll = (gateway: Pick<Gateway, "call">, codes: Codes, more: Record<string, string> = {}) =>
  token(gateway, {
    grant_type: DEVICE,
    client_id: codes.clientId,
    device_code: codes.device_code,
    ...more,
  });

/** The person types the code, says that it is theirs, and arrives at the consent. */
async function typed(gateway: Gateway, codes: Codes) {
  const tab = new Tab(gateway);
  const shown = await tab.post("/device", { user_code: codes.user_code });
  const begun = await tab.post("/device/allow", { user_code: codes.user_code });
  expect(begun.status).toBe(302);
  const flowId = new URL(begun.headers.get("location")!, BASE).searchParams.get("flow_id")!;
  return { tab, flowId, shown: await shown.text() };
}

/** The whole consent, with a virtual key. */
async function allowed(gateway: Gateway, codes: Codes, key: string) {
  const { tab, flowId } = await typed(gateway, codes);
  await tab.post(KEY, { flow_id: flowId, vk: key });
  return tab.post(SUBMIT, { flow_id: flowId });
}

onBothDatabases("devices without a browser", (open, kind) => {
  it("RFC8628-3.4 gives codes, waits for the person, and gives the tokens once", async () => {
    const gateway = await setUp(open);
    const key = await addKey(gateway);
    const codes = await waiting(gateway);
    expect(codes).toMatchObject({
      verification_uri: `${BASE}/device`,
      verification_uri_complete: `${BASE}/device?user_code=${codes.user_code}`,
      expires_in: 600,
      interval: 5,
    });
    expect(codes.user_code).toMatch(/^[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}$/);
    expect(await errorOf(await poll(gateway, codes))).toEqual([400, "authorization_pending"]);
    const end = await allowed(gateway, codes, key.value);
    expect([end.status, await end.text()]).toEqual([200, expect.stringContaining("go back to your device")]);
    gateway.world.advance(5 * SECOND);
    // Two questions at once: one of them gets the tokens.
    const answers = await Promise.all([poll(gateway, codes), poll(gateway, codes)]);
    expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 400]);
    const got = await readJson(answers.find(({ status }) => status === 200)!);
    expect(got).toMatchObject({ token_type: "Bearer", scope: "mcp", refresh_token: expect.any(String) });
    expect(got.expires_in).toBeGreaterThan(24 * 3600 - 10);
    expect(await isAlive(gateway, got.access_token)).toBe(true);
    expect(await errorOf(await poll(gateway, codes))).toEqual([400, "invalid_grant"]);
    expect(await isAlive(gateway, got.access_token)).toBe(true);
    const principal = await gateway.issuer.authenticate(got.access_token);
    expect(principal).toMatchObject({ ok: true, grant: { virtualKeyId: key.id, clientName: "Build box" } });
  });

  it.runIf(kind === "sqlite")(
    "RFC8628-3.3 shows which app asks, warns, and takes the code in any case and without its hyphen",
    async () => {
      const gateway = await setUp(open);
      const codes = await waiting(gateway);
      const tab = new Tab(gateway);
      expect(await (await tab.get("/device?error=constructor")).text()).toContain("That did not work.");
      const form = await (await tab.get(`/device?user_code=${codes.user_code}`)).text();
      expect(form).toContain(`value="${codes.user_code}"`);
      expect(form).toContain("somebody send you this link");
      const plain = codes.user_code.toLowerCase().replace("-", " ");
      const shown = await tab.post("/device", { user_code: plain });
      const page = await shown.text();
      expect(shown.status).toBe(200);
      for (const text of ["Build box", "Not verified", "another device", "somebody wants your access"])
        expect(page).toContain(text);
      // Looking spends nothing; nothing was allowed.
      expect((await counts(gateway)).grants).toBe(0);
      const { shown: again, tab: other, flowId } = await typed(gateway, codes);
      expect(again).toContain("Build box");
      const consent = await (await other.get(`/oauth/consent?flow_id=${flowId}`)).text();
      expect(consent).toContain("Another device");
      // The code counts once.
      const late = await new Tab(gateway).post("/device/allow", { user_code: codes.user_code });
      expect(late.headers.get("location")).toBe("/device?error=unknown_code");
    },
  );

  it.runIf(kind === "sqlite")(
    "RFC8628-3.5 slows down who asks too often, five seconds more each time",
    async () => {
      const gateway = await setUp(open);
      const codes = await waiting(gateway);
      const words: string[] = [];
      for (const pause of [0, 5, 1, 5, 10, 9, 15]) {
        gateway.world.advance(pause * SECOND);
        words.push((await readJson(await poll(gateway, codes))).error);
      }
      const [wait, slow] = ["authorization_pending", "slow_down"];
      // 5 s; one second after: 10 s from now on; five after: 15 s; ten and nine are too soon: 25 s.
      expect(words).toEqual([wait, wait, slow, slow, slow, slow, slow]);
      gateway.world.advance(30 * SECOND);
      expect(await errorOf(await poll(gateway, codes))).toEqual([400, wait]);
    },
  );

  it("RFC8628-3.5 expired, refused on either page, and another client's", async () => {
    const gateway = await setUp(open);
    const key = await addKey(gateway);
    const refusedAtOnce = await waiting(gateway);
    const page = await new Tab(gateway).post("/device/refuse", { user_code: refusedAtOnce.user_code });
    expect(await page.text()).toContain("Nothing was allowed");
    expect(await errorOf(await poll(gateway, refusedAtOnce))).toEqual([400, "access_denied"]);
    const refusedLater = await waiting(gateway);
    const { tab, flowId } = await typed(gateway, refusedLater);
    expect(await (await tab.post(DENY, { flow_id: flowId })).text()).toContain("Nothing was allowed");
    expect(await errorOf(await poll(gateway, refusedLater))).toEqual([400, "access_denied"]);
    const expired = await waiting(gateway);
    const started = await typed(gateway, expired);
    gateway.world.advance(10 * MINUTE);
    expect(await errorOf(await poll(gateway, expired))).toEqual([400, "expired_token"]);
    await started.tab.post(KEY, { flow_id: started.flowId, vk: key.value });
    expect((await started.tab.post(SUBMIT, { flow_id: started.flowId })).status).toBe(410);
    const own = await waiting(gateway);
    const other = await waiting(gateway);
    expect(await errorOf(await poll(gateway, { ...own, clientId: other.clientId }))).toEqual([
      400,
      "invalid_grant",
    ]);
    expect(await errorOf(await poll(gateway, own))).toEqual([400, "authorization_pending"]);
    expect(await counts(gateway)).toMatchObject({ grants: 0, tokens: 0, codes: 0 });
  });

  it("goes on at another replica, for the resource and the confidential client it was asked by", async () => {
    const gateway = await setUp(open);
    const key = await addKey(gateway);
    const created = await gateway.call("/api/oauth2/clients", {
      method: "POST",
      headers: { authorization: `Bearer ${ADMIN_TOKEN}`, "content-type": "application/json" },
      body: JSON.stringify({ client_name: "Scanner", token_endpoint_auth_method: "client_secret_post" }),
    });
    const { client_id: clientId, client_secret: secret } = await readJson(created);
    expect(await errorOf(await begin(gateway, { client_id: clientId }))).toEqual([401, "invalid_client"]);
    const asked = { client_id: clientId, client_secret: secret, resource: `${BASE}/mcp/tools` };
    expect(await errorOf(await begin(gateway, { ...asked, resource: "https://other.example/mcp" }))).toEqual([
      400,
      "invalid_target",
    ]);
    const codes = { clientId, ...(await readJson(await begin(gateway, asked))) } as Codes;
    const attached = { virtualKeyIds: [key.id], userIds: [], upstreams: [] };
    await gateway.virtualMcps.create({ slug: "tools", name: "Tools", ...attached, source: "api" });
    const { world, seal, hash, url } = gateway;
    const second = kind === "postgres" ? await setUp(open, { beside: { world, seal, hash, url } }) : gateway;
    expect(await errorOf(await poll(second, codes))).toEqual([401, "invalid_client"]);
    const more = { client_secret: secret };
    expect(await errorOf(await poll(second, codes, more))).toEqual([400, "authorization_pending"]);
    expect((await allowed(second, codes, key.value)).status).toBe(200);
    const wrong = { ...more, resource: `${BASE}/mcp` };
    expect(await errorOf(await poll(gateway, codes, wrong))).toEqual([400, "invalid_target"]);
    const got = await readJson(await poll(gateway, codes, more));
    expect(await gateway.issuer.authenticate(got.access_token)).toMatchObject({
      grant: { resource: `${BASE}/mcp/tools` },
    });
  });

  it("an identity that is switched off after the consent gets nothing; a grant that is withdrawn ends the wait", async () => {
    const gateway = await setUp(open);
    const key = await addKey(gateway);
    const codes = await waiting(gateway);
    await allowed(gateway, codes, key.value);
    await gateway.keys.update(key.id, { isActive: false });
    expect(await errorOf(await poll(gateway, codes))).toEqual([400, "invalid_grant"]);
    expect(await counts(gateway)).toMatchObject({ grants: 0, tokens: 0 });
    const other = await addKey(gateway, { name: "other" });
    const later = await waiting(gateway);
    await allowed(gateway, later, other.value);
    await gateway.database.transaction((tx) => gateway.issuer.revokeGrantsOf(tx, { virtualKeyId: other.id }));
    expect(await errorOf(await poll(gateway, later))).toEqual([400, "expired_token"]);
  });

  it.runIf(kind === "sqlite")(
    "RFC8628-5.1 guesses are limited by address and in all; a page of another site cannot send one",
    async () => {
      const gateway = await setUp(open);
      const codes = await waiting(gateway);
      const cross = { "sec-fetch-site": "cross-site" };
      const tab = new Tab(gateway);
      expect((await tab.post("/device/allow", { user_code: codes.user_code }, cross)).status).toBe(403);
      const statuses: number[] = [];
      for (let n = 0; n < 21; n++)
        statuses.push((await tab.post("/device", { user_code: "BBBB-BBBB" })).status);
      expect(statuses.slice(0, 19).every((status) => status === 303)).toBe(true);
      expect(statuses.at(-1)).toBe(429);
    },
  );

  it.runIf(kind === "sqlite")(
    "RG-13 a client document without redirect URIs may ask, and is known before anybody approved it",
    async () => {
      const { origin, port, close, server } = await startLoopbackServer();
      const clientId = `${origin}/client.json`;
      let grants = [DEVICE];
      server.on("request", (_request, response) => {
        response.setHeader("content-type", "application/json");
        response.setHeader("cache-control", "no-store");
        response.end(JSON.stringify({ client_id: clientId, client_name: "Desk", grant_types: grants }));
      });
      const outbound = openOutbound({ allow: { admin: [], stranger: [`127.0.0.1:${port}`] } });
      try {
        const gateway = await setUp(open, { outbound });
        const key = await addKey(gateway);
        const codes = {
          clientId,
          ...(await readJson(await begin(gateway, { client_id: clientId }))),
        } as Codes;
        expect(await errorOf(await poll(gateway, codes))).toEqual([400, "authorization_pending"]);
        await allowed(gateway, codes, key.value);
        const other = { ...codes, clientId: `${origin}/other.json` };
        expect(await errorOf(await poll(gateway, other))).toEqual([400, "invalid_grant"]);
        expect((await poll(gateway, codes)).status).toBe(200);
        grants = ["authorization_code", DEVICE];
        gateway.world.advance(2 * MINUTE);
        expect(await errorOf(await begin(gateway, { client_id: clientId }))).toEqual([401, "invalid_client"]);
      } finally {
        await close();
        await outbound.close();
      }
    },
  );

  it.runIf(kind === "sqlite")("is not there where it is switched off", async () => {
    const gateway = await setUp(open, { settings: { deviceAuthorization: false } });
    const metadata = await readJson(await gateway.call("/.well-known/oauth-authorization-server"));
    expect(metadata.device_authorization_endpoint).toBeUndefined();
    expect(metadata.grant_types_supported).not.toContain(DEVICE);
    const { client_id } = await readJson(await register(gateway));
    expect(await errorOf(await begin(gateway, { client_id }))).toEqual([400, "unauthorized_client"]);
    const noRedirect = await register(gateway, { client_name: "B", grant_types: [DEVICE] });
    expect(await errorOf(noRedirect)).toEqual([400, "invalid_redirect_uri"]);
  });
});
