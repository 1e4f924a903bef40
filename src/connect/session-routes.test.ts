import { afterEach, expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { readJson } from "../../test/support/read.ts";
import { Hidden, type Owner } from "../base/index.ts";
import { adminToken, type Rig, rig } from "./connect.suite.ts";

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

function give(r: Rig, owner: Owner, upstream = r.upstream, account = "") {
  return r.database.transaction(async (tx) => {
    const secret = {
      kind: "oauth" as const,
      accessToken: new Hidden(`token-of-${owner.id}`),
      refreshToken: new Hidden(`refresh-of-${owner.id}`),
      scopes: ["mcp"],
      oauthConfigId: upstream.oauthConfigId!,
    };
    const stored = await r.vault.put(tx, { owner, upstreamId: upstream.id, account, secret });
    return stored!.id;
  });
}

async function list(r: Rig, bearer: string, query = "") {
  const response = await r.api(`/api/mcp/sessions${query}`, { bearer });
  expect(response.status).toBe(200);
  return readJson(response);
}

async function refusal(r: Rig, path: string, options: { method?: string; bearer?: string }): Promise<string> {
  const response = await r.api(path, options);
  const body = await readJson(response);
  return `${response.status} ${body.error.code}`;
}

function openFlows(r: Rig) {
  return r.database.db
    .selectFrom("flows")
    .select("id")
    .where("ended_at", "is", null)
    .execute()
    .then((rows) => rows.length);
}

onBothDatabases("MCP sessions", (open) => {
  it("ID-01 lists, filters, counts and pages only what is the caller's", async () => {
    const r = await rig(open, closing);
    const mine = await r.key("mine_100%");
    const theirs = await r.key("theirs");
    const alice = await r.person("alice");
    await give(r, mine.owner);
    r.world.advance(1000);
    await give(r, mine.owner, r.upstream, "work");
    r.world.advance(1000);
    await give(r, theirs.owner);
    await give(r, theirs.owner, r.other);
    await give(r, alice.owner);
    r.world.advance(1000);
    await r.connect.start(mine.owner, r.other);
    await r.connect.start(theirs.owner, r.other);
    const own = await list(r, mine.value);
    expect(
      own.sessions.map((row: { kind: string; account?: string }) => `${row.kind} ${row.account ?? ""}`),
    ).toEqual(["flow ", "token work", "token "]);
    expect(own).toMatchObject({ count: 3, total_count: 3, limit: 50, offset: 0 });
    expect(own.sessions[2]).toMatchObject({
      kind: "token",
      auth_kind: "oauth",
      auth_mode: "vk",
      status: "active",
      can_reauth: true,
      virtual_key: { id: mine.owner.id, name: "mine_100%" },
      mcp_client: { client_id: r.upstream.id, name: "calendar" },
      scopes: ["mcp"],
      oauth_config_id: r.upstream.oauthConfigId,
    });
    expect(own.sessions[0]).toMatchObject({ status: "pending", can_reauth: false });
    expect(JSON.stringify(own)).not.toContain("token-of");
    // Six rows and one link; the other link's binding has a credential.
    expect((await list(r, adminToken)).total_count).toBe(6);
    const none = await list(r, mine.value, `?identity=${theirs.owner.id}`);
    expect(none).toMatchObject({ sessions: [], count: 0, total_count: 0 });
    for (const [query, total] of [
      ["?kind=flow", 1],
      ["?kind=token,header", 5],
      ["?status=pending", 1],
      ["?status=active", 5],
      ["?auth_mode=user", 1],
      ["?auth_mode=user,vk", 6],
      [`?mcp_client_id=${r.other.id}`, 2],
      [`?identity=${mine.owner.id},${alice.owner.id}`, 4],
      ["?q=CALENDAR", 4],
      ["?q=%25", 3],
      ["?q=_", 3],
      ["?q=alice@example", 1],
      ["?q=nothing", 0],
    ] as const) {
      expect((await list(r, adminToken, query)).total_count, query).toBe(total);
    }
    const pages = [];
    for (const offset of [0, 2, 4])
      pages.push(...(await list(r, adminToken, `?limit=2&offset=${offset}`)).sessions);
    const whole = (await list(r, adminToken)).sessions;
    expect(pages).toEqual(whole);
    expect((await list(r, adminToken, "?limit=2&offset=4")).count).toBe(2);
    for (const query of [
      "?limit=0",
      "?limit=501",
      "?offset=-1",
      "?status=odd",
      "?unknown=1",
      "?limit=1&limit=2",
    ]) {
      expect(await refusal(r, `/api/mcp/sessions${query}`, { bearer: mine.value })).toBe(
        "400 invalid_request",
      );
    }
    expect(await refusal(r, "/api/mcp/sessions", {})).toBe("401 authentication_required");
    const html = await alice.browser.get(`${r.base}/api/mcp/sessions`);
    expect(JSON.parse(html.html)).toMatchObject({
      total_count: 1,
      sessions: [{ user: { id: alice.owner.id, name: "alice" } }],
    });
  });

  it("ID-02 ID-04 another owner's row is as unknown as none, for every verb and kind", async () => {
    const r = await rig(open, closing);
    const mine = await r.key("mine");
    const theirs = await r.key("theirs");
    const token = await give(r, theirs.owner);
    const { flowId } = await r.connect.start(theirs.owner, r.other);
    const discovery = await r.connect.start({ mode: "discovery", id: r.upstream.id }, r.upstream);
    const hidden = await give(r, { mode: "flow", id: "flow_x" });
    for (const id of [token, flowId, discovery.flowId, hidden, "cred_none", token.toUpperCase()]) {
      expect(await refusal(r, `/api/mcp/sessions/${id}`, { method: "DELETE", bearer: mine.value })).toBe(
        "404 session_not_found",
      );
      expect(await refusal(r, `/api/mcp/sessions/${id}/reauth`, { method: "POST", bearer: mine.value })).toBe(
        "404 session_not_found",
      );
      expect(await refusal(r, `/api/oauth/per-user/flows/${id}`, { bearer: mine.value })).toBe(
        "404 flow_not_found",
      );
      expect(await refusal(r, `/api/oauth/per-user/flows/${id}/start`, { bearer: mine.value })).toBe(
        "404 flow_not_found",
      );
    }
    expect(
      await refusal(r, `/api/mcp/sessions/${flowId}/reauth`, { method: "POST", bearer: theirs.value }),
    ).toBe("404 session_not_found");
    expect(await openFlows(r)).toBe(2);
    expect((await r.vault.open(theirs.owner, r.upstream)).outcome).toBe("ready");
  });

  it("ID-25 re-authentication replaces the same row and nothing of its binding", async () => {
    const r = await rig(open, closing);
    const { owner, value } = await r.key("k");
    const id = await give(r, owner);
    const before = (await list(r, value)).sessions[0];
    r.world.advance(5000);
    const link = await r.connect.start(owner, r.upstream);
    const response = await r.api(`/api/mcp/sessions/${id}/reauth?mcp_client_id=${r.other.id}&user_id=x`, {
      method: "POST",
      bearer: value,
    });
    expect(response.status).toBe(200);
    const body = await readJson(response);
    expect(Object.keys(body).sort()).toEqual(["authorize_url", "session_id"]);
    expect(body.session_id).not.toBe(link.flowId);
    expect(body.authorize_url).toBe(`${r.base}/workspace/mcp-sessions/auth?flow=${body.session_id}`);
    // The earlier tab fails safely.
    expect((await r.browser().get(link.url)).status).toBe(410);
    expect((await list(r, value)).total_count).toBe(1);
    const browser = r.browser();
    await browser.get(body.authorize_url);
    expect((await browser.submitForm(/mcp-sessions\/auth/, { vk: value })).html).toContain("Connected");
    const after = (await list(r, value)).sessions;
    expect(after).toHaveLength(1);
    expect(after[0]).toMatchObject({ id, created_at: before.created_at, status: "active" });
    expect(after[0].last_refreshed_at).toBe(r.world.now().toISOString());
    // Same provider, account not known to differ: the old tokens are not revoked.
    await r.outbox.run(r.database);
    expect(r.provider.revocations).toEqual([]);
  });

  it("ID-23 an orphaned row is refused and leaves no link; restored access brings it back", async () => {
    const r = await rig(open, closing);
    const { owner, value } = await r.key("k");
    const id = await give(r, owner);
    await r.connect.start(owner, r.upstream);
    await r.database.transaction((tx) => r.vault.setAccess(tx, owner, new Set()));
    for (const bearer of [value, adminToken]) {
      expect(await refusal(r, `/api/mcp/sessions/${id}/reauth`, { method: "POST", bearer })).toBe(
        "403 access_lost",
      );
    }
    expect(await openFlows(r)).toBe(0);
    expect((await list(r, value)).sessions[0]).toMatchObject({ status: "orphaned", can_reauth: false });
    await r.database.transaction((tx) => r.vault.setAccess(tx, owner, new Set([r.upstream.id])));
    expect((await list(r, value)).sessions[0]).toMatchObject({ status: "active", can_reauth: true });
  });

  it("a user's row is renewed by that user only, an administrator neither; needs_reauth rows may", async () => {
    const r = await rig(open, closing);
    const alice = await r.person("alice");
    const id = await give(r, alice.owner);
    await r.database.transaction((tx) => r.vault.needsReauth(tx, r.upstream.id, "upstream_changed"));
    expect(await refusal(r, `/api/mcp/sessions/${id}/reauth`, { method: "POST", bearer: adminToken })).toBe(
      "403 session_of_another_user",
    );
    expect((await list(r, adminToken)).sessions[0]).toMatchObject({
      status: "needs_reauth",
      status_reason: "upstream_changed",
      can_reauth: false,
    });
    await alice.browser.get(`${r.base}/login`);
    const page = await alice.browser.submit(`${r.base}/api/mcp/sessions/${id}/reauth`, {});
    expect(page.status, page.html).toBe(200);
    const { authorize_url } = JSON.parse(page.html);
    await alice.browser.get(authorize_url);
    expect((await alice.browser.submitForm(/mcp-sessions\/auth/)).html).toContain("Connected");
    expect((await list(r, adminToken)).sessions[0]).toMatchObject({ id, status: "active" });
    // Another site's request comes without the cookie.
    const evil = await alice.browser.submit(
      `${r.base}/api/mcp/sessions/${id}/reauth`,
      {},
      { from: "http://evil.example/" },
    );
    expect(evil.status).toBe(401);
  });

  it("deletes a credential with the pending links of its binding, and a link alone", async () => {
    const r = await rig(open, closing);
    const { owner, value } = await r.key("k");
    const id = await give(r, owner);
    await r.connect.start(owner, r.upstream);
    const other = await r.connect.start(owner, r.other);
    expect((await r.api(`/api/mcp/sessions/${id}`, { method: "DELETE", bearer: value })).status).toBe(204);
    expect(await refusal(r, `/api/mcp/sessions/${id}`, { method: "DELETE", bearer: value })).toBe(
      "404 session_not_found",
    );
    expect(await openFlows(r)).toBe(1);
    expect((await r.vault.open(owner, r.upstream)).outcome).toBe("needs_user");
    expect(
      (await r.api(`/api/mcp/sessions/${other.flowId}`, { method: "DELETE", bearer: adminToken })).status,
    ).toBe(204);
    expect(await openFlows(r)).toBe(0);
    expect((await list(r, value)).total_count).toBe(0);
    const events = await r.database.db.selectFrom("audit").select(["event", "actor"]).orderBy("at").execute();
    expect(events).toContainEqual({ event: "session.revoked", actor: "admin_token" });
  });

  it("a store failure is 500, never dressed as 404", async () => {
    const r = await rig(open, closing);
    const { owner, value } = await r.key("k");
    const id = await give(r, owner);
    expect((await list(r, value)).count).toBe(1);
    await r.database.db.schema.alterTable("flows").renameTo("flows_away").execute();
    expect(await refusal(r, `/api/mcp/sessions/${id}/reauth`, { method: "POST", bearer: value })).toMatch(
      /^500 /,
    );
    expect(await refusal(r, `/api/mcp/sessions/${id}`, { method: "DELETE", bearer: value })).toMatch(/^500 /);
    await r.database.db.schema.alterTable("flows_away").renameTo("flows").execute();
    expect((await list(r, value)).count).toBe(1);
  });

  it("tells of a pending link and starts it, for its owner only", async () => {
    const r = await rig(open, closing);
    const { owner, value } = await r.key("k");
    const { flowId } = await r.connect.start(owner, r.upstream);
    const flow = await readJson(await r.api(`/api/oauth/per-user/flows/${flowId}`, { bearer: value }));
    expect(flow).toMatchObject({
      id: flowId,
      flow_mode: "vk",
      status: "pending",
      mcp_client: { client_id: r.upstream.id, name: "calendar" },
      virtual_key: { id: owner.id, name: "k" },
      has_active_token: false,
    });
    expect(await refusal(r, `/api/oauth/per-user/flows/${flowId}/start`, { bearer: adminToken })).toBe(
      "403 link_of_another_identity",
    );
    const started = await r.api(`/api/oauth/per-user/flows/${flowId}/start`, { bearer: value });
    expect(started.headers.get("set-cookie")).toMatch(/^postern-state-[^=]+=.+HttpOnly; SameSite=Lax/);
    const { authorize_url } = await readJson(started);
    expect(authorize_url.startsWith(`${r.provider.issuer}/auth?`)).toBe(true);
    const browser = r.browser();
    browser.cookies.store(new URL(r.base), started.headers.get("set-cookie")!);
    expect((await browser.get(authorize_url)).html).toContain("Connected");
    expect(await refusal(r, `/api/oauth/per-user/flows/${flowId}`, { bearer: value })).toBe("410 link_ended");
    const user = await r.person("alice");
    const link = await r.connect.start(user.owner, r.upstream);
    expect(await refusal(r, `/api/oauth/per-user/flows/${link.flowId}/start`, { bearer: adminToken })).toBe(
      "403 link_of_another_identity",
    );
  });
});
