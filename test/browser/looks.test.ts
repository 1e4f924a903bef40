import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ModernUpstream, startModernUpstream } from "../peers/modern-upstream.ts";
import { type RunningGateway, startGateway } from "../support/gateway.ts";
import { readJson } from "../support/read.ts";
import { chromiumPath, openWindow } from "./chromium.ts";
import { lookFaults, tabStops } from "./looks.ts";

const sizes = [
  { width: 360, height: 740 },
  { width: 1280, height: 800 },
];
const apiKey = "value-of-ada";
/** Sixty characters, and nothing in them to break a line at. */
const longName = "A_service_whose_name_is_sixty_characters_long_and_unbroken_1";
const longHeader = "X-A-Header-With-A-Name-That-Is-Longer-Than-A-Phone-Is-Wide";

describe.skipIf(chromiumPath === undefined)("the looks of the pages, as far as they can be measured", () => {
  let upstream: ModernUpstream;
  let gateway: RunningGateway;
  let key: string;

  beforeAll(async () => {
    const accounts = { [apiKey]: "ada" };
    upstream = await startModernUpstream({ protection: { kind: "header", name: "x-api-key", accounts } });
    gateway = await startGateway({ outboundAllow: [new URL(upstream.url).host] });
    await addUpstream(longName, ["X-Api-Key", longHeader]);
    for (let n = 2; n <= 12; n++) await addUpstream(`service_${n}`, ["X-Api-Key"]);
    type Made = { virtual_key: { value: string } };
    const made = await gateway.admin<Made>("POST", "/api/governance/virtual-keys", { name: "k".repeat(60) });
    key = made.virtual_key.value;
  });

  afterAll(async () => {
    await gateway?.stop();
    await upstream?.close();
  });

  it("twelve services and names of 60 characters: nothing cut off, too pale or too small, light and dark", async () => {
    await using window = await openWindow();
    const page = await window.context.newPage();
    const expectGood = async () => {
      for (const colorScheme of ["light", "dark"] as const) {
        await page.emulateMedia({ colorScheme });
        for (const size of sizes) {
          await page.setViewportSize(size);
          expect(await lookFaults(page), `${page.url()} ${colorScheme} ${size.width}`).toEqual([]);
        }
      }
    };
    await page.goto(gateway.url);
    await expectGood();
    await page.goto(`${gateway.url}/login?error=wrong_credentials`);
    await expectGood();
    await page.goto(`${gateway.url}/nowhere`);
    await expectGood();
    await page.goto(await authorizeUrl("C".repeat(60)));
    await expectGood();
    await page.fill("#vk", key);
    await page.click('form[action$="/consent/vk"] button');
    expect(await page.locator(".services li").count()).toBe(12);
    await expectGood();
    await page.click('[aria-label="Connect service_2"]');
    await page.fill('[name="header.X-Api-Key"]', apiKey);
    await page.click("main form button");
    expect(await page.textContent("[role=status]")).toBe("service_2 is connected.");
    await expectGood();
    await page.click(`[aria-label="Connect ${longName}"]`);
    await page.fill('[name="header.X-Api-Key"]', "value-of-nobody");
    await page.fill(`[name="header.${longHeader}"]`, "any");
    await page.click("main form button");
    expect(await page.textContent("[role=alert]")).toContain("does not accept this");
    await expectGood();
  });

  it("every stop of the Tab key shows a ring, in the order of the page", async () => {
    await using window = await openWindow({ viewport: sizes[0] });
    const page = await window.context.newPage();
    await page.goto(await authorizeUrl("Claude Code"));
    const consent = await tabStops(page);
    expect(consent.map(({ name }) => name)).toEqual(["Sign in", "vk", "Allow with this key", "Cancel"]);
    await page.fill("#vk", key);
    await page.click('form[action$="/consent/vk"] button');
    const services = await tabStops(page);
    expect(services.map(({ name }) => name)).toEqual([
      "Choose another",
      `Connect ${longName}`,
      ...["10", "11", "12", "2", "3", "4", "5", "6", "7", "8", "9"].map((n) => `Connect service_${n}`),
      "Finish, connect the rest later",
      "Cancel",
    ]);
    for (const { name, ring } of [...consent, ...services]) expect(ring, name).toBe("solid 3px");
  });

  async function addUpstream(name: string, names: string[]): Promise<void> {
    await gateway.admin("POST", "/api/mcp/client", {
      name,
      connection_type: "http",
      connection_string: upstream.url,
      auth_type: "per_user_headers",
      per_user_header_keys: names,
      user_headers: Object.fromEntries(names.map((one) => [one, apiKey])),
      tools_to_execute: ["*"],
      allow_on_all_virtual_keys: true,
    });
  }

  async function authorizeUrl(client_name: string): Promise<string> {
    const redirect_uri = "http://127.0.0.1:9/cb";
    const registered = await fetch(`${gateway.url}/api/oauth/per-user/register`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ client_name, redirect_uris: [redirect_uri] }),
    });
    const { client_id } = await readJson(registered);
    const query = new URLSearchParams({
      response_type: "code",
      client_id,
      redirect_uri,
      code_challenge: "c".repeat(43),
      code_challenge_method: "S256",
    });
    return `${gateway.url}/api/oauth/per-user/authorize?${query}`;
  }
});
