import { afterEach, expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { readJson } from "../../test/support/read.ts";
import { Hidden, type Owner } from "../base/index.ts";
import { adminToken, type Rig, rig } from "./connect.suite.ts";

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const PAGE = "/workspace/mcp-sessions/auth";

async function allowing(open: Parameters<typeof rig>[0]): Promise<Rig> {
  const r = await rig(open, closing);
  r.settings.tempTokenAuth = true;
  return r;
}

function give(r: Rig, owner: Owner): Promise<string> {
  return r.database.transaction(async (tx) => {
    const accessToken = new Hidden("an access token");
    const secret = { kind: "oauth" as const, accessToken, oauthConfigId: r.upstream.oauthConfigId! };
    const stored = await r.vault.put(tx, { owner, upstreamId: r.upstream.id, account: "", secret });
    return stored!.id;
  });
}

/** The address without its fragment, as a browser asks for it, and the token, as its script reads it. */
async function reauth(r: Rig, row: string, bearer: string) {
  const answer = await r.api(`/api/mcp/sessions/${row}/reauth`, { method: "POST", bearer });
  expect(answer.status).toBe(200);
  const { authorize_url, session_id } = await readJson(answer);
  const [url, token] = authorize_url.split("#t=");
  return { url, token, flow: session_id };
}

const asksForKey = (page: { html: string }) => page.html.includes('name="vk"');

onBothDatabases("a link's one-time token", (open) => {
  it("is there for keys and sessions, not for a person's own login, and not while it is switched off", async () => {
    const r = await allowing(open);
    const key = await r.key("mine");
    const alice = await r.person("alice");
    const session: Owner = { mode: "session", id: "grant_1" };
    const rows = [await give(r, key.owner), await give(r, session)];
    expect((await reauth(r, rows[0]!, key.value)).token).toMatch(/^[\w-]{43}$/);
    expect((await reauth(r, rows[1]!, adminToken)).token).toMatch(/^[\w-]{43}$/);
    const own = await give(r, alice.owner);
    const asked = await alice.browser.submit(`${r.base}/api/mcp/sessions/${own}/reauth`, {});
    expect(asked.html).not.toContain("#t=");
    const started = await r.connect.start(alice.owner, r.upstream);
    expect(started.url).not.toContain("#");
    r.settings.tempTokenAuth = false;
    expect((await reauth(r, rows[0]!, key.value)).token).toBeUndefined();
    // What was given out before counts no more either.
    const before = await r.connect.start(key.owner, r.upstream, "", { replace: true, withToken: true });
    const [url, token] = before.url.split("#t=");
    const browser = r.browser();
    expect((await browser.get(url!)).html).not.toContain("<script");
    const spent = await browser.submit(`${r.base}${PAGE}`, { flow: before.flowId, t: token! });
    expect(asksForKey(spent)).toBe(true);
  });

  it("replaces the key once, for the browser that brought it, and is stored only as a keyed hash", async () => {
    const r = await allowing(open);
    const key = await r.key("mine");
    const { url, token, flow } = await reauth(r, await give(r, key.owner), key.value);
    const stored = JSON.stringify(await r.database.db.selectFrom("flows").selectAll().execute());
    expect(stored).not.toContain(token);
    const first = r.browser();
    const page = await first.get(url);
    expect(asksForKey(page)).toBe(true);
    expect(page.headers["content-security-policy"]).toMatch(/script-src 'sha256-[\w+/]{43}='/);
    const wrong = await first.submit(`${r.base}${PAGE}`, { flow, t: "x".repeat(43) });
    expect([asksForKey(wrong), wrong.url.searchParams.get("error")]).toEqual([true, "link_token_used"]);
    const opened = await Promise.all(
      [first, r.browser(), r.browser()].map((browser) =>
        browser.submit(`${r.base}${PAGE}`, { flow, t: token }),
      ),
    );
    const winners = opened.filter((one) => !asksForKey(one));
    expect(winners).toHaveLength(1);
    expect(winners[0]!.html).not.toContain("<script");
    expect(r.provider.requests.authorization).toBe(0);
  });

  it("lives fifteen minutes and ends with its link", async () => {
    const r = await allowing(open);
    const key = await r.key("mine");
    const row = await give(r, key.owner);
    const replaced = await reauth(r, row, key.value);
    const late = await reauth(r, row, key.value);
    const browser = r.browser();
    const gone = await browser.submit(`${r.base}${PAGE}`, { flow: replaced.flow, t: replaced.token });
    expect(gone.status).toBe(410);
    // A trip to the provider keeps the link longer, never the token.
    await r.database.db
      .updateTable("flows")
      .set({ expires_at: r.world.now().getTime() + 30 * 60_000 })
      .where("id", "=", late.flow)
      .execute();
    r.world.advance(15 * 60_000);
    const spent = await browser.submit(`${r.base}${PAGE}`, { flow: late.flow, t: late.token });
    expect([spent.status, asksForKey(spent)]).toEqual([200, true]);
  });

  it("opens a session's link in another browser than that of the grant, and from no other site", async () => {
    const r = await allowing(open);
    const owner: Owner = { mode: "session", id: "grant_1" };
    r.grants.set("grant_1", r.hash.of("grant_cookie", "grant-cookie-value"));
    const { url, token, flow } = await reauth(r, await give(r, owner), adminToken);
    const browser = r.browser();
    const waiting = await browser.get(url);
    expect(waiting.status).toBe(200);
    expect(waiting.html).not.toContain("Continue to");
    // Pressing on without it leads nowhere.
    const pressed = await browser.submit(`${r.base}${PAGE}`, { flow });
    expect(pressed.html).not.toContain("Continue to");
    const evil = await browser.submit(
      `${r.base}${PAGE}`,
      { flow, t: token },
      { from: "http://evil.example/" },
    );
    expect(evil.status).toBe(403);
    const opened = await browser.submit(`${r.base}${PAGE}`, { flow, t: token });
    expect(opened.html).toContain("Continue to");
    expect((await r.browser().get(url)).html).not.toContain("Continue to");
  });
});
