import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { Page } from "playwright-core";
import { startGateway } from "../support/gateway.ts";
import { readJson } from "../support/read.ts";
import { openWindow } from "./chromium.ts";
import { API_KEY, type OAuthName, openHouse } from "./five-upstreams.ts";
import { lookFaults } from "./looks.ts";

/*
 * A picture of every page a person can meet, at 360 and at 1280 pixels, light and dark, to be looked at; what can be
 * measured (contrast, what is cut off, small targets) is printed. Run by hand:
 *   node test/browser/screens.ts <folder>
 */

const [, , folder] = process.argv;
if (folder === undefined) throw new Error("Say which folder the pictures go to.");
mkdirSync(folder, { recursive: true });

/** The longest a name of an upstream may be, and nothing in it to break a line at. */
const longName = "A_service_whose_name_is_sixty_characters_long_and_unbroken_1";
const password = "correct horse battery staple";
const file = join(folder, "screens.db");
const house = await openHouse(`sqlite:${file}`);
await using window = await openWindow({ ignoreHTTPSErrors: true });
let page = await window.context.newPage();
const setupLink = (await house.gateway.gateway.setupLink()) ?? "";
const allLimits = ["guess", "register", "authorize", "token", "api"];
await setLimits(10_000);
try {
  await emptyGateway();
  await ownPages();
  await consentPages();
  await nativeConsent();
  await linkPages();
  await anotherAccount();
  await withoutAccount();
  await manyServices();
  await errorPages();
} finally {
  await house.close();
}

/** Clicks and waits for the page it leads to. */
async function press(selector: string, at: Page = page): Promise<void> {
  await Promise.all([at.waitForEvent("domcontentloaded"), at.click(selector)]);
}

async function shoot(name: string, at: Page = page): Promise<void> {
  for (const colorScheme of ["light", "dark"] as const) {
    await at.emulateMedia({ colorScheme });
    for (const width of [360, 1280]) {
      await at.setViewportSize({ width, height: width === 360 ? 740 : 800 });
      await at.screenshot({ path: join(folder!, `${name}-${colorScheme}-${width}.png`), fullPage: true });
      for (const fault of await lookFaults(at)) console.log(`${name} ${colorScheme} ${width}: ${fault}`);
    }
  }
  await at.emulateMedia({ colorScheme: "light" });
}

async function setLimits(requests: number): Promise<void> {
  const limits = Object.fromEntries(allLimits.map((name) => [name, { requests, window_seconds: 60 }]));
  await house.gateway.admin("PUT", "/api/config", { limits });
}

async function signIn(email: string, at: Page = page): Promise<void> {
  await at.fill("#email", email);
  await at.fill("#password", password);
  await press("main form button", at);
}

/** Nothing is configured yet. */
async function emptyGateway(): Promise<void> {
  const empty = await startGateway();
  const other = await window.context.newPage();
  await other.goto((await empty.gateway.setupLink()) ?? "");
  await signIn("ada@example.com", other);
  await shoot("03-first-page-nothing-configured", other);
  await other.goto(await plainAuthorizeUrl(empty.url));
  await press('form[action$="/user-id"] button', other);
  await shoot("26-services-none-at-all", other);
  await window.context.clearCookies();
  await other.close();
  await empty.stop();
}

async function plainAuthorizeUrl(url: string): Promise<string> {
  const redirect_uri = `${house.client.url}/cb`;
  const registered = await fetch(`${url}/api/oauth/per-user/register`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ client_name: "Claude Code", redirect_uris: [redirect_uri] }),
  });
  const { client_id } = await readJson(registered);
  const query = { response_type: "code", client_id, redirect_uri, code_challenge: "c".repeat(43) };
  return `${url}/api/oauth/per-user/authorize?${new URLSearchParams({ ...query, code_challenge_method: "S256" })}`;
}

async function ownPages(): Promise<void> {
  await page.goto(house.url);
  await shoot("01-first-page-no-administrator");
  await page.goto(setupLink);
  await shoot("02-set-up");
  await page.goto(`${house.url}/setup?error=invalid_password`);
  await shoot("02-set-up-refused");
  await signIn("ada@example.com");
  await shoot("03-first-page-administrator");
  await page.context().clearCookies();
  await page.goto(setupLink);
  await shoot("02-set-up-link-used");
  await page.goto(house.url);
  await shoot("04-first-page-signed-out");
  await page.goto(`${house.url}/login`);
  await shoot("05-sign-in");
  await page.fill("#email", "ada@example.com");
  await page.fill("#password", "something else that is wrong");
  await press("main form button");
  await shoot("06-sign-in-refused");
  type Made = { setup: { url: string } };
  const made = await house.gateway.admin<Made>("POST", "/api/users", {
    email: "bob@example.com",
    name: "Bob",
  });
  const { url } = made.setup;
  await page.goto(url);
  await shoot("07-password-link");
  await page.goto(`${house.url}/password?error=invalid_password`);
  await shoot("07-password-refused");
  await page.fill("#password", password);
  await press("main form button");
  await shoot("08-first-page-member");
  await page.context().clearCookies();
  await page.goto(url);
  await shoot("07-password-link-used");
}

async function consentPages(): Promise<void> {
  await page.goto(await house.authorizeUrl());
  await shoot("10-consent-signed-out");
  await page.fill("#vk", "sk-bf-wrong");
  await press('form[action$="/consent/vk"] button');
  await shoot("11-consent-wrong-key");
  await press("main a.button");
  await signIn("ada@example.com");
  await shoot("12-consent-signed-in");
  await page.click("summary");
  await shoot("12-consent-signed-in-key");
  await page.goto(`${page.url().replace(/&error=.*/, "")}&error=address_not_allowed`);
  await shoot("12-consent-address-not-allowed");
  await press('form[action$="/user-id"] button');
  await shoot("13-services-none");
  await connect("github");
  await shoot("14-services-one");
  house.providers.linear.denyNext();
  await press("[aria-label='Connect linear']");
  await shoot("15-services-declined");
  await press("[aria-label='Connect tickets']");
  await shoot("16-header-form-consent");
  await page.fill("[name='header.X-Api-Key']", "wrong");
  await press("main form button");
  await shoot("17-header-form-refused");
  await page.fill("[name='header.X-Api-Key']", API_KEY);
  await press("main form button");
  await shoot("18-services-mixed");
  await press(".lead a");
  await shoot("19-consent-back");
  await page.goBack();
  await press('form[action$="/submit"] button');
  await page.waitForURL(`${house.client.url}/**`);
}

async function nativeConsent(): Promise<void> {
  const redirectUri = "cursor://anysphere.cursor-mcp/oauth/callback";
  await page.goto(await house.authorizeUrl({ name: "Cursor", redirectUri }));
  await shoot("20-consent-native");
  await press('form[action$="/user-id"] button');
  await shoot("21-services-next-visit");
  for (const name of ["linear", "drive", "notion"] as const) await connect(name);
  await shoot("22-services-all");
  const services = page.url();
  await page.click('form[action$="/submit"] button');
  await page.waitForTimeout(500);
  // A tab that a question about another application stands in front of goes on to nothing.
  await page.close();
  page = await window.context.newPage();
  await page.goto(services);
  await shoot("24-already-done");
  const name = "A web client with a rather long name";
  await page.goto(await house.authorizeUrl({ name, redirectUri: "https://client.example.com/cb" }));
  await shoot("25-consent-website");
}

/** Through the provider's pages. `sub`: what it then says whose account it is. */
async function connect(name: OAuthName, sub?: string): Promise<void> {
  await press(`[aria-label='Connect ${name}'], [aria-label='Replace ${name}']`);
  await passProvider(name, sub);
}

async function passProvider(name: OAuthName, sub?: string): Promise<void> {
  const provider = house.providers[name];
  if (sub !== undefined) {
    const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const aud = provider.lastAuthorize!.client_id;
    const exp = Math.floor(Date.now() / 1000) + 600;
    const claims = { iss: provider.issuer, aud, exp, sub, email: `${sub}@example.com` };
    provider.failNextToken({
      status: 200,
      body: {
        access_token: `access-of-${sub}`,
        refresh_token: `refresh-of-${sub}`,
        token_type: "Bearer",
        id_token: `${part({ alg: "none" })}.${part(claims)}.`,
      },
    });
  }
  for (let pages = 0; page.url().startsWith(provider.issuer) && pages < 5; pages++) await press("button");
}

async function linkPages(): Promise<void> {
  const link = await reauth("github");
  await page.goto(link);
  await shoot("30-link-signed-in");
  await page.context().clearCookies();
  await page.goto(link);
  await shoot("30-link-sign-in-first");
  await press("main a.button");
  await signIn("bob@example.com");
  await shoot("30-link-of-another-person");
  await page.context().clearCookies();
  await page.goto(await callLink("github"));
  await shoot("31-link-virtual-key");
  await page.fill("#vk", "sk-bf-wrong");
  await press("main form button");
  await shoot("32-link-wrong-key");
  house.providers.github.denyNext();
  await page.fill("#vk", house.key.value);
  await press("main form button");
  await shoot("33-not-connected");
  await press("main a.button");
  await page.fill("#vk", house.key.value);
  await press("main form button");
  await passProvider("github");
  await shoot("34-connected");
  await page.goto(await callLink("tickets"));
  await shoot("35-link-headers-key");
  await page.fill("#vk", house.key.value);
  await page.fill("[name='header.X-Api-Key']", "wrong");
  await press("main form button");
  await shoot("35-link-headers-refused");
  await page.fill("#vk", house.key.value);
  await page.fill("[name='header.X-Api-Key']", API_KEY);
  await press("main form button");
  await shoot("36-connected-headers");
  await page.goto(`${house.url}/login`);
  await signIn("ada@example.com");
  await page.goto(await reauth("tickets"));
  await shoot("35-link-headers-user");
  type Upstream = { authorize_url?: string };
  const path = `/api/mcp/client/${house.upstreamIds.github}/initiate-verification`;
  const made = await house.gateway.admin<Upstream>("POST", path, {});
  await page.goto(made.authorize_url ?? house.url);
  await shoot("37-link-tool-list");
  const shared = await house.gateway.admin<Upstream>("POST", "/api/mcp/client", {
    name: "calendar",
    connection_type: "http",
    connection_string: await addressOf("github"),
    auth_type: "oauth",
    tools_to_execute: ["*"],
  });
  await page.goto(shared.authorize_url ?? house.url);
  await shoot("37-link-shared");
}

async function anotherAccount(): Promise<void> {
  const again = async (sub: string) => {
    await page.goto(await reauth("notion"));
    await press("main form button");
    await passProvider("notion", sub);
  };
  await again("one");
  await again("two");
  await shoot("38-another-account");
  await press("[value=keep]");
  await shoot("38-kept");
  await again("two");
  await press("[value=replace]");
  await shoot("38-replaced");
  await page.goto(await house.authorizeUrl());
  await press('form[action$="/user-id"] button');
  await connect("notion", "a-person-with-a-rather-long-address-that-never-ends");
  await shoot("39-another-account-consent");
}

/** Where the gateway lets people go without an account. */
async function withoutAccount(): Promise<void> {
  await house.gateway.admin("PUT", "/api/config", { client: { enforce_auth_on_inference: false } });
  await page.goto(await house.authorizeUrl());
  await shoot("40-consent-may-skip-signed-in");
  await page.context().clearCookies();
  await page.goto(await house.authorizeUrl());
  await shoot("40-consent-may-skip");
  await press('form[action$="/skip"] button');
  await shoot("41-services-skipped");
  const session = { "x-bf-mcp-session-id": "a-session-of-a-script-that-is-long-enough-to-be-one" };
  await page.goto(await callLink("github", session));
  await shoot("42-link-session");
  await page.goto(await callLink("tickets", session));
  await shoot("42-link-session-headers");
  await house.gateway.admin("PUT", "/api/config", { client: { enforce_auth_on_inference: true } });
}

/** Twelve services, and names that do not break. */
async function manyServices(): Promise<void> {
  const connection_string = await addressOf("tickets");
  for (const name of [longName, "asana", "atlassian", "figma", "sentry", "slack", "stripe"]) {
    await house.gateway.admin("POST", "/api/mcp/client", {
      name,
      connection_type: "http",
      connection_string,
      auth_type: "per_user_headers",
      per_user_header_keys: [
        "X-Api-Key",
        ...(name === longName ? ["X-A-Header-With-A-Name-That-Is-Longer-Than-A-Phone"] : []),
      ],
      user_headers: {
        "X-Api-Key": API_KEY,
        ...(name === longName ? { "X-A-Header-With-A-Name-That-Is-Longer-Than-A-Phone": "x" } : {}),
      },
      tools_to_execute: ["*"],
      allow_on_all_virtual_keys: true,
    });
  }
  house.providers.github.withdrawGrants();
  await callLink("github");
  await page.goto(await house.authorizeUrl({ name: "C".repeat(60) }));
  await shoot("50-consent-long-name");
  await page.fill("#vk", house.key.value);
  await press('form[action$="/consent/vk"] button');
  await shoot("51-services-twelve");
  await press(`[aria-label='Connect ${longName}']`);
  await shoot("52-header-form-long-names");
  const user = await house.gateway.admin<{ user: { id: string } }>("POST", "/api/users", {
    email: "carol@example.com",
    name: "Carol",
    password,
  });
  type Made = { virtual_key: { value: string } };
  const key = await house.gateway.admin<Made>("POST", "/api/governance/virtual-keys", {
    name: "A key with a name that takes more than one line on a phone",
    user_id: user.user.id,
  });
  await page.goto(await house.authorizeUrl());
  await page.fill("#vk", key.virtual_key.value);
  await press('form[action$="/consent/vk"] button');
  await shoot("53-services-key-of-a-person");
  await page.goto(house.url);
  await page.goto(`${house.url}/login`);
  await signIn("ada@example.com");
  await shoot("54-first-page-twelve");
}

async function addressOf(upstream: string): Promise<string> {
  type Listed = { clients: { config: { connection_string: string; name: string } }[] };
  const { clients } = await house.gateway.admin<Listed>("GET", "/api/mcp/clients");
  return clients.find(({ config }) => config.name === upstream)!.config.connection_string;
}

/** A link to connect again, as the signed-in person's own browser asks for it. */
async function reauth(name: string): Promise<string> {
  const { request } = page.context();
  if (
    !(await request.get(`${house.url}/api/session/is-auth-enabled`).then((answer) => answer.json()))
      .has_valid_token
  )
    throw new Error("not signed in");
  const { sessions } = await (await request.get(`${house.url}/api/mcp/sessions`)).json();
  const row = sessions.find(
    (one: { auth_mode: string; mcp_client: { name: string } }) =>
      one.mcp_client.name === name && one.auth_mode === "user",
  );
  const made = await request.post(`${house.url}/api/mcp/sessions/${row.id}/reauth`);
  return (await made.json()).authorize_url;
}

/** What a call answers with while its caller has not connected this upstream. */
async function callLink(
  name: string,
  caller: Record<string, string> = { authorization: `Bearer ${house.key.value}` },
): Promise<string> {
  const answer = await fetch(`${house.gateway.url}/mcp`, {
    method: "POST",
    headers: {
      ...caller,
      "content-type": "application/json",
      accept: "application/json, text/event-stream",
      "mcp-protocol-version": "2025-11-25",
    },
    body: JSON.stringify({
      jsonrpc: "2.0",
      id: 1,
      method: "tools/call",
      params: { name: `${name}-whoami`, arguments: {} },
    }),
  });
  const text = await answer.text();
  const [link] = /https:[^"\s\\]+/.exec(text) ?? [];
  if (link === undefined) throw new Error(`no link for ${name}: ${text}`);
  return link;
}

async function errorPages(): Promise<void> {
  const shots: [string, string][] = [
    ["60-unknown-link", "/workspace/mcp-sessions/auth?flow=flow_nothing"],
    ["61-unknown-consent", "/oauth/consent?flow_id=flow_aaaaaaaaaaaaaaaaaaaaaa"],
    ["62-invalid-callback", "/api/oauth/callback?state=nothing&code=x"],
    ["63-unknown-client", "/api/oauth/per-user/authorize?client_id=nobody"],
    ["64-not-found", "/nowhere"],
  ];
  for (const [name, path] of shots) {
    await page.goto(house.url + path);
    await shoot(name);
  }
  const url = new URL(await house.authorizeUrl());
  url.searchParams.delete("code_challenge");
  await page.goto(url.href);
  await shoot("65-client-at-fault");
  const wrong = new URL(await house.authorizeUrl());
  wrong.searchParams.set("redirect_uri", "https://elsewhere.example.com/cb");
  await page.goto(wrong.href);
  await shoot("65-wrong-redirect-uri");
  await page.goto(await house.authorizeUrl());
  const consent = page.url();
  await page.context().clearCookies();
  await page.goto(consent);
  await shoot("66-other-browser");
  await page.goto(await house.authorizeUrl());
  const link = await callLink("linear");
  house.advance(16 * 60_000);
  await page.reload();
  await shoot("67-consent-expired");
  await page.goto(link);
  await shoot("68-link-expired");
  await setLimits(1);
  await page.goto(`${house.url}/login`);
  await page.reload();
  await shoot("69-too-many");
  house.advance(5 * 60_000);
  const database = new DatabaseSync(file);
  database.exec("PRAGMA busy_timeout = 5000; DROP TABLE flows");
  database.close();
  await page.goto(link);
  await shoot("70-our-fault");
}
