import { expect, test } from "vitest";
import { Browser, type Page } from "../peers/browser.ts";
import { startScriptedUpstream } from "../peers/scripted-upstream.ts";
import { readJson } from "../support/read.ts";
import { addProtected } from "./steps/main-job.ts";
import { Management } from "./steps/management.ts";
import { linkOf, openWithBearer, textOf } from "./steps/mcp-client.ts";
import { startProtectedUpstream } from "./steps/peers.ts";
import { Administrator, finishConsent } from "./steps/person.ts";
import { journeys, type Stage, type TestGateway } from "./steps/stage.ts";

const DEVICE = "urn:ietf:params:oauth:grant-type:device_code";
const tool = { name: "protected-whoami" };
/** Longer than a call takes on a busy machine, shorter than anything here waits for a person. */
const AT_ONCE_MS = 4_000;

async function openSite(stage: Stage) {
  const guarded = stage.keep(await startProtectedUpstream({ deviceFlow: true }));
  const plain = stage.keep(await startScriptedUpstream());
  const gateway = await stage.gateway([...guarded.allow, new URL(plain.url).host]);
  const admin = new Management(gateway.baseUrl, gateway.adminToken);
  const operator = stage.keep(new Administrator());
  await operator.setUp(gateway.setupLink);
  const upstreamId = await addProtected(admin, operator, guarded, { allow_on_all_virtual_keys: true });
  return { guarded, plain, gateway, admin, upstreamId, browser: () => stage.keep(new Browser()) };
}

/** A program on a computer without a browser: everything it needs is in what it prints. */
async function overSsh({ baseUrl }: TestGateway) {
  const send = (path: string, body: Record<string, string>) =>
    fetch(baseUrl + path, { method: "POST", body: new URLSearchParams(body) });
  const registered = await fetch(`${baseUrl}/api/oauth/per-user/register`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ client_name: "Terminal", grant_types: [DEVICE, "refresh_token"] }),
  });
  const { client_id } = await readJson(registered);
  const codes = await readJson(await send("/api/oauth/per-user/device_authorization", { client_id }));
  const token = () =>
    send("/api/oauth/per-user/token", { grant_type: DEVICE, client_id, device_code: codes.device_code });
  return { link: codes.verification_uri_complete as string, token };
}

const codeOn = (page: Page) => /<code[^>]*>([^<]+)<\/code>/.exec(page.html)?.[1] ?? "";

journeys("no browser here", (stage) => {
  test("an SSH session connects the gateway and an upstream with two pasted strings, across a restart", async () => {
    const { guarded, gateway, admin, upstreamId, browser } = await openSite(stage);
    const key = await admin.createKey("Alice", [upstreamId]);
    const ssh = await overSsh(gateway);
    // The first string: the link, on a laptop that cannot reach the provider's redirects.
    const laptop = browser();
    await laptop.get(ssh.link);
    await laptop.submitForm("/device");
    expect((await laptop.submitForm("/device/allow")).url.pathname).toBe("/oauth/consent");
    await laptop.submitForm("/consent/vk", { vk: key.value });
    await laptop.click(/oauth\/consent\/code/);
    const shown = await laptop.submitForm(/sessions\/code/);
    // The second: the code, at the provider, on a phone.
    const phone = browser();
    await phone.get(`${guarded.provider.issuer}/device`);
    await phone.submitForm(/device/, { user_code: codeOn(shown) });
    await phone.submitForm(/device/, { confirm: "yes" });
    await gateway.close();
    const again = await stage.open(gateway.options);
    stage.advance(6_000);
    const back = await laptop.click(/waiting=1/);
    expect(back.url.pathname).toBe("/oauth/consent/mcps");
    expect(back.html).toContain("is connected");
    await laptop.submitForm("/consent/submit");
    const answer = await ssh.token();
    expect(answer.status).toBe(200);
    const { access_token } = await readJson(answer);
    const client = stage.keep(await openWithBearer(again.baseUrl, access_token));
    expect(textOf(await client.callTool(tool))).toBe("alice");
  });

  test("whoever has nobody to ask is told at once, with the link and everything a program needs", async () => {
    const { plain, gateway, admin, upstreamId } = await openSite(stage);
    const { mcp_client_id: ticketsId } = await admin.createUpstream({
      name: "tickets",
      connection_string: plain.url,
      auth_type: "none",
      allow_on_all_virtual_keys: true,
    });
    await admin.refreshTools(ticketsId);
    const { service_account } = await admin.expect(200, "POST", "/api/service-accounts", { name: "nightly" });
    const { virtual_key } = await admin.expect(200, "POST", "/api/governance/virtual-keys", {
      name: "cron",
      user_id: service_account.id,
      mcp_configs: [{ mcp_client_id: upstreamId, tools_to_execute: ["*"] }],
    });
    const begun = performance.now();
    for (const era of ["modern", "legacy"] as const) {
      const script = stage.keep(await openWithBearer(gateway.baseUrl, virtual_key.value, { era }));
      const result = await script.callTool(tool);
      const link = linkOf(result, "protected");
      expect(result._meta?.mcp_auth_required).toEqual({
        kind: "oauth",
        mcp_client_id: upstreamId,
        mcp_client_name: "protected",
        message: textOf(result),
        session_id: new URL(link).searchParams.get("flow"),
        authorize_url: link,
        also_required: [],
      });
    }
    const answer = await fetch(`${gateway.baseUrl}/v1/mcp/tool/execute`, {
      method: "POST",
      headers: { authorization: `Bearer ${virtual_key.value}`, "content-type": "application/json" },
      body: JSON.stringify({ id: "c1", function: { name: tool.name, arguments: "{}" } }),
    });
    const { extra_fields } = await readJson(answer);
    expect(extra_fields.mcp_auth_required).toMatchObject({
      kind: "oauth",
      mcp_client_id: upstreamId,
      authorize_url: expect.stringContaining("/workspace/mcp-sessions/auth?flow="),
    });
    expect(performance.now() - begun).toBeLessThan(AT_ONCE_MS);
  });
});

journeys("who it is at the consent", (stage) => {
  test("CB-24 signed in as somebody else: seen, refused with one button, and the same consent goes on", async () => {
    const { gateway, admin } = await openSite(stage);
    const person = { email: "ada@example.com", name: "Ada", password: "correct horse battery" };
    await admin.expect(200, "POST", "/api/users", person);
    const operator = stage.keep(new Administrator());
    const tab = operator.browser;
    await tab.get(`${gateway.baseUrl}/login`);
    await tab.submitForm("/login", {
      email: "admin@example.com",
      password: "correct horse battery staple",
    });
    await stage.signIn(gateway, {
      browser: tab,
      allow: async (url, redirectUri) => {
        const consent = await tab.get(url);
        expect(consent.html).toContain("admin@example.com, signed in with a password");
        const login = await tab.submitForm("/consent/not-you");
        expect(login.url.pathname).toBe("/login");
        expect((await tab.get(`${gateway.baseUrl}/api/session`)).status).toBe(401);
        await tab.get(login.url);
        const back = await tab.submitForm("/login", { email: person.email, password: person.password });
        expect([back.url.pathname, back.url.search]).toEqual([consent.url.pathname, consent.url.search]);
        expect(back.html).toContain("ada@example.com");
        await tab.submitForm("/consent/user-id");
        return finishConsent(tab, redirectUri);
      },
    });
    const { sessions } = await admin.expect(200, "GET", "/api/oauth2/sessions");
    expect(sessions).toMatchObject([{ bf_mode: "user", bf_sub_display: expect.stringContaining("Ada") }]);
  });
});
