import { expect, test } from "vitest";
import { Browser, type Page, textOf } from "../peers/browser.ts";
import { startModernUpstream } from "../peers/modern-upstream.ts";
import { marked } from "../support/marked.ts";
import { addProtected } from "./steps/main-job.ts";
import { Management } from "./steps/management.ts";
import { startProtectedUpstream } from "./steps/peers.ts";
import { Administrator, assertPage, finishConsent } from "./steps/person.ts";
import { journeys, type Stage } from "./steps/stage.ts";

const password = marked("a password of Bob's");
const PAGE = "/connections";

/** A gateway with one upstream of each kind, and a member with a browser of his own who may use all of them. */
async function openDesk(stage: Stage) {
  const guarded = stage.keep(await startProtectedUpstream());
  const accounts: Record<string, string> = { "value-of-admin": "admin", "value-of-bob": "bob" };
  const protection = { kind: "header" as const, name: "x-api-key", accounts };
  const tickets = stage.keep(await startModernUpstream({ eras: "both", protection }));
  const open = stage.keep(await startModernUpstream({ eras: "both" }));
  const hosts = [tickets, open].map(({ url }) => new URL(url).host);
  const gateway = await stage.gateway([...guarded.allow, ...hosts]);
  const admin = new Management(gateway.baseUrl, gateway.adminToken);
  const operator = stage.keep(new Administrator());
  await operator.setUp(gateway.setupLink);
  const guardedId = await addProtected(admin, operator, guarded);
  const add = async (name: string, url: string, rest: object): Promise<string> => {
    const body = { name, connection_type: "http", connection_string: url, tools_to_execute: ["*"], ...rest };
    return (await admin.expect(200, "POST", "/api/mcp/client", body)).mcp_client_id;
  };
  const ticketsId = await add("tickets", tickets.url, {
    auth_type: "per_user_headers",
    per_user_header_keys: ["X-Api-Key"],
    user_headers: { "X-Api-Key": "value-of-admin" },
  });
  const openId = await add("weather", open.url, { auth_type: "none" });
  const mcp_configs = [guardedId, ticketsId, openId].map((id) => ({
    mcp_client_id: id,
    tools_to_execute: ["*"],
  }));
  const { user } = await admin.expect(200, "POST", "/api/users", {
    email: "bob@example.com",
    name: "Bob",
    password,
    mcp_configs,
  });
  const browser = stage.keep(new Browser());
  const signIn = async (): Promise<Page> => {
    await browser.get(`${gateway.baseUrl}${PAGE}`);
    return assertPage(await browser.submitForm(/password/, { email: "bob@example.com", password }), PAGE);
  };
  const show = async (query = "") =>
    textOf(assertPage(await browser.get(`${gateway.baseUrl}${PAGE}${query}`)).html);
  return {
    gateway,
    admin,
    operator,
    guarded,
    accounts,
    guardedId,
    ticketsId,
    openId,
    user,
    browser,
    signIn,
    show,
  };
}

/** From the page, over the gateway's link page, to the provider and back. */
async function connectGuarded(browser: Browser): Promise<Page> {
  await browser.submitForm(/Connect protected/);
  return browser.submitForm((form) => form.method === "post" && "flow" in form.fields);
}

journeys("my connections", (stage) => {
  test("whoever is not signed in signs in first and comes back; nothing is connected, and the page says what there is", async () => {
    const { signIn, browser, gateway } = await openDesk(stage);
    const page = await signIn();
    const text = textOf(page.html);
    expect(text).toMatch(/Bob \(bob@example.com\)/);
    expect(text).toMatch(
      /Not connected 2 .*protected.*tickets.*Nothing to do 1 .*weather .*Needs no account/s,
    );
    expect(text).toMatch(/Apps that act for you .*None yet/s);
    expect((await browser.get(gateway.baseUrl)).html).toContain(`href="${PAGE}"`);
    const stranger = stage.keep(new Browser());
    const refused = await stranger.submit(`${gateway.baseUrl}${PAGE}/end-all`, {});
    expect(refused.status).toBe(401);
  });

  test("an account is connected, renewed, given a second one and disconnected after a question, all without a client", async () => {
    const { signIn, browser, show, guarded, admin, guardedId } = await openDesk(stage);
    await signIn();
    const back = await connectGuarded(browser);
    expect(back.url.pathname).toBe(PAGE);
    expect(textOf(back.html)).toMatch(/protected is connected\..*Connected 1 .*Connected Since just now/s);
    const row = await admin.onlySession();
    expect(row).toMatchObject({ auth_mode: "user", status: "active" });

    await browser.submitForm(/Sign in again: protected/);
    await browser.submitForm((form) => form.method === "post" && "flow" in form.fields);
    expect(await admin.onlySession()).toMatchObject({ id: row.id, created_at: row.created_at });

    const twice = await browser.submitForm((form) => "account" in form.fields, { account: "Not A Label" });
    expect(textOf(twice.html)).toContain("A label has 1 to 40");
    guarded.provider.accountForNextLogin = "alice-at-work";
    await browser.submitForm((form) => "account" in form.fields, { account: "work" });
    const both = await browser.submitForm((form) => form.method === "post" && "flow" in form.fields);
    expect(textOf(both.html)).toMatch(
      /Connected Since just now, used unless an app names another.*Connected as “work”/s,
    );
    await browser.submitForm((form) => "account" in form.fields, { account: "work" });
    expect(textOf(browser.page!.html)).toContain("There is an account with this label at protected already");

    const workLink = () => {
      const [last] = [
        ...browser.page!.html.matchAll(/href="([^"]*)" aria-label="Disconnect protected work"/g),
      ];
      return last![1]!.replaceAll("&amp;", "&");
    };
    const question = await browser.click(workLink());
    expect(textOf(question.html)).toContain("Disconnect work of protected?");
    await browser.click(/Keep it/);
    await browser.click(workLink());
    const gone = await browser.submitForm(/disconnect/);
    expect(textOf(gone.html)).toContain("protected is disconnected.");
    expect(await admin.onlySession()).toMatchObject({ id: row.id });
    expect((await browser.submit(`${PAGE}/disconnect`, { id: row.id })).url.search).toContain("disconnected");
    const again = await browser.submit(`${PAGE}/disconnect`, { id: row.id });
    expect([again.status, again.html.includes("session_not_found")]).toEqual([404, true]);
    expect(await show(`?error=connect_declined&service=${guardedId}`)).toContain(
      "protected was not connected",
    );
    expect(await show("?error=%3Cb%3Ewords&done=words")).not.toContain("words");
  });

  test("a provider that says no, and values that are asked for again, are told in plain words", async () => {
    const { signIn, browser, show, guarded, accounts, ticketsId, admin } = await openDesk(stage);
    await signIn();
    guarded.provider.denyNext("access_denied");
    const denied = await connectGuarded(browser);
    expect(textOf(denied.html)).toMatch(
      /protected was not connected: you said no there.*Not finished, just now Continue/s,
    );

    await browser.submitForm(/Connect tickets/);
    const page = await browser.submitForm((form) => "flow" in form.fields, {
      "header.X-Api-Key": "value-of-bob",
    });
    expect(textOf(page.html)).toMatch(/tickets is connected\./);
    await browser.submitForm(/Edit values: tickets/);
    expect(browser.page!.url.pathname).toBe("/workspace/mcp-sessions/auth");
    const keys = { per_user_header_keys: ["X-Api-Key", "X-Region"] };
    await admin.expect(200, "PUT", `/api/mcp/client/${ticketsId}`, keys);
    expect(await show()).toMatch(/Needs you 1 .*tickets.*Needs values: the service wants other values now/s);
    expect(accounts["value-of-bob"]).toBe("bob");
  });

  test("withdrawn access, a switched-off service and a service that ended the connection", async () => {
    const { signIn, browser, show, admin, guarded, guardedId, ticketsId, user } = await openDesk(stage);
    await signIn();
    await connectGuarded(browser);
    await admin.expect(200, "PUT", `/api/mcp/client/${ticketsId}`, { disabled: true });
    expect(await show()).toMatch(/tickets.*Switched off by an administrator at the moment/s);
    await admin.expect(200, "POST", `/api/mcp/client/${guardedId}/reregister`);
    const [row] = await admin.sessions();
    expect(await show()).toMatch(/Needs you 1 .*Needs signing in again: /s);
    await admin.expect(200, "PUT", `/api/users/${user.id}`, { mcp_configs: [] });
    const text = await show();
    expect(text).toMatch(/Access withdrawn 1 .*protected.*ask an administrator/s);
    expect(text).not.toContain("weather");
    expect((await browser.submit(`${PAGE}/connect`, { service: guardedId })).url.search).toContain(
      "upstream_not_found",
    );
    expect((await browser.submit(`${PAGE}/again`, { id: row!.id })).url.search).toContain("access_lost");
    expect(guarded.provider.revocations).toEqual([]);
  });

  test("apps that act for a person are shown with what they reach, and ended one by one or all at once", async () => {
    const { gateway, signIn, browser, show, admin, user } = await openDesk(stage);
    await signIn();
    const approver = {
      browser,
      allow: async (url: URL | string, redirectUri: string) => {
        await browser.get(url);
        assertPage(await browser.submitForm("/consent/user-id"), "/oauth/consent/mcps");
        return finishConsent(browser, redirectUri);
      },
    };
    const first = await stage.signIn(gateway, approver);
    await first.client.listTools();
    await stage.signIn(gateway, approver);
    await admin.expect(200, "POST", "/api/governance/virtual-keys", {
      name: "Bob's script",
      user_id: user.id,
      mcp_configs: [],
    });
    const text = await show();
    expect(text).toMatch(
      /Apps that act for you 2 .*An app on a computer.*May use every service you may use.*Allowed just now/s,
    );
    expect(text).toMatch(/Your virtual keys 1 .*Bob's script.*In use/s);
    await browser.click(/\/end\?/);
    const page = await browser.submitForm(/\/end/);
    expect(textOf(page.html)).toMatch(/The app cannot act for you any more\..*Apps that act for you 1 /s);
    const grants = async () => (await admin.expect(200, "GET", "/api/oauth2/sessions")).total_count;
    expect(await grants()).toBe(1);
    await browser.get(`${gateway.baseUrl}${PAGE}/end-all`);
    expect(textOf((await browser.submitForm(/end-all/)).html)).toContain("No app can act for you any more");
    expect(await grants()).toBe(0);
  });

  test("what belongs to somebody else is 404 there, also for an administrator, and a foreign page changes nothing (ID-02)", async () => {
    const { gateway, signIn, browser, operator, admin } = await openDesk(stage);
    await signIn();
    await connectGuarded(browser);
    const row = await admin.onlySession();
    const theirs = operator.browser;
    await theirs.get(`${gateway.baseUrl}${PAGE}`);
    for (const step of ["again", "disconnect", "end"]) {
      const answer = await theirs.submit(`${PAGE}/${step}`, { id: row.id });
      expect([step, answer.status]).toEqual([step, 404]);
    }
    expect((await theirs.get(`${gateway.baseUrl}${PAGE}/disconnect?id=${row.id}`)).status).toBe(404);
    const from = "https://evil.example.com/";
    const forged = await browser.submit(`${gateway.baseUrl}${PAGE}/disconnect`, { id: row.id }, { from });
    expect(forged.status).toBe(403);
    expect(await admin.onlySession()).toMatchObject({ id: row.id });
  });
});
