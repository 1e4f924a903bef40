import type { CDPSession, Page } from "playwright-core";
import { afterEach, describe, expect, it } from "vitest";
import { migratedPostgresDatabase } from "../postgres/database.ts";
import { type RunningGateway, startGateway } from "../support/gateway.ts";
import { chromiumPath, openWindow } from "./chromium.ts";

const phone = { viewport: { width: 360, height: 740 } };
const timeout = 120_000;
const bob = { email: "bob@example.com", name: "Bob", password: "correct horse battery" };

/** A browser at the gateway's name, with an authenticator that its person unlocks. */
class Holder {
  readonly page: Page;
  readonly cdp: CDPSession;
  readonly #authenticatorId: string;

  constructor(page: Page, cdp: CDPSession, authenticatorId: string) {
    this.page = page;
    this.cdp = cdp;
    this.#authenticatorId = authenticatorId;
  }

  static async open(page: Page): Promise<Holder> {
    const cdp = await page.context().newCDPSession(page);
    await cdp.send("WebAuthn.enable");
    const { authenticatorId } = await cdp.send("WebAuthn.addVirtualAuthenticator", {
      options: {
        protocol: "ctap2",
        transport: "internal",
        hasResidentKey: true,
        hasUserVerification: true,
        isUserVerified: true,
        automaticPresenceSimulation: true,
      },
    });
    return new Holder(page, cdp, authenticatorId);
  }

  async signInByPassword(origin: string): Promise<void> {
    await this.page.goto(`${origin}/login?return_to=/account`);
    await this.page.fill("#email", bob.email);
    await this.page.fill("#password", bob.password);
    await this.page.click("form[action='/login'] button");
    await this.page.waitForURL(`${origin}/account`);
  }

  async addPasskey(name: string): Promise<void> {
    await this.page.fill("#passkey-name", name);
    await this.page.click("form[action='/account/passkeys/new'] button");
    await this.page.waitForURL("**/account?**");
  }

  /** Where it ends, without the origin. */
  async signIn(origin: string): Promise<string> {
    await this.page.context().clearCookies();
    await this.page.goto(`${origin}/login?return_to=/account`);
    await this.page.click("form[action='/login/passkey'] button");
    await this.page.waitForURL((url) => !url.pathname.startsWith("/login/passkey"));
    const { pathname, searchParams } = new URL(this.page.url());
    return `${pathname} ${searchParams.get("error") ?? ""}`.trim();
  }

  verified(isUserVerified: boolean): Promise<unknown> {
    const { cdp } = this;
    return cdp.send("WebAuthn.setUserVerified", { authenticatorId: this.#authenticatorId, isUserVerified });
  }

  /** As if an older copy of the passkey were used. */
  async turnCounterBack(): Promise<void> {
    const authenticatorId = this.#authenticatorId;
    const { credentials } = await this.cdp.send("WebAuthn.getCredentials", { authenticatorId });
    await this.cdp.send("WebAuthn.clearCredentials", { authenticatorId });
    for (const credential of credentials) {
      const older = { ...credential, signCount: 0 };
      await this.cdp.send("WebAuthn.addCredential", { authenticatorId, credential: older });
    }
  }
}

describe.skipIf(chromiumPath === undefined).each(["sqlite", "postgres"])(
  "passkeys on %s",
  { timeout },
  (kind) => {
    const closing: (() => Promise<unknown>)[] = [];
    afterEach(async () => {
      for (const close of closing.splice(0).reverse()) await close();
    });

    /** At `localhost`: browsers make no passkeys for IP addresses. */
    async function open(): Promise<{ gateway: RunningGateway; origin: string }> {
      const database = kind === "postgres" ? await migratedPostgresDatabase() : undefined;
      if (database) closing.push(database.drop);
      const gateway = await startGateway({ databaseUrl: database?.url });
      closing.push(gateway.stop);
      await gateway.admin("POST", "/api/users", bob);
      return { gateway, origin: gateway.url.replace("127.0.0.1", "localhost") };
    }

    it("is made and named on the account page, signs in alone, and is refused when it is a copy or was removed", async () => {
      const { gateway, origin } = await open();
      await using window = await openWindow(phone);
      const page = await window.context.newPage();
      const holder = await Holder.open(page);
      await holder.signInByPassword(origin);
      await holder.addPasskey("This phone");
      expect(await page.textContent("[role=status]")).toContain("The passkey is added");
      expect(await page.textContent("main")).toContain("This phone");

      const heard = { cookie: "", body: "" };
      await page.route("**/login/passkey/answer", async (route) => {
        heard.body = route.request().postData() ?? "";
        heard.cookie = (await route.request().allHeaders()).cookie ?? "";
        await route.continue();
      });
      expect(await holder.signIn(origin)).toBe("/account");
      expect(await page.textContent("main")).toContain("Passkey, just now");

      // Heard on the way, and sent again by somebody else: the challenge is another browser's, and used up.
      const again = await fetch(`${origin}/login/passkey/answer`, {
        method: "POST",
        redirect: "manual",
        headers: { "content-type": "application/x-www-form-urlencoded", cookie: heard.cookie },
        body: heard.body,
      });
      expect(again.headers.get("location")).toContain("error=passkey_refused");

      await holder.turnCounterBack();
      expect(await holder.signIn(origin)).toBe("/login passkey_refused");
      expect(await page.textContent("[role=alert]")).toContain("This passkey was not accepted");

      await holder.signInByPassword(origin);
      await page.click("[aria-label='Remove This phone']");
      expect(await page.textContent("[role=status]")).toContain("removed");
      expect(await holder.signIn(origin)).toBe("/login passkey_refused");
      const { events } = await gateway.admin<{ events: { event: string }[] }>(
        "GET",
        "/api/audit?event=passkey.*",
      );
      expect(events.map(({ event }) => event)).toEqual(["passkey.removed", "passkey.added"]);
    });

    // Nothing of this is the database's.
    it.skipIf(kind === "postgres")(
      "needs its person: not unlocked, the page says so and offers another try; at an IP address it is not offered",
      async () => {
        const { gateway, origin } = await open();
        await using window = await openWindow(phone);
        const page = await window.context.newPage();
        const holder = await Holder.open(page);
        await holder.signInByPassword(origin);
        await holder.addPasskey("Laptop");
        await holder.verified(false);
        await page.context().clearCookies();
        await page.goto(`${origin}/login?return_to=/account`);
        await page.click("form[action='/login/passkey'] button");
        await page.waitForSelector("#passkey-failed:not([hidden])");
        await holder.verified(true);
        await page.click("#passkey button");
        await page.waitForURL(`${origin}/account`);
        await page.goto(`${gateway.url}/login`);
        expect(await page.locator("form[action='/login/passkey']").count()).toBe(0);
        expect(window.complaints.filter((text) => /Content Security Policy|Refused/i.test(text))).toEqual([]);
      },
    );
  },
);
