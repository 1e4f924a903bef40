import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { startGateway } from "../support/gateway.ts";
import { openWindow } from "./chromium.ts";
import { API_KEY, openHouse } from "./five-upstreams.ts";
import { password, Studio } from "./studio.ts";

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
const file = join(folder, "screens.db");
const house = await openHouse(`sqlite:${file}`);
await using window = await openWindow({ ignoreHTTPSErrors: true });
const studio = new Studio(house, await window.context.newPage(), folder);
const setupLink = (await house.gateway.gateway.setupLink()) ?? "";
await studio.setLimits(10_000);
try {
  await emptyGateway();
  await ownPages();
  await consentPages();
  await nativeConsent();
  await linkPages();
  await anotherAccount();
  await myConnections();
  await withoutAccount();
  await manyServices();
  await devicePages();
  await errorPages();
} finally {
  await house.close();
}

/** Nothing is configured yet. */
async function emptyGateway(): Promise<void> {
  const empty = await startGateway();
  const other = await window.context.newPage();
  await other.goto((await empty.gateway.setupLink()) ?? "");
  await studio.signIn("ada@example.com", other);
  await studio.shoot("03-first-page-nothing-configured", other);
  await other.goto(await studio.plainAuthorizeUrl(empty.url));
  await studio.press('form[action$="/user-id"] button', other);
  await studio.shoot("26-services-none-at-all", other);
  await window.context.clearCookies();
  await other.close();
  await empty.stop();
}

async function ownPages(): Promise<void> {
  await studio.page.goto(house.url);
  await studio.shoot("01-first-page-no-administrator");
  await studio.page.goto(setupLink);
  await studio.shoot("02-set-up");
  await studio.page.goto(`${house.url}/setup?error=invalid_password`);
  await studio.shoot("02-set-up-refused");
  await studio.signIn("ada@example.com");
  await studio.shoot("03-first-page-administrator");
  await studio.page.context().clearCookies();
  await studio.page.goto(setupLink);
  await studio.shoot("02-set-up-link-used");
  await studio.page.goto(house.url);
  await studio.shoot("04-first-page-signed-out");
  await studio.page.goto(`${house.url}/login`);
  await studio.shoot("05-sign-in");
  await studio.page.fill("#email", "ada@example.com");
  await studio.page.fill("#password", "something else that is wrong");
  await studio.press("main form button");
  await studio.shoot("06-sign-in-refused");
  type Made = { setup: { url: string } };
  const made = await house.gateway.admin<Made>("POST", "/api/users", {
    email: "bob@example.com",
    name: "Bob",
  });
  const { url } = made.setup;
  await studio.page.goto(url);
  await studio.shoot("07-password-link");
  await studio.page.goto(`${house.url}/password?error=invalid_password`);
  await studio.shoot("07-password-refused");
  await studio.page.fill("#password", password);
  await studio.press("main form button");
  await studio.shoot("08-first-page-member");
  await studio.page.context().clearCookies();
  await studio.page.goto(url);
  await studio.shoot("07-password-link-used");
}

async function consentPages(): Promise<void> {
  await studio.page.goto(await house.authorizeUrl());
  await studio.shoot("10-consent-signed-out");
  await studio.page.fill("#vk", "sk-bf-wrong");
  await studio.press('form[action$="/consent/vk"] button');
  await studio.shoot("11-consent-wrong-key");
  await studio.press("main a.button");
  await studio.signIn("ada@example.com");
  await studio.shoot("12-consent-signed-in");
  await studio.page.click("summary");
  await studio.shoot("12-consent-signed-in-key");
  await studio.page.goto(`${studio.page.url().replace(/&error=.*/, "")}&error=address_not_allowed`);
  await studio.shoot("12-consent-address-not-allowed");
  await studio.press('form[action$="/user-id"] button');
  await studio.shoot("13-services-none");
  await studio.connect("github");
  await studio.shoot("14-services-one");
  house.providers.linear.denyNext();
  await studio.press("[aria-label='Connect linear']");
  await studio.shoot("15-services-declined");
  await studio.press("[aria-label='Connect tickets']");
  await studio.shoot("16-header-form-consent");
  await studio.page.fill("[name='header.X-Api-Key']", "wrong");
  await studio.press("main form button");
  await studio.shoot("17-header-form-refused");
  await studio.page.fill("[name='header.X-Api-Key']", API_KEY);
  await studio.press("main form button");
  await studio.shoot("18-services-mixed");
  await studio.press(".lead a");
  await studio.shoot("19-consent-back");
  await studio.page.goBack();
  await studio.press('form[action$="/submit"] button');
  await studio.page.waitForURL(`${house.client.url}/**`);
}

async function nativeConsent(): Promise<void> {
  const redirectUri = "cursor://anysphere.cursor-mcp/oauth/callback";
  await studio.page.goto(await house.authorizeUrl({ name: "Cursor", redirectUri }));
  await studio.shoot("20-consent-native");
  await studio.press('form[action$="/user-id"] button');
  await studio.shoot("21-services-next-visit");
  for (const name of ["linear", "drive", "notion"] as const) await studio.connect(name);
  await studio.shoot("22-services-all");
  const services = studio.page.url();
  await studio.page.click('form[action$="/submit"] button');
  await studio.page.waitForTimeout(500);
  // A tab that a question about another application stands in front of goes on to nothing.
  await studio.page.close();
  studio.page = await window.context.newPage();
  await studio.page.goto(services);
  await studio.shoot("24-already-done");
  const name = "A web client with a rather long name";
  await studio.page.goto(await house.authorizeUrl({ name, redirectUri: "https://client.example.com/cb" }));
  await studio.shoot("25-consent-website");
}

async function linkPages(): Promise<void> {
  const link = await studio.reauth("github");
  await studio.page.goto(link);
  await studio.shoot("30-link-signed-in");
  await studio.page.context().clearCookies();
  await studio.page.goto(link);
  await studio.shoot("30-link-sign-in-first");
  await studio.press("main a.button");
  await studio.signIn("bob@example.com");
  await studio.shoot("30-link-of-another-person");
  await studio.page.context().clearCookies();
  await studio.page.goto(await studio.callLink("github"));
  await studio.shoot("31-link-virtual-key");
  await studio.page.fill("#vk", "sk-bf-wrong");
  await studio.press("main form button");
  await studio.shoot("32-link-wrong-key");
  house.providers.github.denyNext();
  await studio.page.fill("#vk", house.key.value);
  await studio.press("main form button");
  await studio.shoot("33-not-connected");
  await studio.press("main a.button");
  await studio.page.fill("#vk", house.key.value);
  await studio.press("main form button");
  await studio.passProvider("github");
  await studio.shoot("34-connected");
  await studio.page.goto(await studio.callLink("tickets"));
  await studio.shoot("35-link-headers-key");
  await studio.page.fill("#vk", house.key.value);
  await studio.page.fill("[name='header.X-Api-Key']", "wrong");
  await studio.press("main form button");
  await studio.shoot("35-link-headers-refused");
  await studio.page.fill("#vk", house.key.value);
  await studio.page.fill("[name='header.X-Api-Key']", API_KEY);
  await studio.press("main form button");
  await studio.shoot("36-connected-headers");
  await studio.page.goto(`${house.url}/login`);
  await studio.signIn("ada@example.com");
  await studio.page.goto(await studio.reauth("tickets"));
  await studio.shoot("35-link-headers-user");
  type Upstream = { authorize_url?: string };
  const path = `/api/mcp/client/${house.upstreamIds.github}/initiate-verification`;
  const made = await house.gateway.admin<Upstream>("POST", path, {});
  await studio.page.goto(made.authorize_url ?? house.url);
  await studio.shoot("37-link-tool-list");
  const shared = await house.gateway.admin<Upstream>("POST", "/api/mcp/client", {
    name: "calendar",
    connection_type: "http",
    connection_string: await studio.addressOf("github"),
    auth_type: "oauth",
    tools_to_execute: ["*"],
  });
  await studio.page.goto(shared.authorize_url ?? house.url);
  await studio.shoot("37-link-shared");
}

async function anotherAccount(): Promise<void> {
  const again = async (sub: string) => {
    await studio.page.goto(await studio.reauth("notion"));
    await studio.press("main form button");
    await studio.passProvider("notion", sub);
  };
  await again("one");
  await again("two");
  await studio.shoot("38-another-account");
  await studio.press("[value=keep]");
  await studio.shoot("38-kept");
  await again("two");
  await studio.press("[value=replace]");
  await studio.shoot("38-replaced");
  await studio.page.goto(await house.authorizeUrl());
  await studio.press('form[action$="/user-id"] button');
  await studio.connect("notion", "a-person-with-a-rather-long-address-that-never-ends");
  await studio.shoot("39-another-account-consent");
}

/** A person's own page, as Ada has it by now, with a second account and one that she declined. */
async function myConnections(): Promise<void> {
  const { github } = house.upstreamIds;
  await studio.page.goto(`${house.url}/connections`);
  await studio.shoot("43-connections");
  await studio.page.click(`details:has([id='label-${github}']) summary`);
  await studio.page.fill(`[id='label-${github}']`, "work");
  await studio.shoot("43-connections-another-account");
  await studio.press(`details:has([id='label-${github}']) button`);
  await studio.press("main form button");
  await studio.passProvider("github", "ada-at-work");
  await studio.shoot("44-connections-two-accounts");
  house.providers.github.denyNext();
  await studio.press("[aria-label='Sign in again: github work']");
  await studio.press("main form button");
  await studio.shoot("44-connections-declined");
  await studio.press("[aria-label='Disconnect github work']");
  await studio.shoot("45-disconnect");
  await studio.press("main form button");
  await studio.shoot("45-disconnected");
  await studio.press("a[href^='/connections/end?']");
  await studio.shoot("46-end-app");
}

/** Where the gateway lets people go without an account. */
async function withoutAccount(): Promise<void> {
  await house.gateway.admin("PUT", "/api/config", { client: { enforce_auth_on_inference: false } });
  await studio.page.goto(await house.authorizeUrl());
  await studio.shoot("40-consent-may-skip-signed-in");
  await studio.page.context().clearCookies();
  await studio.page.goto(await house.authorizeUrl());
  await studio.shoot("40-consent-may-skip");
  await studio.press('form[action$="/skip"] button');
  await studio.shoot("41-services-skipped");
  const session = { "x-bf-mcp-session-id": "a-session-of-a-script-that-is-long-enough-to-be-one" };
  await studio.page.goto(await studio.callLink("github", session));
  await studio.shoot("42-link-session");
  await studio.page.goto(await studio.callLink("tickets", session));
  await studio.shoot("42-link-session-headers");
  await house.gateway.admin("PUT", "/api/config", { client: { enforce_auth_on_inference: true } });
}

/** Twelve services, and names that do not break. */
async function manyServices(): Promise<void> {
  const connection_string = await studio.addressOf("tickets");
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
  await studio.callLink("github");
  await studio.page.goto(await house.authorizeUrl({ name: "C".repeat(60) }));
  await studio.shoot("50-consent-long-name");
  await studio.page.fill("#vk", house.key.value);
  await studio.press('form[action$="/consent/vk"] button');
  await studio.shoot("51-services-twelve");
  await studio.press(`[aria-label='Connect ${longName}']`);
  await studio.shoot("52-header-form-long-names");
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
  await studio.page.goto(await house.authorizeUrl());
  await studio.page.fill("#vk", key.virtual_key.value);
  await studio.press('form[action$="/consent/vk"] button');
  await studio.shoot("53-services-key-of-a-person");
  await studio.page.goto(house.url);
  await studio.page.goto(`${house.url}/login`);
  await studio.signIn("ada@example.com");
  await studio.shoot("54-first-page-twelve");
  await studio.page.goto(`${house.url}/connections`);
  await studio.shoot("55-connections-twelve");
}

/** What a person meets who allows a terminal on another machine. */
async function devicePages(): Promise<void> {
  const post = async (path: string, init: RequestInit) =>
    (await fetch(house.url + path, { method: "POST", ...init })).json() as Promise<Record<string, string>>;
  const { client_id = "" } = await post("/api/oauth/per-user/register", {
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      client_name: "mcp-remote",
      grant_types: ["urn:ietf:params:oauth:grant-type:device_code"],
    }),
  });
  const codes = await post("/api/oauth/per-user/device_authorization", {
    body: new URLSearchParams({ client_id }),
  });
  await studio.page.goto(`${house.url}/device?error=unknown_code`);
  await studio.shoot("60-device-wrong-code");
  await studio.page.goto(codes.verification_uri_complete ?? "");
  await studio.shoot("60-device-link");
  await studio.press("main form button");
  await studio.shoot("61-device-asked");
  await studio.press('form[action$="/device/allow"] button');
  await studio.shoot("62-device-consent");
  await studio.press('form[action$="/consent/deny"] button');
  await studio.shoot("63-device-refused");
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
    await studio.page.goto(house.url + path);
    await studio.shoot(name);
  }
  const url = new URL(await house.authorizeUrl());
  url.searchParams.delete("code_challenge");
  await studio.page.goto(url.href);
  await studio.shoot("65-client-at-fault");
  const wrong = new URL(await house.authorizeUrl());
  wrong.searchParams.set("redirect_uri", "https://elsewhere.example.com/cb");
  await studio.page.goto(wrong.href);
  await studio.shoot("65-wrong-redirect-uri");
  await studio.page.goto(await house.authorizeUrl());
  const consent = studio.page.url();
  await studio.page.context().clearCookies();
  await studio.page.goto(consent);
  await studio.shoot("66-other-browser");
  await studio.page.goto(await house.authorizeUrl());
  const link = await studio.callLink("linear");
  house.advance(16 * 60_000);
  await studio.page.reload();
  await studio.shoot("67-consent-expired");
  await studio.page.goto(link);
  await studio.shoot("68-link-expired");
  await studio.setLimits(1);
  await studio.page.goto(`${house.url}/login`);
  await studio.page.reload();
  await studio.shoot("69-too-many");
  house.advance(5 * 60_000);
  const database = new DatabaseSync(file);
  database.exec("PRAGMA busy_timeout = 5000; DROP TABLE flows");
  database.close();
  await studio.page.goto(link);
  await studio.shoot("70-our-fault");
}
