import { expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { readJson } from "../../test/support/read.ts";
import {
  ADMIN_TOKEN,
  addKey,
  consented,
  counts,
  exchange,
  REDIRECT,
  refresh,
  register,
  setUp,
  startConsent,
  token,
} from "./issuer.suite.ts";
import { errorOf, HOUR, isAlive, REVOKE, refused, revoke, tokenBench } from "./token.suite.ts";

onBothDatabases("tokens", (open) => {
  const { withTokens } = tokenBench(open);

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
