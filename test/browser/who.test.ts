import { createHash } from "node:crypto";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Browser } from "../peers/browser.ts";
import { type AuthorizationServer, startAuthorizationServer } from "../peers/identity-provider.ts";
import { startLoopbackServer } from "../peers/loopback-server.ts";
import { type ModernUpstream, startModernUpstream } from "../peers/modern-upstream.ts";
import { type RunningGateway, startGateway } from "../support/gateway.ts";
import { readJson } from "../support/read.ts";
import { chromiumPath, openWindow } from "./chromium.ts";

const password = "correct horse battery";

describe.skipIf(chromiumPath === undefined)("who somebody is, in a real browser", () => {
  let provider: AuthorizationServer;
  let upstream: ModernUpstream;
  let gateway: RunningGateway;
  let client: { url: string; close(): Promise<void> };
  let later = 0;

  beforeAll(async () => {
    provider = await startAuthorizationServer({ deviceFlow: true });
    upstream = await startModernUpstream({ protection: { kind: "oauth", provider } });
    gateway = await startGateway({
      outboundAllow: [new URL(provider.issuer).host, new URL(upstream.url).host],
      now: () => new Date(Date.now() + later),
    });
    await gateway.admin("POST", "/api/mcp/client", {
      name: "notes",
      connection_type: "http",
      connection_string: upstream.url,
      auth_type: "per_user_oauth",
      allow_on_all_virtual_keys: true,
    });
    for (const name of ["Ada", "Mallory"])
      await gateway.admin("POST", "/api/users", { email: `${name}@example.com`, name, password });
    const server = await startLoopbackServer((_request, response) => response.end("back at the client"));
    client = { url: server.origin, close: () => server.close() };
  });

  afterAll(async () => {
    await client?.close();
    await gateway?.stop();
    await upstream?.close();
    await provider?.close();
  });

  it("on a phone, by keyboard, without JavaScript: not you, sign in, a code for a service, and on", async () => {
    await using window = await openWindow({
      viewport: { width: 360, height: 740 },
      javaScriptEnabled: false,
    });
    const page = await window.context.newPage();
    const consent = "**/oauth/consent?**";
    await page.goto(await authorizeUrl());
    await press(page, /^Sign in$/);
    await page.waitForURL("**/login?**");
    await signIn(page, "mallory@example.com");
    await page.waitForURL(consent);
    expect(await page.textContent(".facts >> nth=1")).toContain("mallory@example.com");
    await fits(page);
    await press(page, /^Not you/);
    await page.waitForURL("**/login?**");
    await signIn(page, "ada@example.com");
    await page.waitForURL(consent);
    await press(page, /^Allow as Ada$/);
    await page.waitForURL("**/oauth/consent/mcps**");
    expect(await page.textContent("main")).toContain("Ada (ada@example.com)");

    await press(page, /^Trouble getting/);
    await fits(page);
    await press(page, /^notes$/);
    await page.waitForURL("**/mcp-sessions/code?**");
    await press(page, /^Get a code$/);
    await page.waitForSelector(".facts code");
    const code = (await page.textContent(".facts code")) ?? "";
    await fits(page);
    await press(page, /^I have done that$/);
    await page.waitForURL("**waiting=1");
    expect(await page.textContent("[role=status]")).toContain("Not done there yet");
    await fits(page);
    await approve(code);
    later = 60_000;
    // The page looks again by itself.
    await page.waitForURL("**/oauth/consent/mcps**");
    expect(await page.textContent("main")).toContain("is connected");
    await press(page, /^Finish/);
    await page.waitForURL(`${client.url}/**`);
    expect(window.complaints.filter((text) => /Content Security Policy|Refused/i.test(text))).toEqual([]);
  });

  async function approve(code: string): Promise<void> {
    const elsewhere = new Browser();
    await elsewhere.get(`${provider.issuer}/device`);
    await elsewhere.submitForm(/device/, { user_code: code });
    await elsewhere.submitForm(/device/, { confirm: "yes" });
    await elsewhere.close();
  }

  async function authorizeUrl(): Promise<string> {
    const registered = await fetch(`${gateway.url}/api/oauth/per-user/register`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ client_name: "Browser test", redirect_uris: [`${client.url}/cb`] }),
    });
    const query = new URLSearchParams({
      response_type: "code",
      client_id: (await readJson(registered)).client_id,
      redirect_uri: `${client.url}/cb`,
      code_challenge: createHash("sha256").update("v".repeat(43)).digest("base64url"),
      code_challenge_method: "S256",
    });
    return `${gateway.url}/api/oauth/per-user/authorize?${query}`;
  }
});

async function signIn(page: Page, email: string): Promise<void> {
  await page.focus("#email");
  await page.keyboard.type(email);
  await page.keyboard.press("Tab");
  await page.keyboard.type(password);
  await page.keyboard.press("Enter");
}

/** Goes there with the tabulator, sees where it is, and presses Enter. */
async function press(page: Page, label: RegExp): Promise<void> {
  for (let steps = 0; steps < 30; steps++) {
    await page.keyboard.press("Tab");
    const text = await page.evaluate<string>("document.activeElement?.textContent ?? ''");
    if (!label.test(text.trim())) continue;
    expect(await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")).not.toBe("none");
    await page.keyboard.press("Enter");
    return;
  }
  throw new Error(`nothing with focus says ${label} on ${page.url()}`);
}

/** Nothing to scroll sideways for. */
async function fits(page: Page): Promise<void> {
  const wanted = await page.evaluate<number>("document.documentElement.scrollWidth");
  expect(wanted).toBeLessThanOrEqual(await page.evaluate<number>("document.documentElement.clientWidth"));
}
