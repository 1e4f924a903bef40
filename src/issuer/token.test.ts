import { expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { readJson } from "../../test/support/read.ts";
import {
  ADMIN_TOKEN,
  addKey,
  addUpstream,
  BASE,
  connectDuring,
  consented,
  counts,
  exchange,
  type Gateway,
  REDIRECT,
  refresh,
  register,
  setUp,
  startConsent,
  token,
} from "./issuer.suite.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const REVOKE = "/api/oauth/per-user/revoke";

onBothDatabases("tokens", (open) => {
  async function withCode(changes: Parameters<typeof setUp>[1] = {}) {
    const gateway = await setUp(open, changes);
    const key = await addKey(gateway);
    return { gateway, key, got: await consented(gateway, key.value) };
  }

  async function withTokens(changes: Parameters<typeof setUp>[1] = {}) {
    const { gateway, key, got } = await withCode(changes);
    const answer = await readJson(await exchange(gateway, got));
    return { gateway, key, got, clientId: got.clientId, ...answer } as {
      gateway: Gateway;
      key: { id: string; value: string };
      got: typeof got;
      clientId: string;
      access_token: string;
      refresh_token: string;
    };
  }

  const errorOf = async (response: Response) => [response.status, (await readJson(response)).error];
  const refused = [400, "invalid_grant"];
  const revoke = (gateway: Gateway, fields: Record<string, string>) =>
    gateway.call(REVOKE, { method: "POST", body: new URLSearchParams(fields) });
  const isAlive = async (gateway: Gateway, accessToken: string) =>
    (await gateway.issuer.authenticate(accessToken)).ok;

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
    const { gateway, got } = await withCode();
    for (const grant of [
      "password",
      "client_credentials",
      "implicit",
      "urn:ietf:params:oauth:grant-type:device_code",
    ]) {
      const response = await token(gateway, { grant_type: grant, client_id: got.clientId });
      expect(await errorOf(response)).toEqual([400, "unsupported_grant_type"]);
    }
    expect(await errorOf(await token(gateway, { client_id: got.clientId }))).toEqual([
      400,
      "invalid_request",
    ]);
  });

  it("refresh rotates; TK-08 a repeat within the grace gets the same successor", async () => {
    const { gateway, clientId, access_token, refresh_token } = await withTokens();
    gateway.world.advance(HOUR);
    const next = await readJson(await refresh(gateway, clientId, refresh_token));
    expect(next.refresh_token).not.toBe(refresh_token);
    expect(next.expires_in).toBe(DAY / 1000);
    gateway.world.advance(29_000);
    const repeated = await readJson(await refresh(gateway, clientId, refresh_token));
    expect([repeated.access_token, repeated.refresh_token]).toEqual([next.access_token, next.refresh_token]);
    gateway.world.advance(DAY);
    expect(await isAlive(gateway, access_token)).toBe(false);
    expect((await refresh(gateway, clientId, next.refresh_token)).status).toBe(200);
  });

  it("TK-07 twenty refreshes at once: one rotation, the same pair for all", async () => {
    const { gateway, clientId, refresh_token } = await withTokens();
    const replica = gateway.database.kind === "postgres" ? await setUp(open, { beside: gateway }) : gateway;
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, n) => refresh(n % 2 ? replica : gateway, clientId, refresh_token)),
    );
    expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200));
    const pairs = new Set((await Promise.all(answers.map(readJson))).map((pair) => pair.refresh_token));
    expect(pairs.size).toBe(1);
    expect(await counts(gateway)).toMatchObject({ tokens: 4 });
  });

  it("TK-06 reuse after the grace, after the successor was used, or of a token long retired ends the family", async () => {
    const useAfter: ((gateway: Gateway, clientId: string, first: string) => Promise<string>)[] = [
      async (gateway, clientId, first) => {
        const next = await readJson(await refresh(gateway, clientId, first));
        gateway.world.advance(30_001);
        return next.access_token;
      },
      async (gateway, clientId, first) => {
        const second = await readJson(await refresh(gateway, clientId, first));
        return (await readJson(await refresh(gateway, clientId, second.refresh_token))).access_token;
      },
      async (gateway, clientId, first) => {
        let last = { refresh_token: first, access_token: "" };
        for (let n = 0; n < 4; n++)
          last = await readJson(await refresh(gateway, clientId, last.refresh_token));
        gateway.world.advance(HOUR);
        await gateway.issuer.sweep();
        return last.access_token;
      },
    ];
    for (const use of useAfter) {
      const { gateway, clientId, refresh_token } = await withTokens();
      const latest = await use(gateway, clientId, refresh_token);
      expect(await isAlive(gateway, latest)).toBe(true);
      expect(await errorOf(await refresh(gateway, clientId, refresh_token))).toEqual(refused);
      expect(await isAlive(gateway, latest)).toBe(false);
      expect(await counts(gateway)).toMatchObject({ grants: 0, tokens: 0 });
      const events = await gateway.database.db.selectFrom("audit").select("event").execute();
      expect(events.map(({ event }) => event)).toContain("grant.refresh_reused");
    }
  });

  it("AV-04 a store failure at any statement of a rotation loses nothing: the same token works again", async () => {
    const { gateway, clientId, refresh_token } = await withTokens();
    let statement = 0;
    for (; ; statement++) {
      gateway.faults.left = statement;
      const response = await refresh(gateway, clientId, refresh_token);
      gateway.faults.left = undefined;
      if (response.status === 200) break;
      expect(await errorOf(response)).toEqual([500, "server_error"]);
      expect(await counts(gateway)).toMatchObject({ tokens: 2 });
    }
    expect(statement).toBeGreaterThan(4);
  });

  it("TK-09 TK-10 a refresh token serves its own client, scope and resource only", async () => {
    const { gateway, clientId, refresh_token } = await withTokens();
    const { client_id: c2 } = await readJson(await register(gateway));
    expect(await errorOf(await refresh(gateway, c2, refresh_token))).toEqual(refused);
    const ask = async (more: Record<string, string>) =>
      errorOf(await refresh(gateway, clientId, refresh_token, more));
    expect(await ask({ scope: "mcp admin" })).toEqual([400, "invalid_scope"]);
    expect(await ask({ resource: "https://evil.example/mcp" })).toEqual([400, "invalid_target"]);
    const fine = await refresh(gateway, clientId, refresh_token, { scope: "mcp", resource: `${BASE}/mcp` });
    expect(fine.status).toBe(200);
  });

  it("TK-11 a grant ends after 30 days without use, and after 180 days in any case", async () => {
    const { gateway, clientId, ...first } = await withTokens();
    let last = first.refresh_token;
    for (let day = 0; day < 175; day += 25) {
      gateway.world.advance(25 * DAY);
      last = (await readJson(await refresh(gateway, clientId, last))).refresh_token;
    }
    gateway.world.advance(5 * DAY);
    expect(await errorOf(await refresh(gateway, clientId, last))).toEqual(refused);
    await gateway.issuer.sweep();
    expect(await counts(gateway)).toMatchObject({ grants: 0, tokens: 0 });
    const idle = await withTokens();
    idle.gateway.world.advance(30 * DAY);
    expect(await errorOf(await refresh(idle.gateway, idle.clientId, idle.refresh_token))).toEqual(refused);
  });

  it("grant_max_days 0: no refresh token, and metadata does not name one", async () => {
    const { gateway, got } = await withCode({ settings: { grantMaxMs: 0 } });
    const answer = await readJson(await exchange(gateway, got));
    expect(answer.refresh_token).toBeUndefined();
    const metadata = await readJson(await gateway.call("/.well-known/oauth-authorization-server"));
    expect(metadata.grant_types_supported).toEqual(["authorization_code"]);
    expect(metadata.scopes_supported).toEqual(["mcp"]);
    gateway.world.advance(DAY);
    expect(await isAlive(gateway, answer.access_token)).toBe(false);
  });

  it("TK-13 kinds are not interchangeable", async () => {
    const { gateway, got, key, clientId, access_token, refresh_token } = await withTokens();
    for (const value of [refresh_token, got.code, key.value, got.tab.cookies.values().next().value!]) {
      expect(await gateway.issuer.authenticate(value)).toEqual({ ok: false, reason: "unknown" });
    }
    expect(await errorOf(await refresh(gateway, clientId, access_token))).toEqual(refused);
  });

  it("TK-14 revocation: the refresh token ends the grant, the access token itself, a stranger nothing", async () => {
    const { gateway, key, clientId, access_token, refresh_token } = await withTokens();
    const other = await consented(gateway, key.value);
    await exchange(gateway, other);
    for (const fields of [
      { token: "pst_unknown", client_id: clientId, token_type_hint: "refresh_token" },
      { token: access_token, client_id: other.clientId },
      { token: refresh_token, client_id: other.clientId },
    ]) {
      const response = await revoke(gateway, fields as Record<string, string>);
      expect([response.status, await response.text()]).toEqual([200, ""]);
    }
    expect(await isAlive(gateway, access_token)).toBe(true);
    await revoke(gateway, { token: access_token, client_id: clientId, token_type_hint: "refresh_token" });
    expect(await isAlive(gateway, access_token)).toBe(false);
    const next = await readJson(await refresh(gateway, clientId, refresh_token));
    expect(await isAlive(gateway, next.access_token)).toBe(true);
    await revoke(gateway, { token: next.refresh_token, client_id: clientId });
    expect(await isAlive(gateway, next.access_token)).toBe(false);
    expect(await errorOf(await refresh(gateway, clientId, next.refresh_token))).toEqual(refused);
    expect((await gateway.call(REVOKE)).status).toBe(405);
  });

  it("a revocation is known on another replica within its next look at the changes", async () => {
    const { gateway, clientId, access_token, refresh_token } = await withTokens();
    if (gateway.database.kind === "sqlite") return;
    const replica = await setUp(open, { beside: gateway });
    expect(await isAlive(replica, access_token)).toBe(true);
    await revoke(gateway, { token: refresh_token, client_id: clientId });
    await replica.database.changes.pull();
    expect(await isAlive(replica, access_token)).toBe(false);
  });

  it("TK-03 a static client proves its secret in one way", async () => {
    const gateway = await setUp(open);
    const key = await addKey(gateway);
    const made = await gateway.call("/api/oauth2/clients", {
      method: "POST",
      headers: { authorization: `Bearer ${ADMIN_TOKEN}`, "content-type": "application/json" },
      body: JSON.stringify({ client_name: "Corporate", redirect_uris: [REDIRECT] }),
    });
    expect(made.status).toBe(201);
    const { client_id: clientId, client_secret: secret } = await readJson(made);
    const started = await startConsent(gateway, { clientId });
    const got = await consented(gateway, key.value, started);
    const basic = (id: string, password: string) => ({
      authorization: `Basic ${Buffer.from(`${id}:${password}`).toString("base64")}`,
    });
    const fields = { grant_type: "authorization_code", code: got.code, code_verifier: got.verifier };
    const attempt = async (more: Record<string, string>, headers = {}) =>
      token(gateway, { ...fields, ...more }, headers);
    expect(await errorOf(await attempt({ client_id: clientId }))).toEqual([401, "invalid_client"]);
    expect(await errorOf(await attempt({ client_id: clientId, client_secret: "wrong" }))).toEqual([
      401,
      "invalid_client",
    ]);
    const wrong = await attempt({}, basic(clientId, "wrong"));
    expect(wrong.headers.get("www-authenticate")).toContain("Basic");
    const both = await attempt({ client_secret: secret }, basic(clientId, secret));
    expect(await errorOf(both)).toEqual([400, "invalid_request"]);
    const mixed = await attempt({ client_id: "other" }, basic(clientId, secret));
    expect(await errorOf(mixed)).toEqual([400, "invalid_request"]);
    const { client_id: open_ } = await readJson(await register(gateway));
    expect(await errorOf(await attempt({ client_id: open_, client_secret: "x" }))).toEqual([
      401,
      "invalid_client",
    ]);
    expect(await errorOf(await attempt({ client_id: "pstc_unknown" }))).toEqual([401, "invalid_client"]);
    const answer = await attempt({}, basic(clientId, secret));
    expect(answer.status).toBe(200);
    const { access_token } = await readJson(answer);
    const list = await gateway.call("/api/oauth2/clients", {
      headers: { authorization: `Bearer ${ADMIN_TOKEN}` },
    });
    expect(JSON.stringify(await readJson(list))).not.toContain(secret);
    const gone = await gateway.call(`/api/oauth2/clients/${clientId}`, {
      method: "DELETE",
      headers: { authorization: `Bearer ${ADMIN_TOKEN}` },
    });
    expect(gone.status).toBe(204);
    expect(await isAlive(gateway, access_token)).toBe(false);
    const again = await gateway.call(`/api/oauth2/clients/${clientId}`, {
      method: "DELETE",
      headers: { authorization: `Bearer ${ADMIN_TOKEN}` },
    });
    expect(again.status).toBe(404);
  });

  it("TK-20 grants: each sees and revokes its own, ids stay, an administrator all", async () => {
    const { gateway, key, access_token, clientId, refresh_token } = await withTokens();
    const stranger = await addKey(gateway, { name: "stranger" });
    const as = (value: string, method = "GET", id = "", query = "") =>
      gateway.call(`/api/oauth2/sessions${id && `/${id}`}${query}`, {
        method,
        headers: { authorization: `Bearer ${value}` },
      });
    await gateway.issuer.flush();
    await refresh(gateway, clientId, refresh_token);
    const own = await readJson(await as(key.value));
    expect(own).toMatchObject({ count: 1, total_count: 1, limit: 50, offset: 0 });
    const [row] = own.sessions;
    expect(row).toMatchObject({
      client_name: "C1",
      bf_mode: "vk",
      bf_sub: key.id,
      bf_sub_display: "ci",
      scope: "mcp",
    });
    expect((await readJson(await as(ADMIN_TOKEN, "GET", "", "?q=CI&bf_mode=vk"))).total_count).toBe(1);
    expect((await readJson(await as(ADMIN_TOKEN, "GET", "", "?q=%25"))).total_count).toBe(0);
    expect((await readJson(await as(stranger.value))).total_count).toBe(0);
    expect((await as(stranger.value, "DELETE", row.id)).status).toBe(404);
    expect(await isAlive(gateway, access_token)).toBe(true);
    expect((await as(key.value, "DELETE", row.id)).status).toBe(204);
    expect(await isAlive(gateway, access_token)).toBe(false);
    expect((await as(key.value, "DELETE", row.id)).status).toBe(404);
    expect((await gateway.call("/api/oauth2/sessions")).status).toBe(401);
  });

  it("ID-28 what ends a key or a person ends their grants in the same transaction, and no others", async () => {
    const { gateway, key, access_token } = await withTokens();
    const other = await addKey(gateway, { name: "other" });
    const spared = await readJson(await exchange(gateway, await consented(gateway, other.value)));
    const end = () =>
      gateway.database.transaction((tx) =>
        gateway.issuer.revokeGrantsOf(tx, { owner: { mode: "vk", id: key.id } }),
      );
    expect(await isAlive(gateway, access_token)).toBe(true);
    await end();
    expect(await isAlive(gateway, access_token)).toBe(false);
    expect(await isAlive(gateway, spared.access_token)).toBe(true);
    await gateway.database.transaction((tx) => gateway.issuer.revokeGrantsOf(tx, { virtualKeyId: other.id }));
    expect(await isAlive(gateway, spared.access_token)).toBe(false);
    expect(await counts(gateway)).toMatchObject({ grants: 0, tokens: 0 });
  });

  it("last_used_at is written in a batch, and does not go back", async () => {
    const { gateway, access_token } = await withTokens();
    gateway.world.advance(HOUR);
    await gateway.issuer.authenticate(access_token);
    await gateway.issuer.flush();
    const read = () =>
      gateway.database.db.selectFrom("grants").select("last_used_at").executeTakeFirstOrThrow();
    expect((await read()).last_used_at).toBe(gateway.world.now().getTime());
  });

  it("no bearer value is in the database", async () => {
    const { gateway, got, access_token, refresh_token } = await withTokens();
    const tables = ["flows", "tokens", "grants", "clients", "audit"] as const;
    const rows = await Promise.all(
      tables.map((table) => gateway.database.db.selectFrom(table).selectAll().execute()),
    );
    const text = JSON.stringify(rows);
    for (const value of [got.code, got.verifier, access_token, refresh_token, got.clientId, "the state"]) {
      expect(text).not.toContain(value);
    }
  });
});
