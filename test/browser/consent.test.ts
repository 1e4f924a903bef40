import { createHash } from "node:crypto";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type AuthorizationServer, startAuthorizationServer } from "../peers/identity-provider.ts";
import { startLoopbackServer } from "../peers/loopback-server.ts";
import { type ModernUpstream, startModernUpstream } from "../peers/modern-upstream.ts";
import { freshPostgresDatabase } from "../postgres/database.ts";
import { type RunningGateway, startGateway } from "../support/gateway.ts";
import { readJson } from "../support/read.ts";
import { chromiumPath, openWindow } from "./chromium.ts";

const phone = { viewport: { width: 360, height: 740 } };
const verifier = "v".repeat(43);

describe.skipIf(chromiumPath === undefined).each(["sqlite", "postgres"])(
  "the pages in a real browser, on %s",
  (kind) => {
    let drop: (() => Promise<void>) | undefined;
    let provider: AuthorizationServer;
    let upstream: ModernUpstream;
    let gateway: RunningGateway;
    let key: string;
    let client: { url: string; close(): Promise<void>; arrivals: URL[] };

    beforeAll(async () => {
      provider = await startAuthorizationServer({ interaction: "page" });
      upstream = await startModernUpstream({ protection: { kind: "oauth", provider } });
      const database = kind === "postgres" ? await freshPostgresDatabase() : undefined;
      drop = database?.drop;
      gateway = await startGateway({
        ...(database && { databaseUrl: database.url }),
        outboundAllow: [new URL(provider.issuer).host, new URL(upstream.url).host],
      });
      await gateway.admin("POST", "/api/mcp/client", {
        name: "notes",
        connection_type: "http",
        connection_string: upstream.url,
        auth_type: "per_user_oauth",
        tools_to_execute: ["*"],
        allow_on_all_virtual_keys: true,
      });
      const made = await gateway.admin<{ virtual_key: { value: string } }>(
        "POST",
        "/api/governance/virtual-keys",
        { name: "ada" },
      );
      key = made.virtual_key.value;
      client = await startClient();
    });

    afterAll(async () => {
      await client?.close();
      await gateway?.stop();
      await upstream?.close();
      await provider?.close();
      await drop?.();
    });

    it("consent on a phone without JavaScript: identity, one service, back at the client", async () => {
      await using window = await openWindow({ ...phone, javaScriptEnabled: false });
      const page = await window.context.newPage();
      await page.goto(await authorizeUrl());
      await expectFits(page);
      expect(await page.textContent("main")).toContain(new URL(client.url).host);
      await page.fill("input[name=vk]", "sk-bf-not-a-key");
      await page.click('form[action$="/consent/vk"] button');
      expect(await page.textContent("[role=alert]")).toContain("not valid");
      await page.fill("input[name=vk]", key);
      await page.click('form[action$="/consent/vk"] button');
      await expectFits(page);
      await page.click('a[href*="upstream/authorize"]');
      await passProvider(page);
      expect(await page.textContent(".services")).toContain("Connected");
      await expectFits(page);
      await page.click('form[action$="/consent/submit"] button');
      await page.waitForURL(`${client.url}/**`);
      const arrived = client.arrivals.at(-1)!;
      expect(Object.fromEntries(arrived.searchParams)).toMatchObject({
        state: "s1",
        iss: gateway.url,
        code: expect.any(String),
      });
      expect(window.complaints.filter((text) => /Content Security Policy|Refused/i.test(text))).toEqual([]);
    });

    it("the whole consent works with the keyboard alone", async () => {
      await using window = await openWindow(phone);
      const page = await window.context.newPage();
      await page.goto(await authorizeUrl());
      await page.focus("input[name=vk]");
      await page.keyboard.type(key);
      await page.keyboard.press("Enter");
      await page.waitForURL("**/oauth/consent/mcps**");
      await tabTo(page, /finish/i);
      expect(await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")).toBe("solid");
      await page.keyboard.press("Enter");
      await page.waitForURL(`${client.url}/**`);
      expect(client.arrivals.at(-1)!.searchParams.has("code")).toBe(true);
    });

    it("going back and finishing again says so on a page", async () => {
      await using window = await openWindow(phone);
      const page = await window.context.newPage();
      await page.goto(await authorizeUrl());
      await page.fill("input[name=vk]", key);
      await page.click('form[action$="/consent/vk"] button');
      await page.waitForURL("**/oauth/consent/mcps**");
      const services = page.url();
      await page.click('form[action$="/consent/submit"] button');
      await page.waitForURL(`${client.url}/**`);
      const again = await page.goto(services);
      expect(again!.status()).toBe(409);
      expect(await page.textContent("h1")).toBe("Already done");
      await expectFits(page);
    });

    it("cancel brings the person back to the client with access_denied", async () => {
      await using window = await openWindow(phone);
      const page = await window.context.newPage();
      await page.goto(await authorizeUrl());
      await page.click('form[action$="/consent/deny"] button');
      await page.waitForURL(`${client.url}/**`);
      expect(Object.fromEntries(client.arrivals.at(-1)!.searchParams)).toEqual({
        error: "access_denied",
        state: "s1",
        iss: gateway.url,
      });
    });

    async function authorizeUrl(): Promise<string> {
      const registered = await fetch(`${gateway.url}/api/oauth/per-user/register`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ client_name: "Browser test", redirect_uris: [`${client.url}/cb`] }),
      });
      const { client_id } = await readJson(registered);
      const query = new URLSearchParams({
        response_type: "code",
        client_id,
        redirect_uri: `${client.url}/cb`,
        code_challenge: createHash("sha256").update(verifier).digest("base64url"),
        code_challenge_method: "S256",
        state: "s1",
        resource: `${gateway.url}/mcp`,
      });
      return `${gateway.url}/api/oauth/per-user/authorize?${query}`;
    }

    /** Signs in and agrees at the provider, until the browser is back. */
    async function passProvider(page: Page): Promise<void> {
      for (let pages = 0; page.url().startsWith(provider.issuer) && pages < 5; pages++)
        await page.click("button");
    }
  },
);

/** Nothing to scroll sideways for. */
async function expectFits(page: Page): Promise<void> {
  const wanted = await page.evaluate<number>("document.documentElement.scrollWidth");
  expect(wanted).toBeLessThanOrEqual(await page.evaluate<number>("document.documentElement.clientWidth"));
}

async function tabTo(page: Page, label: RegExp): Promise<void> {
  for (let steps = 0; steps < 30; steps++) {
    await page.keyboard.press("Tab");
    const text = await page.evaluate<string>("document.activeElement?.textContent ?? ''");
    if (label.test(text)) return;
  }
  throw new Error(`no element with focus says ${label}`);
}

/** What listens at the client's redirect URI. */
async function startClient() {
  const arrivals: URL[] = [];
  const server = await startLoopbackServer((request, response) => {
    const url = new URL(request.url!, "http://127.0.0.1");
    // A browser also asks for the icon.
    if (url.pathname === "/cb") arrivals.push(url);
    response.end("back at the client");
  });
  return { url: server.origin, arrivals, close: () => server.close() };
}
