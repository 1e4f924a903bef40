import { expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { readJson } from "../../test/support/read.ts";
import { Hidden, type Owner } from "../base/index.ts";
import { checkDefinition } from "../upstreams/index.ts";
import { adminToken, type Rig, rig } from "./connect.suite.ts";
import { asked, closing, connectAs } from "./swap.suite.ts";

/** A service account, who looks after it, and somebody who does not. */
async function household(r: Rig) {
  const ann = await r.person("ann");
  const bob = await r.person("bob");
  const owner: Owner = { mode: "user", id: "user_nightly" };
  await r.database.db
    .insertInto("users")
    .values({
      id: owner.id,
      email: "nightly@users.invalid",
      name: "nightly",
      password_hash: null,
      role: "member",
      is_active: 1,
      kind: "service",
      manager_id: ann.owner.id,
      created_at: 1,
      updated_at: 1,
    })
    .execute();
  return { ann, bob, owner };
}

const press = /mcp-sessions\/auth/;

function connections(r: Rig) {
  return r.database.db
    .selectFrom("audit")
    .select(["actor", "owner_mode", "owner_id"])
    .where("event", "=", "credential.connected")
    .execute();
}

async function manage(r: Rig, managerId: string | null): Promise<void> {
  const changed = { manager_id: managerId };
  await r.database.db.updateTable("users").set(changed).where("id", "=", "user_nightly").execute();
}

onBothDatabases("the accounts of a service account", (open) => {
  it("who looks after it connects them: the page says for whom, the audit line names both, nobody else may", async () => {
    const r = await rig(open, closing);
    const { ann, bob, owner } = await household(r);
    const { url } = await r.connect.start(owner, r.upstream);
    const nobody = await r.browser().get(url);
    expect([nobody.status, nobody.html.includes("nightly")]).toEqual([401, false]);
    const stranger = await bob.browser.get(url);
    expect([stranger.status, stranger.html.includes("nightly")]).toEqual([403, false]);
    const shown = await ann.browser.get(url);
    expect(shown.html).toContain("Connect a calendar account for nightly");
    expect(shown.html).toContain("the service account “nightly”, which ann uses from scripts");
    expect(shown.html).toContain("not for you");
    expect((await ann.browser.submitForm(press)).html).toContain("Connected");
    expect((await r.vault.open(owner, r.upstream)).outcome).toBe("ready");
    expect((await r.vault.open(ann.owner, r.upstream)).outcome).toBe("needs_user");
    expect(await connections(r)).toEqual([
      { actor: `user:${ann.owner.id}`, owner_mode: "user", owner_id: owner.id },
    ]);
    const again = await r.connect.start(owner, r.other);
    const admin = await r.person("root", "admin");
    await admin.browser.get(again.url);
    expect((await admin.browser.submitForm(press)).html).toContain("Connected");
    expect((await connections(r)).at(-1)).toMatchObject({ actor: `user:${admin.owner.id}` });
  });

  it("who stopped looking after it on the way back stores nothing, and the state stays unclaimed", async () => {
    const r = await rig(open, closing);
    const { ann, owner } = await household(r);
    const { url } = await r.connect.start(owner, r.upstream);
    await ann.browser.get(url);
    const left = await ann.browser.submitForm(press, {}, { stopAt: `${r.base}/api/oauth/callback` });
    await manage(r, null);
    expect((await ann.browser.get(left.stoppedAt!)).status).toBe(403);
    expect(r.provider.tokenCalls()).toBe(0);
    await manage(r, ann.owner.id);
    expect((await ann.browser.get(left.stoppedAt!)).html).toContain("Connected");
  });

  it("UP-31 another account than before is asked about, and the answer stands under who gave it", async () => {
    const r = await rig(open, closing);
    const { ann, owner } = await household(r);
    const link = async () => (await r.connect.start(owner, r.upstream, "", { replace: true })).url;
    await connectAs(r, ann.browser, await link(), { sub: "id-x" });
    expect((await connectAs(r, ann.browser, await link(), { sub: "id-y" })).html).toContain(asked);
    const done = await ann.browser.submitForm(/mcp-sessions\/account/, {}, { button: "Replace" });
    expect(done.html).toContain("Connected");
    const actor = `user:${ann.owner.id}`;
    expect((await connections(r)).map((line) => line.actor)).toEqual([actor, actor]);
    const lines = await r.database.db
      .selectFrom("audit")
      .select(["actor", "owner_id"])
      .where("event", "=", "credential.account_replaced")
      .execute();
    expect(lines).toEqual([{ actor, owner_id: owner.id }]);
  });

  it("ID-01 its rows are visible to and renewed by who looks after it; a person's own stay that person's alone", async () => {
    const r = await rig(open, closing);
    const { ann, bob, owner } = await household(r);
    const give = (to: Owner) =>
      r.database.transaction(async (tx) => {
        const secret = {
          kind: "oauth" as const,
          accessToken: new Hidden(`the-token-of-${to.id}`),
          oauthConfigId: r.upstream.oauthConfigId!,
        };
        return (await r.vault.put(tx, { owner: to, upstreamId: r.upstream.id, account: "", secret }))!.id;
      });
    const [row, own] = [await give(owner), await give(bob.owner)];
    const list = async (browser: typeof ann.browser) =>
      JSON.parse((await browser.get(`${r.base}/api/mcp/sessions`)).html).sessions.map(
        (one: { id: string; can_reauth: boolean }) => [one.id, one.can_reauth],
      );
    expect(await list(ann.browser)).toEqual([[row, true]]);
    expect(await list(bob.browser)).toEqual([[own, true]]);
    const reauth = (id: string, bearer = adminToken) =>
      r.api(`/api/mcp/sessions/${id}/reauth`, { method: "POST", bearer });
    expect((await reauth(own)).status).toBe(403);
    const started = await readJson(await reauth(row));
    const refused = await bob.browser.submit(`${r.base}/api/mcp/sessions/${row}/reauth`, {});
    expect(refused.status).toBe(404);
    await ann.browser.get(started.authorize_url);
    expect((await ann.browser.submitForm(press)).html).toContain("Connected");
    const id = `${r.base}/api/mcp/sessions/${row}`;
    expect(JSON.parse((await ann.browser.get(`${r.base}/api/mcp/sessions`)).html).sessions[0]).toMatchObject({
      id: row,
      status: "active",
      user: { name: "nightly" },
    });
    expect((await r.api(id, { method: "DELETE", bearer: adminToken })).status).toBe(204);
  });

  it("the route makes the link for its manager and for administrators; for everybody else it does not exist", async () => {
    const r = await rig(open, closing);
    const { ann, bob, owner } = await household(r);
    const path = `/api/service-accounts/${owner.id}/connections/${r.upstream.id}`;
    const made = await ann.browser.submit(`${r.base}${path}`, {});
    expect(made.status, made.html).toBe(200);
    expect((await bob.browser.submit(`${r.base}${path}`, {})).status).toBe(404);
    const key = await r.key("k");
    expect((await r.api(path, { method: "POST", bearer: key.value })).status).toBe(404);
    const byAdmin = await r.api(path, { method: "POST", bearer: adminToken });
    expect(byAdmin.status).toBe(200);
    const { authorize_url } = await readJson(byAdmin);
    expect((await bob.browser.get(authorize_url)).status).toBe(403);
    expect((await ann.browser.get(authorize_url)).status).toBe(200);
    const unknown = `/api/service-accounts/${bob.owner.id}/connections/${r.upstream.id}`;
    expect((await r.api(unknown, { method: "POST", bearer: adminToken })).status).toBe(404);
    const none = `/api/service-accounts/${owner.id}/connections/mcp_none`;
    expect((await r.api(none, { method: "POST", bearer: adminToken })).status).toBe(404);
    await ann.browser.submitForm(press);
    expect((await r.api(path, { method: "POST", bearer: adminToken })).status).toBe(409);
    const second = await r.api(path, { method: "POST", bearer: adminToken, body: { account: "eu" } });
    expect(second.status).toBe(200);
  });

  it("header values: who looks after it submits them in the browser; an administrator's token does not", async () => {
    const r = await rig(open, closing);
    const { ann, owner } = await household(r);
    const upstream = await r.upstreams.create(
      checkDefinition({
        name: "tickets",
        connection_string: r.upstream.url.href,
        auth_type: "per_user_headers",
        per_user_header_keys: ["X-Api-Key"],
        allow_on_all_virtual_keys: true,
      }),
      "api",
    );
    const { url, flowId } = await r.connect.start(owner, upstream);
    const byToken = await r.api(`/api/mcp/per-user-headers/flows/${flowId}`, {
      method: "PUT",
      bearer: adminToken,
      body: { headers: { "X-Api-Key": "not-a-secret-of-anybody" } },
    });
    expect(byToken.status).toBe(403);
    const shown = await ann.browser.get(url);
    expect(shown.html).toContain("for the service account “nightly”");
    const done = await ann.browser.submitForm(press, { "header.X-Api-Key": "marked-7731-value" });
    expect(done.html).toContain("Connected");
    expect(await connections(r)).toEqual([
      { actor: `user:${ann.owner.id}`, owner_mode: "user", owner_id: owner.id },
    ]);
  });
});
