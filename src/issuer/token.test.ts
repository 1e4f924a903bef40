import { expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { readJson } from "../../test/support/read.ts";
import {
  addKey,
  addUpstream,
  BASE,
  connectDuring,
  consented,
  counts,
  exchange,
  refresh,
  register,
  setUp,
  startConsent,
  token,
} from "./issuer.suite.ts";
import { DAY, errorOf, isAlive, MINUTE, refused, tokenBench } from "./token.suite.ts";

onBothDatabases("tokens", (open) => {
  const { withCode, withTokens } = tokenBench(open);

  it("TK-04 a code gives a pair, never cached, with the life counted from submit", async () => {
    const { gateway, got } = await withCode();
    gateway.world.advance(MINUTE);
    const response = await exchange(gateway, got);
    expect(response.status).toBe(200);
    expect(response.headers.get("cache-control")).toBe("no-store");
    expect(response.headers.get("access-control-allow-origin")).toBe("*");
    const answer = await readJson(response);
    expect(answer).toMatchObject({ token_type: "Bearer", scope: "mcp", expires_in: (DAY - MINUTE) / 1000 });
    expect(answer.access_token).toMatch(/^pst_[\w-]{43}$/);
    const known = await gateway.issuer.authenticate(answer.access_token);
    expect(known).toMatchObject({
      ok: true,
      grant: { resource: `${BASE}/mcp`, scope: "mcp", clientName: "C1" },
    });
  });

  it("PK-06 PK-13 a wrong verifier is refused and burns the code", async () => {
    const { gateway, got } = await withCode();
    expect(await errorOf(await exchange(gateway, { ...got, verifier: "x".repeat(43) }))).toEqual(refused);
    expect(await errorOf(await exchange(gateway, got))).toEqual(refused);
    expect(await counts(gateway)).toMatchObject({ grants: 0, tokens: 0 });
  });

  it("PK-03 PK-04 TK-01 a malformed presentation spends nothing", async () => {
    const { gateway, got } = await withCode();
    for (const verifier of ["", "x".repeat(42), "x".repeat(129), `${"x".repeat(42)}é`]) {
      expect(await errorOf(await exchange(gateway, { ...got, verifier }))).toEqual([400, "invalid_request"]);
    }
    const good = { grant_type: "authorization_code", code: got.code, code_verifier: got.verifier };
    expect(await errorOf(await token(gateway, good))).toEqual([400, "invalid_request"]);
    for (const type of ["application/json", "multipart/form-data; boundary=x", "text/plain"]) {
      const sent = await token(gateway, { ...good, client_id: got.clientId }, { "content-type": type });
      expect(sent.status).toBe(415);
    }
    const twice = new URLSearchParams({ ...good, client_id: got.clientId });
    twice.append("grant_type", "authorization_code");
    const repeated = await gateway.call("/api/oauth/per-user/token", { method: "POST", body: twice });
    expect(await errorOf(repeated)).toEqual([400, "invalid_request"]);
    expect((await gateway.call(`/api/oauth/per-user/token?${twice}`)).status).toBe(405);
    expect((await exchange(gateway, got)).status).toBe(200);
  });

  it("PK-07 presenting a redeemed code again ends what it gave", async () => {
    const { gateway, got, access_token, refresh_token, clientId } = await withTokens();
    expect(await isAlive(gateway, access_token)).toBe(true);
    expect(await errorOf(await exchange(gateway, got))).toEqual(refused);
    expect(await isAlive(gateway, access_token)).toBe(false);
    expect(await errorOf(await refresh(gateway, clientId, refresh_token))).toEqual(refused);
    const events = await gateway.database.db.selectFrom("audit").select("event").execute();
    expect(events.map(({ event }) => event)).toContain("grant.code_replayed");
  });

  it("PK-08 a code redeemed a hundred times at once succeeds exactly once", async () => {
    const gateway = await setUp(open);
    const key = await addKey(gateway);
    const replica = gateway.database.kind === "postgres" ? await setUp(open, { beside: gateway }) : gateway;
    for (let round = 0; round < 3; round++) {
      const got = await consented(gateway, key.value);
      const answers = await Promise.all(
        Array.from({ length: 100 }, (_, n) => exchange(n % 2 ? replica : gateway, got)),
      );
      const statuses = answers.map(({ status }) => status).sort();
      expect(statuses).toEqual([200, ...Array(99).fill(400)]);
    }
  });

  it("PK-10 PK-11 AZ-15 a code is bound to client, redirect URI and resource", async () => {
    const { gateway, key, got } = await withCode();
    const { client_id: c2 } = await readJson(await register(gateway));
    expect(await errorOf(await exchange(gateway, { ...got, clientId: c2 }))).toEqual(refused);
    expect(await errorOf(await exchange(gateway, got))).toEqual(refused);
    const wrong: Record<string, string>[] = [
      { redirect_uri: "http://127.0.0.1:7778/cb" },
      { redirect_uri: "http://127.0.0.1:7777/cb/" },
      { resource: "https://evil.example/mcp" },
      { resource: `${BASE}/mcp/other` },
    ];
    for (const more of wrong) {
      const next = await consented(gateway, key.value);
      const word = "resource" in more ? "invalid_target" : "invalid_grant";
      expect(await errorOf(await exchange(gateway, next, more))).toEqual([400, word]);
    }
    const right = await consented(gateway, key.value);
    expect((await exchange(gateway, right, { resource: `${BASE}/mcp/`, redirect_uri: "" })).status).toBe(200);
  });

  it("PK-12 a code lives five minutes", async () => {
    const { gateway, key, got } = await withCode();
    gateway.world.advance(5 * MINUTE - 1);
    expect((await exchange(gateway, got)).status).toBe(200);
    const late = await consented(gateway, key.value);
    gateway.world.advance(5 * MINUTE);
    expect(await errorOf(await exchange(gateway, late))).toEqual(refused);
  });

  it("PK-15 a code that nobody redeems leaves nothing: the grant and its credentials are swept", async () => {
    const gateway = await setUp(open, { settings: { enforceAuthOnInference: false } });
    const upstream = await addUpstream(gateway);
    const { tab, flowId } = await startConsent(gateway);
    await tab.post("/api/oauth/per-user/consent/skip", { flow_id: flowId });
    await connectDuring(gateway, flowId, upstream.id);
    await tab.post("/api/oauth/per-user/consent/submit", { flow_id: flowId });
    await gateway.issuer.sweep();
    expect(await counts(gateway)).toMatchObject({ grants: 1, credentials: 1, tokens: 0 });
    gateway.world.advance(5 * MINUTE);
    await gateway.issuer.sweep();
    expect(await counts(gateway)).toMatchObject({ grants: 0, credentials: 0 });
  });

  it("PK-17 a key disabled after submit: no token; after the token: dead at once, and no refresh", async () => {
    const { gateway, key, got } = await withCode();
    const first = await readJson(await exchange(gateway, got));
    const second = await consented(gateway, key.value);
    expect(await isAlive(gateway, first.access_token)).toBe(true);
    await gateway.keys.update(key.id, { isActive: false });
    expect(await isAlive(gateway, first.access_token)).toBe(false);
    expect(await errorOf(await exchange(gateway, second))).toEqual(refused);
    expect(await errorOf(await refresh(gateway, got.clientId, first.refresh_token))).toEqual(refused);
    await gateway.keys.update(key.id, { isActive: true });
    expect(await isAlive(gateway, first.access_token)).toBe(true);
  });

  it("TK-02 other grants are refused", async () => {
    const { gateway, got } = await withCode({ settings: { deviceAuthorization: false } });
    for (const grant of [
      "password",
      "client_credentials",
      "implicit",
      "urn:ietf:params:oauth:grant-type:device_code",
      "urn:ietf:params:oauth:grant-type:token-exchange",
      "urn:ietf:params:oauth:grant-type:jwt-bearer",
    ]) {
      const response = await token(gateway, { grant_type: grant, client_id: got.clientId });
      expect(await errorOf(response)).toEqual([400, "unsupported_grant_type"]);
    }
    expect(await errorOf(await token(gateway, { client_id: got.clientId }))).toEqual([
      400,
      "invalid_request",
    ]);
  });
});
