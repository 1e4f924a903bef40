import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type RunningGateway, startGateway } from "../support/gateway.ts";
import { readJson } from "../support/read.ts";
import { chromiumPath, openWindow } from "./chromium.ts";
import { lookFaults, tabStops } from "./looks.ts";

const looks = [
  ["light", 360],
  ["dark", 1280],
] as const;
const GRANT = "urn:ietf:params:oauth:grant-type:device_code";

describe.skipIf(chromiumPath === undefined)("the pages of a device's person", () => {
  let gateway: RunningGateway;
  let key: string;

  beforeAll(async () => {
    gateway = await startGateway();
    type Made = { virtual_key: { value: string } };
    const made = await gateway.admin<Made>("POST", "/api/governance/virtual-keys", { name: "k".repeat(60) });
    key = made.virtual_key.value;
  });
  afterAll(() => gateway?.stop());

  const post = async (path: string, init: RequestInit) =>
    readJson(await fetch(gateway.url + path, { method: "POST", ...init }));

  async function codes(client_name: string) {
    const { client_id } = await post("/api/oauth/per-user/register", {
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ client_name, grant_types: [GRANT] }),
    });
    return post("/api/oauth/per-user/device_authorization", { body: new URLSearchParams({ client_id }) });
  }

  it("from the link to the end: nothing cut off, too pale or too small; by keyboard alone", async () => {
    await using window = await openWindow();
    const page = await window.context.newPage();
    const expectGood = async (name: string) => {
      for (const [colorScheme, width] of looks) {
        await page.emulateMedia({ colorScheme });
        await page.setViewportSize({ width, height: 760 });
        expect(await lookFaults(page), `${name} ${colorScheme} ${width}`).toEqual([]);
      }
    };
    await page.goto(`${gateway.url}/device`);
    await page.fill("#user_code", "no code at all");
    await page.click("main form button");
    expect(await page.textContent("[role=alert]")).toContain("No device waits");
    await expectGood("device-wrong-code");
    const { verification_uri_complete: link } = await codes("C".repeat(60));
    await page.goto(link);
    await expectGood("device-link");
    await page.focus("#user_code");
    await page.keyboard.press("Enter");
    await page.waitForSelector(".notice");
    await expectGood("device-asked");
    const stops = await tabStops(page);
    expect(stops.map(({ name, ring }) => [name, ring])).toEqual([
      ["I started it, go on", "solid 3px"],
      ["I did not", "solid 3px"],
    ]);
    await page.click('form[action$="/device/allow"] button');
    await expectGood("device-consent");
    await page.fill("#vk", key);
    await page.click('form[action$="/consent/vk"] button');
    await expectGood("device-services");
    await page.click('form[action$="/consent/submit"] button');
    expect(await page.textContent("h1")).toBe("You can go back to your device");
    await expectGood("device-end");
    const other = await codes("Terminal");
    await page.goto(other.verification_uri_complete);
    await page.click("main form button");
    await page.click('form[action$="/device/refuse"] button');
    expect(await page.textContent("h1")).toBe("Nothing was allowed");
    await expectGood("device-refused");
  });
});
