import { afterEach, expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { readJson } from "../../test/support/read.ts";
import { Hidden, type Owner } from "../base/index.ts";
import { adminToken, type Rig, rig } from "./connect.suite.ts";

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

function give(r: Rig, owner: Owner, account = "") {
  return r.database.transaction(async (tx) => {
    const secret = {
      kind: "oauth" as const,
      accessToken: new Hidden(`token-of-${account}`),
      oauthConfigId: r.upstream.oauthConfigId!,
    };
    return (await r.vault.put(tx, { owner, upstreamId: r.upstream.id, account, secret }))!.id;
  });
}

async function send(r: Rig, method: string, path: string, bearer: string, body?: unknown) {
  const response = await r.api(`/api/mcp/sessions${path}`, { method, bearer, body });
  return { status: response.status, body: response.status === 204 ? undefined : await readJson(response) };
}

const refusal = ({ status, body }: Awaited<ReturnType<typeof send>>) => `${status} ${body.error?.code}`;

async function listed(r: Rig, bearer: string): Promise<unknown[]> {
  const { body } = await send(r, "GET", "", bearer);
  return body.sessions.map(({ kind, account, is_default }: Record<string, unknown>) => [
    kind,
    account,
    is_default,
  ]);
}

onBothDatabases("several accounts of one upstream", (open) => {
  it("connects a second account under a label, and shows labels and the default only then", async () => {
    const r = await rig(open, closing);
    const { owner, value } = await r.key("k");
    const id = r.upstream.id;
    const first = await send(r, "POST", "", value, { mcp_client_id: id });
    expect(first.status).toBe(200);
    expect(first.body).toEqual({
      authorize_url: `${r.base}/workspace/mcp-sessions/auth?flow=${first.body.session_id}`,
      session_id: first.body.session_id,
    });
    const connect = async (url: string) => {
      const browser = r.browser();
      await browser.get(url);
      expect((await browser.submitForm(/mcp-sessions\/auth/, { vk: value })).html).toContain("Connected");
    };
    await connect(first.body.authorize_url);
    expect(await listed(r, value)).toEqual([["token", undefined, undefined]]);
    expect(refusal(await send(r, "POST", "", value, { mcp_client_id: id }))).toBe("409 account_exists");
    r.provider.accountForNextLogin = "bob";
    r.world.advance(1000);
    const second = await send(r, "POST", "", value, { mcp_client_id: id, account: "work" });
    const shown = await r.browser().get(second.body.authorize_url);
    expect(shown.html).toContain("account “work”");
    expect(await listed(r, value)).toEqual([
      ["flow", "work", undefined],
      ["token", undefined, undefined],
    ]);
    await connect(second.body.authorize_url);
    expect(await listed(r, value)).toEqual([
      ["token", "work", false],
      ["token", "", true],
    ]);
    expect(refusal(await send(r, "POST", "", value, { mcp_client_id: id, account: "work" }))).toBe(
      "409 account_exists",
    );
    const opened = await r.vault.open(owner, r.upstream);
    expect(opened.outcome === "ready" && opened.credential.account).toBe("");
  });

  it("relabels and chooses the default; deleting it promotes the other", async () => {
    const r = await rig(open, closing);
    const { owner, value } = await r.key("k");
    const a = await give(r, owner);
    r.world.advance(1000);
    const b = await give(r, owner, "work");
    const put = (id: string, body: unknown) => send(r, "PUT", `/${id}`, value, body);
    expect((await put(b, { is_default: true })).body).toMatchObject({
      id: b,
      account: "work",
      is_default: true,
    });
    expect((await put(a, { account: "private" })).body).toMatchObject({
      id: a,
      account: "private",
      is_default: false,
    });
    expect(refusal(await put(a, { account: "work" }))).toBe("409 account_exists");
    for (const body of [
      {},
      { is_default: false },
      { account: "" },
      { account: "Work" },
      { account: "a b" },
      { account: "x".repeat(41) },
      { account: "a", more: 1 },
    ])
      expect(refusal(await put(a, body)), JSON.stringify(body)).toBe("400 invalid_request");
    expect((await send(r, "DELETE", `/${b}`, value)).status).toBe(204);
    expect(await listed(r, value)).toEqual([["token", "private", undefined]]);
    const opened = await r.vault.open(owner, r.upstream);
    expect(opened.outcome === "ready" && opened.credential.account).toBe("private");
    const events = await r.database.db
      .selectFrom("audit")
      .select("event")
      .where("event", "=", "session.changed")
      .execute();
    expect(events).toHaveLength(2);
  });

  it("a new label ends the open links of both, so that none leads to another account", async () => {
    const r = await rig(open, closing);
    const { owner, value } = await r.key("k");
    const id = await give(r, owner, "work");
    await give(r, owner, "private");
    const old = await r.connect.start(owner, r.upstream, "work");
    const next = await r.connect.start(owner, r.upstream, "job");
    const other = await r.connect.start(owner, r.upstream, "private");
    expect((await send(r, "PUT", `/${id}`, value, { account: "job" })).status).toBe(200);
    for (const [link, status] of [
      [old, 410],
      [next, 410],
      [other, 200],
    ] as const)
      expect((await r.browser().get(link.url)).status).toBe(status);
  });

  it("ID-02 only for oneself: no administrator's token, no other's row, no upstream one may not use", async () => {
    const r = await rig(open, closing);
    const mine = await r.key("mine");
    const theirs = await r.key("theirs");
    const alice = await r.person("alice");
    const id = await give(r, theirs.owner);
    const hers = await give(r, alice.owner);
    const body = { mcp_client_id: r.upstream.id };
    expect(refusal(await send(r, "POST", "", adminToken, body))).toBe("403 own_identity_required");
    expect(refusal(await send(r, "POST", "", mine.value, { mcp_client_id: "mcp_none" }))).toBe(
      "404 upstream_not_found",
    );
    expect(refusal(await send(r, "POST", "", mine.value, { ...body, account: "A" }))).toBe(
      "400 invalid_request",
    );
    expect(refusal(await send(r, "PUT", `/${id}`, mine.value, { account: "x" }))).toBe(
      "404 session_not_found",
    );
    expect(refusal(await send(r, "PUT", `/${hers}`, adminToken, { account: "x" }))).toBe(
      "403 session_of_another_user",
    );
    expect((await send(r, "PUT", `/${id}`, adminToken, { account: "x" })).status).toBe(200);
    const link = await r.connect.start(mine.owner, r.upstream);
    expect(refusal(await send(r, "PUT", `/${link.flowId}`, mine.value, { account: "x" }))).toBe(
      "404 session_not_found",
    );
    await r.upstreams.update(r.upstream.id, { disabled: true });
    expect(refusal(await send(r, "POST", "", mine.value, body))).toBe("404 upstream_not_found");
  });

  it("labels that somebody makes up do not fill the tables", async () => {
    const r = await rig(open, closing);
    const { owner } = await r.key("k");
    for (let n = 0; n < 20; n++) await r.connect.start(owner, r.upstream, `a${n}`);
    await expect(r.connect.start(owner, r.upstream, "one-more")).rejects.toMatchObject({
      code: "too_many_accounts",
    });
    await r.connect.start(owner, r.upstream, "a3");
    await expect(r.connect.start(owner, r.upstream, "No label")).rejects.toMatchObject({
      code: "invalid_account",
    });
    r.world.advance(16 * 60_000);
    await r.connect.start(owner, r.upstream, "one-more");
  });

  it("a link without a label is for the default account", async () => {
    const r = await rig(open, closing);
    const { owner } = await r.key("k");
    await give(r, owner, "work");
    const started = await r.connect.start(owner, r.upstream);
    const row = await r.database.db
      .selectFrom("flows")
      .select("account")
      .where("id", "=", started.flowId)
      .executeTakeFirstOrThrow();
    expect(row.account).toBe("work");
  });
});
