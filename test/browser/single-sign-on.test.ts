import { afterEach, describe, expect, it } from "vitest";
import { openCompany } from "../journeys/steps/company.ts";
import { Stage } from "../journeys/steps/stage.ts";
import { chromiumPath, openWindow } from "./chromium.ts";

const phone = { viewport: { width: 360, height: 740 }, javaScriptEnabled: false };

describe.skipIf(chromiumPath === undefined)("single sign-on in a real browser", () => {
  const stage = new Stage("sqlite");
  afterEach(() => stage.close());

  it("on a phone without script: in, a look at the own account, out here and there, and in again", async () => {
    const { base, directory } = await openCompany(stage, ["keycloak"], "page");
    await using window = await openWindow(phone);
    const page = await window.context.newPage();
    const signIn = async (account: string) => {
      await page.goto(`${base}/login?return_to=%2Faccount%2Fidentities`);
      await page.click("text=Sign in with keycloak");
      await page.fill("input[name=account]", account);
      await page.click("text=Sign in");
      await page.click("text=Allow");
      await page.waitForURL(`${base}/account/identities`);
    };
    await signIn("1002");
    expect(await page.textContent("main")).toContain("For Bob (bob@example.com)");
    expect(await page.textContent(".services")).toContain("at keycloak");
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    expect(width).toBeLessThanOrEqual(360);
    // The only way in: the button says so and changes nothing.
    await page.click("text=Unlink");
    expect(await page.textContent("main")).toContain("last_way_in");
    await page.goto(`${base}/account`);
    await page.click("text=Sign out");
    await page.click("button[name=logout]");
    await page.waitForURL(`${base}/login/sso/keycloak/signed-out`);
    expect(await page.textContent("main")).toContain("You are signed out here and at keycloak.");
    await page.goto(`${base}/account/identities`);
    expect(new URL(page.url()).pathname).toBe("/login");
    // The provider asks again who it is.
    expect(directory.get("1001")!.name).toBe("Ada");
    await signIn("1001");
    expect(await page.textContent("main")).toContain("For Ada (ada@example.com)");
    expect(window.complaints.filter((text) => /Content Security Policy|Refused/i.test(text))).toEqual([]);
  });
});
