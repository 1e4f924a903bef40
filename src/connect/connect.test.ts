import { afterEach, expect, it } from "vitest";
import type { Browser, Page } from "../../test/peers/browser.ts";
import { onBothDatabases } from "../../test/support/databases.ts";
import { readJson } from "../../test/support/read.ts";
import type { Owner } from "../base/index.ts";
import { cookieName } from "../http/index.ts";
import { adminToken, type Rig, rig } from "./connect.suite.ts";

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

/** Opens a link, presses its button and comes back from the provider. */
async function walk(browser: Browser, url: string, fields: Record<string, string> = {}): Promise<Page> {
  const shown = await browser.get(url);
  expect(shown.status, shown.html).toBe(200);
  return browser.submitForm(/mcp-sessions\/auth/, fields);
}

/** The same, stopping before the callback is requested. */
async function leave(
  r: Rig,
  browser: Browser,
  url: string,
  fields: Record<string, string> = {},
): Promise<URL> {
  await browser.get(url);
  const page = await browser.submitForm(/mcp-sessions\/auth/, fields, {
    stopAt: `${r.base}/api/oauth/callback`,
  });
  if (!page.stoppedAt) throw new Error(`not sent back: ${page.status} ${page.html}`);
  return page.stoppedAt;
}

async function status(r: Rig, owner: Owner, upstream = r.upstream): Promise<string> {
  const opened = await r.vault.open(owner, upstream);
  return opened.outcome === "needs_user" ? opened.reason : opened.outcome;
}

function count(r: Rig, table: "flows" | "credentials" | "outbox") {
  return r.database.db
    .selectFrom(table)
    .selectAll()
    .execute()
    .then((rows) => rows.length);
}

onBothDatabases("connect", (open) => {
  it("connects a person's account and stores it once", async () => {
    const r = await rig(open, closing);
    const told: string[] = [];
    r.vault.connected.push((owner, upstreamId) => told.push(`${owner.mode} ${upstreamId}`));
    const alice = await r.person("alice");
    const started = await r.connect.start(alice.owner, r.upstream);
    const shown = await alice.browser.get(started.url);
    expect(shown.html).toContain("calendar");
    expect(shown.html).toContain("alice");
    const page = await alice.browser.submitForm(/mcp-sessions\/auth/);
    expect(page.status, page.html).toBe(200);
    expect(page.html).toContain("Connected");
    expect(page.url.searchParams.has("code")).toBe(false);
    expect(await status(r, alice.owner)).toBe("ready");
    expect(told).toEqual([`user ${r.upstream.id}`]);
    const { lastAuthorize } = r.provider;
    expect(lastAuthorize).toMatchObject({
      response_type: "code",
      code_challenge_method: "S256",
      redirect_uri: `${r.base}/api/oauth/callback/${r.upstream.id}`,
      resource: r.upstream.url.href,
    });
    const [exchange] = r.provider.tokenRequests;
    expect(exchange!.params.resource).toBe(r.upstream.url.href);
    expect(r.provider.tokenCalls("authorization_code")).toBe(1);
    // The link is spent; opening it again says so and starts nothing.
    expect((await alice.browser.get(started.url)).html).toContain("Connected");
  });

  it("MC-31 hands out the one pending link while five minutes remain, also to parallel calls", async () => {
    const r = await rig(open, closing);
    const { owner } = await r.key("k");
    const all = await Promise.all(Array.from({ length: 20 }, () => r.connect.start(owner, r.upstream)));
    expect(new Set(all.map((started) => started.flowId)).size).toBe(1);
    expect(all[0]!.url).toBe(`${r.base}/workspace/mcp-sessions/auth?flow=${all[0]!.flowId}`);
    expect(await count(r, "flows")).toBe(1);
    r.world.advance(9 * 60_000);
    expect((await r.connect.start(owner, r.upstream)).flowId).toBe(all[0]!.flowId);
    r.world.advance(2 * 60_000);
    const later = await r.connect.start(owner, r.upstream);
    expect(later.flowId).not.toBe(all[0]!.flowId);
    const page = await r.browser().get(all[0]!.url);
    expect(page.status).toBe(410);
    r.world.advance(16 * 60_000);
    expect((await r.browser().get(later.url)).status).toBe(410);
    expect((await r.browser().get(`${r.base}/workspace/mcp-sessions/auth?flow=flow_none`)).status).toBe(404);
  });

  it("UP-03 who starts a link must finish it", async () => {
    const r = await rig(open, closing);
    const alice = await r.person("alice");
    const bob = await r.person("bob");
    const started = await r.connect.start(alice.owner, r.upstream);
    const other = await bob.browser.get(started.url);
    expect(other.status).toBe(403);
    expect(other.html).not.toContain("alice");
    const posted = await bob.browser.submit(`${r.base}/workspace/mcp-sessions/auth`, {
      flow: started.flowId,
    });
    expect(posted.status).toBe(403);
    const nobody = r.browser();
    const asked = await nobody.get(started.url);
    expect(asked.status).toBe(401);
    expect(asked.html).toContain(encodeURIComponent(`/workspace/mcp-sessions/auth?flow=${started.flowId}`));
    expect(
      (await nobody.submit(`${r.base}/workspace/mcp-sessions/auth`, { flow: started.flowId })).status,
    ).toBe(401);
    // Another site cannot press the button.
    const evil = await alice.browser.submit(
      `${r.base}/workspace/mcp-sessions/auth`,
      { flow: started.flowId },
      { from: "http://evil.example/" },
    );
    expect(evil.status).toBe(403);
    expect(r.provider.requests.authorization).toBe(0);
    expect((await walk(alice.browser, started.url)).html).toContain("Connected");
    expect(await status(r, bob.owner)).toBe("missing");
  });

  it("UP-03 a key's link asks for that key, with few guesses", async () => {
    const r = await rig(open, closing);
    const mine = await r.key("mine");
    const theirs = await r.key("theirs");
    const browser = r.browser();
    const started = await r.connect.start(mine.owner, r.upstream);
    const wrong = await walk(browser, started.url, { vk: theirs.value });
    expect(wrong.html).toContain("not the virtual key");
    expect(r.provider.requests.authorization).toBe(0);
    const done = await browser.submitForm(/mcp-sessions\/auth/, { vk: mine.value });
    expect(done.html).toContain("Connected");
    expect(await status(r, mine.owner)).toBe("ready");
    const again = await r.connect.start(mine.owner, r.other);
    await browser.get(again.url);
    const form = { flow: again.flowId, vk: "sk-bf-guess" };
    const statuses: number[] = [];
    for (let n = 0; n < 22; n++) {
      statuses.push(
        (await browser.submit(`${r.base}/workspace/mcp-sessions/auth`, form, { followRedirects: false }))
          .status,
      );
    }
    expect(statuses.at(-1)).toBe(429);
  });

  it("a session's link needs the browser of its grant, or the header session's value", async () => {
    const r = await rig(open, closing);
    const grant: Owner = { mode: "session", id: "grant_1" };
    r.grants.set("grant_1", r.hash.of("grant_cookie", "grant-cookie-value"));
    const started = await r.connect.start(grant, r.upstream);
    expect((await r.browser().get(started.url)).status).toBe(403);
    const browser = r.browser();
    browser.cookies.store(
      new URL(r.base),
      `${cookieName("grant", r.settings, "grant_1")}=grant-cookie-value; Path=/`,
    );
    expect((await walk(browser, started.url)).html).toContain("Connected");
    const anonymous: Owner = {
      mode: "session",
      id: `anon_${r.hash.of("anonymous_session", "v".repeat(40))}`,
    };
    const typed = await r.connect.start(anonymous, r.upstream);
    expect((await walk(r.browser(), typed.url, { session: "w".repeat(40) })).html).toContain(
      "not the session value",
    );
    expect((await walk(r.browser(), typed.url, { session: "v".repeat(40) })).html).toContain("Connected");
    expect(await status(r, anonymous)).toBe("ready");
  });

  it("a discovery link needs an administrator; its credential is nobody's session", async () => {
    const r = await rig(open, closing);
    const owner: Owner = { mode: "discovery", id: r.upstream.id };
    const started = await r.connect.start(owner, r.upstream);
    const member = await r.person("member");
    expect((await member.browser.get(started.url)).status).toBe(403);
    const admin = await r.person("boss", "admin");
    expect((await walk(admin.browser, started.url)).html).toContain("Connected");
    expect(await status(r, owner)).toBe("ready");
    const list = await readJson(await r.api("/api/mcp/sessions", { bearer: adminToken }));
    expect(list).toMatchObject({ sessions: [], count: 0, total_count: 0 });
  });

  it("UP-33 CB-15 HEAD, prefetch and a foreign browser claim nothing; the real callback succeeds, once", async () => {
    const r = await rig(open, closing);
    const alice = await r.person("alice");
    const bob = await r.person("bob");
    const started = await r.connect.start(alice.owner, r.upstream);
    const callback = await leave(r, alice.browser, started.url);
    const host = { host: callback.host };
    expect((await fetch(callback, { method: "HEAD", headers: host })).status).toBe(204);
    expect((await fetch(callback, { headers: { ...host, "sec-purpose": "prefetch" } })).status).toBe(204);
    expect((await r.browser().get(callback)).status).toBe(403);
    expect((await bob.browser.get(callback)).status).toBe(403);
    expect(r.provider.tokenCalls()).toBe(0);
    const page = await alice.browser.get(callback);
    expect(page.html).toContain("Connected");
    const replay = await alice.browser.get(callback);
    expect(replay.status).toBe(410);
    expect(r.provider.tokenCalls()).toBe(1);
    expect(await status(r, bob.owner)).toBe("missing");
  });

  it("UP-01 a callback that is not ours reaches nobody", async () => {
    const r = await rig(open, closing);
    const alice = await r.person("alice");
    const started = await r.connect.start(alice.owner, r.upstream);
    const callback = await leave(r, alice.browser, started.url);
    const path = `${r.base}/api/oauth/callback/${r.upstream.id}`;
    const state = callback.searchParams.get("state")!;
    for (const query of [
      "code=x",
      "code=x&state=",
      "code=x&state=random",
      `code=x&state=${state.slice(0, -1)}`,
      `code=x&state=${state}&state=${state}`,
      "error=access_denied&error_description=<b>hello</b>",
    ]) {
      const page = await alice.browser.get(`${path}?${query}`);
      expect(page.status, query).toBe(400);
      expect(page.html).not.toContain("hello");
    }
    r.world.advance(11 * 60_000);
    expect((await alice.browser.get(callback)).status).toBe(410);
    expect(r.provider.tokenCalls()).toBe(0);
    expect(await count(r, "credentials")).toBe(0);
  });

  it("UP-04 UP-05 path and state must agree", async () => {
    const r = await rig(open, closing);
    const alice = await r.person("alice");
    for (const target of [`/api/oauth/callback/${r.other.id}`, "/api/oauth/callback"]) {
      const started = await r.connect.start(alice.owner, r.upstream);
      const callback = await leave(r, alice.browser, started.url);
      callback.pathname = target;
      expect((await alice.browser.get(callback)).status, target).toBe(400);
    }
    expect(r.provider.tokenCalls()).toBe(0);
    expect(await count(r, "credentials")).toBe(0);
  });

  it("UP-06 iss is compared as it is, before code or error count", async () => {
    const r = await rig(open, closing);
    const alice = await r.person("alice");
    const { issuer } = r.provider;
    for (const iss of [
      undefined,
      "http://evil.example",
      `${issuer}/`,
      issuer.toUpperCase(),
      issuer.replace("127.0.0.1", "127.0.0.1."),
    ]) {
      for (const error of [undefined, "access_denied"]) {
        const started = await r.connect.start(alice.owner, r.upstream);
        const callback = await leave(r, alice.browser, started.url);
        callback.searchParams.delete("iss");
        if (iss !== undefined) callback.searchParams.set("iss", iss);
        if (error) {
          callback.searchParams.set("error", error);
          callback.searchParams.set("error_description", "words of evil");
        }
        const page = await alice.browser.get(callback);
        expect(page.status).toBe(400);
        expect(page.html).toContain("provider_mismatch");
        expect(page.html).not.toContain("words of evil");
      }
    }
    expect(r.provider.tokenCalls()).toBe(0);
  });

  it("UP-06 a provider that promises no iss may leave it out, and a wrong one is still refused", async () => {
    const r = await rig(open, closing);
    r.provider.editMetadata = (document) => ({
      ...document,
      authorization_response_iss_parameter_supported: false,
    });
    const alice = await r.person("alice");
    const started = await r.connect.start(alice.owner, r.upstream);
    const wrong = await leave(r, alice.browser, started.url);
    wrong.searchParams.set("iss", "http://evil.example");
    expect((await alice.browser.get(wrong)).status).toBe(400);
    const absent = await leave(r, alice.browser, started.url);
    absent.searchParams.delete("iss");
    expect((await alice.browser.get(absent)).html).toContain("Connected");
  });

  it("UP-32 a provider's refusal keeps the link; its words go nowhere", async () => {
    const r = await rig(open, closing);
    const alice = await r.person("alice");
    const started = await r.connect.start(alice.owner, r.upstream);
    r.provider.denyNext("access_denied", "<script>alert(1)</script>");
    const page = await walk(alice.browser, started.url);
    expect(page.status).toBe(400);
    expect(page.html).toContain("declined");
    expect(page.html).not.toContain("alert(1)");
    await alice.browser.click(/Try again/);
    expect((await alice.browser.submitForm(/mcp-sessions\/auth/)).html).toContain("Connected");
  });

  it("UP-19 UP-25 an exchange that fails stores nothing and can be repeated", async () => {
    const r = await rig(open, closing);
    const alice = await r.person("alice");
    const started = await r.connect.start(alice.owner, r.upstream);
    for (const answer of [
      { status: 500, body: "no" },
      { status: 200, body: "<html>" },
      { status: 200, body: { error: "bad_verification_code" } },
      { status: 400, body: { error: "invalid_grant" } },
      { status: 200, body: { access_token: "a\r\nb", token_type: "bearer" } },
    ]) {
      r.provider.failNextToken(answer);
      const page = await walk(alice.browser, started.url);
      expect(page.status).toBe(502);
      expect(await count(r, "credentials")).toBe(0);
    }
    expect((await walk(alice.browser, started.url)).html).toContain("Connected");
  });

  it("ID-26 what is revoked, orphaned or replaced during the callback stores nothing, and the provider is told", async () => {
    for (const deed of ["delete", "orphan", "reauth"] as const) {
      const r = await rig(open, closing);
      const { owner, value } = await r.key("k");
      await walk(r.browser(), (await r.connect.start(owner, r.upstream)).url, { vk: value });
      const [row] = (await readJson(await r.api("/api/mcp/sessions", { bearer: value }))).sessions;
      const browser = r.browser();
      const started = await r.connect.start(owner, r.upstream);
      const callback = await leave(r, browser, started.url, { vk: value });
      const held = r.provider.holdNextToken("after");
      const coming = browser.get(callback);
      await held.arrived;
      if (deed === "delete")
        expect((await r.api(`/api/mcp/sessions/${row.id}`, { method: "DELETE", bearer: value })).status).toBe(
          204,
        );
      if (deed === "orphan") await r.database.transaction((tx) => r.vault.setAccess(tx, owner, new Set()));
      if (deed === "reauth")
        expect(
          (await r.api(`/api/mcp/sessions/${row.id}/reauth`, { method: "POST", bearer: value })).status,
        ).toBe(200);
      held.release();
      expect((await coming).status).toBe(410);
      expect(await status(r, owner)).toBe(
        deed === "delete" ? "missing" : deed === "orphan" ? "orphaned" : "ready",
      );
      const stored = await r.database.db.selectFrom("credentials").select(["id", "generation"]).execute();
      expect(stored).toEqual(
        deed === "delete" ? [] : [{ id: row.id, generation: deed === "orphan" ? 2 : 1 }],
      );
      r.provider.revocations.length = 0;
      await r.outbox.run(r.database);
      expect(r.provider.revocations.length).toBe(deed === "delete" ? 4 : 2);
    }
  });

  it("connects during a consent for the flow, and comes back to the services page", async () => {
    const r = await rig(open, closing);
    r.gate.set(r.upstream.id, "flow_consent");
    const browser = r.browser();
    const path = `${r.base}/api/oauth/per-user/upstream/authorize`;
    const query = (id: string, flow: string) => `${path}?mcp_client_id=${id}&flow_id=${flow}`;
    expect((await browser.get(path)).status).toBe(400);
    expect((await browser.get(query("mcp_none", "flow_consent"))).status).toBe(404);
    expect((await browser.get(query(r.other.id, "flow_consent"))).status).toBe(403);
    expect(await count(r, "flows")).toBe(0);
    const back = `${r.base}/oauth/consent/mcps`;
    r.provider.denyNext();
    const denied = await browser.get(query(r.upstream.id, "flow_consent"), { stopAt: back });
    expect(denied.stoppedAt?.search).toBe("?flow_id=flow_consent&error=connect_declined");
    const done = await browser.get(query(r.upstream.id, "flow_consent"), { stopAt: back });
    expect(done.stoppedAt?.search).toBe("?flow_id=flow_consent");
    expect(await status(r, { mode: "flow", id: "flow_consent" })).toBe("ready");
    const list = await readJson(await r.api("/api/mcp/sessions", { bearer: adminToken }));
    expect(list.total_count).toBe(0);
    await r.database.transaction((tx) => r.vault.adopt(tx, "flow_consent", { mode: "vk", id: "vk_consent" }));
    expect((await readJson(await r.api("/api/mcp/sessions", { bearer: adminToken }))).total_count).toBe(1);
  });
});
