import { describe, expect, it } from "vitest";
import { ssoConfig } from "../../src/sso/index.ts";
import { type SamlIdentityProvider, startSamlProvider } from "../peers/saml-provider.ts";
import { type RunningGateway, startGateway } from "../support/gateway.ts";
import { marked } from "../support/marked.ts";
import { chromiumPath, openWindow } from "./chromium.ts";
import { openHouse } from "./five-upstreams.ts";
import { lookFaults, tabStops } from "./looks.ts";
import { Visit } from "./visit.ts";

const phone = { viewport: { width: 360, height: 740 }, ignoreHTTPSErrors: true };
const password = marked("a password of Ada's");
const timeout = 120_000;

/** A gateway on plain loopback, and an identity provider at another site: `localhost` is another than 127.0.0.1. */
async function openCompany(): Promise<{ gateway: RunningGateway; idp: SamlIdentityProvider }> {
  const idp = await startSamlProvider();
  idp.person = { nameId: "n-ada", attributes: { email: "ada@example.com", name: "Ada" } };
  const entry = {
    id: "corp",
    type: "saml",
    name: "Corp",
    issuer: idp.entityId,
    sso_url: idp.ssoUrl.replace("127.0.0.1", "localhost"),
    certificates: [idp.certificate.cert],
  };
  const gateway = await startGateway({
    configure: (config) => {
      config.sso = ssoConfig.parse({ providers: [entry] });
    },
  });
  return { gateway, idp };
}

describe.skipIf(chromiumPath === undefined)("a signed-in person in a real browser", { timeout }, () => {
  it("comes back from a SAML provider at another site, whose POST brings no cookie, and is signed in without a script", async () => {
    const { gateway, idp } = await openCompany();
    try {
      await using window = await openWindow({ ...phone, javaScriptEnabled: false });
      const page = await window.context.newPage();
      const posted: (string | null)[] = [];
      page.on("request", async (request) => {
        if (request.url().endsWith("/acs")) posted.push(await request.headerValue("cookie"));
      });
      await page.goto(`${gateway.url}/login?return_to=${encodeURIComponent("/connections")}`);
      await page.getByRole("button", { name: "Sign in with Corp" }).click();
      await page.waitForURL(/^http:\/\/localhost/);
      await page.getByRole("button", { name: "Continue" }).click();
      await page.waitForURL(`${gateway.url}/connections`);
      expect(await page.textContent("main")).toContain("ada@example.com");
      await expect.poll(() => posted).toEqual([null]);
      expect(await lookFaults(page)).toEqual([]);
      expect(window.complaints.filter((text) => /Content Security Policy|Refused/i.test(text))).toEqual([]);
    } finally {
      await gateway.stop();
      await idp.close();
    }
  });

  it("connects, looks after and disconnects an account on a phone, by keyboard and without a script", async () => {
    const house = await openHouse();
    try {
      await house.gateway.admin("POST", "/api/users", {
        email: "ada@example.com",
        name: "Ada",
        role: "admin",
        password,
      });
      await using window = await openWindow({ ...phone, javaScriptEnabled: false });
      const page = await window.context.newPage();
      await page.goto(`${house.url}/connections`);
      await page.fill("#email", "ada@example.com");
      await page.fill("#password", password);
      await page.keyboard.press("Enter");
      await page.waitForURL(`${house.url}/connections`);
      expect(await page.locator("#open + ul li").count()).toBe(5);
      expect((await tabStops(page)).map(({ name }) => name)).toContain("Connect github");
      await page.getByRole("button", { name: "Connect github" }).press("Enter");
      await page.waitForURL(/mcp-sessions\/auth/);
      await page.locator("main form button").first().press("Enter");
      await page.waitForURL(`${house.providers.github.issuer}/**`);
      await new Visit(page, house).passProvider("github");
      await page.waitForURL(/\/connections\?done=connected/);
      expect(await page.textContent("[role=status]")).toContain("github is connected.");
      expect(await page.locator("#connected + ul").textContent()).toContain("Connected");
      for (const colorScheme of ["light", "dark"] as const) {
        await page.emulateMedia({ colorScheme });
        expect(await lookFaults(page), colorScheme).toEqual([]);
      }
      await page.getByRole("link", { name: "Disconnect github" }).press("Enter");
      await page.waitForURL(/disconnect/);
      await page.getByRole("button", { name: "Disconnect" }).press("Enter");
      await page.waitForURL(/done=disconnected/);
      expect(await page.locator("#open + ul li").count()).toBe(5);
    } finally {
      await house.close();
    }
  });
});
