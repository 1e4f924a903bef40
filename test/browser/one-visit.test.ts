import { afterEach, describe, expect, it } from "vitest";
import { freshPostgresDatabase } from "../postgres/database.ts";
import { chromiumPath, openWindow } from "./chromium.ts";
import { type House, openHouse } from "./five-upstreams.ts";
import { Visit, whoami } from "./visit.ts";

const phone = { viewport: { width: 360, height: 740 }, ignoreHTTPSErrors: true };
const everything = ["github", "linear", "drive", "notion", "tickets"];
const DAY_MS = 24 * 60 * 60_000;

// Many pages of six servers: slow where the machine is busy.
const timeout = 120_000;

describe.skipIf(chromiumPath === undefined).each(["sqlite", "postgres"])(
  "five services in one visit, on %s",
  { timeout },
  (kind) => {
    const closing: (() => Promise<unknown>)[] = [];
    afterEach(async () => {
      for (const close of closing.splice(0).reverse()) await close();
    });

    async function house(): Promise<House> {
      const database = kind === "postgres" ? await freshPostgresDatabase() : undefined;
      if (database) closing.push(() => database.drop());
      const opened = await openHouse(database?.url);
      closing.push(() => opened.close());
      return opened;
    }

    async function visit(at: House, options: Parameters<typeof openWindow>[0] = {}) {
      const window = await openWindow({ ...phone, ...options });
      closing.push(async () => window[Symbol.asyncDispose]());
      return { visit: new Visit(await window.context.newPage(), at), window };
    }

    it("on a phone without JavaScript: one click for each service and one to finish", async () => {
      const at = await house();
      const { visit: ada, window } = await visit(at, { javaScriptEnabled: false });
      await ada.open(await at.authorizeUrl());
      await ada.approveWithKey();
      expect(await ada.page.textContent("main")).toContain("0 of 5 connected");
      await ada.expectFits();
      const before = ada.clicks;
      for (const name of everything) {
        await ada.connect(name);
        await ada.expectFits();
      }
      expect(await ada.page.textContent("main")).toContain("5 of 5 connected");
      const callback = await ada.finish();
      // Goal 3: at most one own click for each upstream besides the providers' pages, and one to finish; one visit.
      expect(ada.clicks - before).toBe(everything.length + 1);
      expect(ada.arrivals).toBe(1);
      const token = await at.redeem(callback);
      for (const name of everything)
        expect(await whoami(at, token, name)).toBe(name === "tickets" ? "ada" : "alice");
      expect(at.providers.github.registrations.length).toBeGreaterThan(0);
      expect(at.providers.notion.lastAuthorize?.client_id).toBe(
        `${at.url}/oauth/client/${at.upstreamIds.notion}.json`,
      );
      expect(at.providers.drive.lastAuthorize?.client_id).toBe("given-by-hand");
      expect(window.complaints.filter((text) => /Content Security Policy|Refused/i.test(text))).toEqual([]);
    });

    it("leaving after two and coming back a day later keeps the two; the rest in another order", async () => {
      const at = await house();
      const { visit: ada } = await visit(at);
      await ada.open(await at.authorizeUrl());
      await ada.approveWithKey();
      await ada.connect("tickets");
      await ada.connect("linear");
      expect(await ada.page.textContent('form[action$="/submit"] button')).toMatch(/connect the rest later/);
      await ada.finish();
      at.advance(DAY_MS);
      const { visit: later } = await visit(at);
      await later.open(await at.authorizeUrl());
      await later.approveWithKey();
      expect(await later.states()).toEqual({
        github: "Not connected",
        linear: "Connected",
        drive: "Not connected",
        notion: "Not connected",
        tickets: "Connected",
      });
      for (const name of ["notion", "drive", "github"]) await later.connect(name);
      expect(await later.page.textContent('form[action$="/submit"] button')).toMatch(/return to/);
      const token = await at.redeem(await later.finish());
      for (const name of everything)
        expect(await whoami(at, token, name)).toBe(name === "tickets" ? "ada" : "alice");
    });

    it("a reload, a second tab and the way back within the quarter of an hour find what is connected", async () => {
      const at = await house();
      const { visit: ada, window } = await visit(at);
      await ada.open(await at.authorizeUrl());
      await ada.approveWithKey();
      await ada.connect("github");
      await ada.page.reload();
      expect(await ada.state("github")).toBe("Connected just now");
      const second = new Visit(await window.context.newPage(), at);
      await second.open(ada.page.url());
      await second.connect("tickets");
      at.advance(10 * 60_000);
      await ada.page.reload();
      expect([await ada.state("github"), await ada.state("tickets")]).toEqual([
        "Connected just now",
        "Connected just now",
      ]);
      expect(await ada.page.textContent("main")).toContain("You have 5 minutes left");
    });

    it("the keyboard alone does all of it", async () => {
      const at = await house();
      const { visit: ada } = await visit(at);
      const { page } = ada;
      await ada.open(await at.authorizeUrl());
      await page.focus("input[name=vk]");
      await page.keyboard.type(at.key.value);
      await press(page, "Enter");
      await tabTo(page, "Connect linear");
      await press(page, "Enter");
      for (let pages = 0; page.url().startsWith(at.providers.linear.issuer) && pages < 5; pages++) {
        await page.focus("button");
        await press(page, "Enter");
      }
      await tabTo(page, "Connect tickets");
      await press(page, "Enter");
      await page.focus("input[name='header.X-Api-Key']");
      await page.keyboard.type("value-of-ada");
      await press(page, "Enter");
      await tabTo(page, /Finish/);
      expect(await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")).toBe("solid");
      await press(page, "Enter");
      await page.waitForURL(`${at.client.url}/**`);
      const token = await at.redeem(at.client.arrivals.at(-1)!);
      expect(await whoami(at, token, "linear")).toBe("alice");
      expect(await whoami(at, token, "tickets")).toBe("ada");
    });
  },
);

type Page = Visit["page"];

async function press(page: Page, key: string): Promise<void> {
  await Promise.all([page.waitForEvent("domcontentloaded"), page.keyboard.press(key)]);
}

/** Moves the focus forward until it is on what is called so. */
async function tabTo(page: Page, label: string | RegExp): Promise<void> {
  for (let steps = 0; steps < 40; steps++) {
    await page.keyboard.press("Tab");
    const name = await page.evaluate<string>(
      "document.activeElement?.getAttribute('aria-label') ?? document.activeElement?.textContent ?? ''",
    );
    if (typeof label === "string" ? name === label : label.test(name)) return;
  }
  throw new Error(`nothing with focus is called ${label}`);
}
