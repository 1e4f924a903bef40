import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { freshPostgresDatabase } from "../postgres/database.ts";
import { chromiumPath, openWindow } from "./chromium.ts";
import { type House, openHouse } from "./five-upstreams.ts";
import { Visit, whoami } from "./visit.ts";

const phone = { viewport: { width: 360, height: 740 }, ignoreHTTPSErrors: true, javaScriptEnabled: false };
const timeout = 120_000;

describe.skipIf(chromiumPath === undefined).each(["sqlite", "postgres"])(
  "what can go wrong at the pages, on %s",
  { timeout },
  (kind) => {
    let house: House;
    let drop: (() => Promise<void>) | undefined;

    beforeAll(async () => {
      const database = kind === "postgres" ? await freshPostgresDatabase() : undefined;
      drop = database?.drop;
      house = await openHouse(database?.url);
    }, timeout);

    afterAll(async () => {
      await house?.close();
      await drop?.();
    });

    const inBrowser = async (walk: (visit: Visit) => Promise<void>) => {
      await using window = await openWindow(phone);
      await walk(new Visit(await window.context.newPage(), house));
      expect(window.complaints.filter((text) => /Content Security Policy|Refused/i.test(text))).toEqual([]);
    };

    it("UP-32 a provider that says no: the service is named, nothing is stored, the same page goes on", () =>
      inBrowser(async (ada) => {
        await ada.open(await house.authorizeUrl());
        await ada.approveWithKey();
        house.providers.github.denyNext("access_denied", "words of the provider");
        await ada.click('[aria-label="Connect github"]');
        const text = await ada.page.textContent("[role=alert]");
        expect(text).toMatch(/^github: .*declined/);
        expect(await ada.page.content()).not.toContain("words of the provider");
        expect(await ada.state("github")).toBe("Not connected");
        await ada.connect("github");
        await ada.expectFits();
      }));

    it("values that the service refuses: said on the form, nothing stored, the consent goes on without", () =>
      inBrowser(async (ada) => {
        await ada.open(await house.authorizeUrl());
        await ada.approveWithKey();
        await ada.click('[aria-label="Connect tickets"]');
        await ada.fillForm("value-of-nobody");
        expect(await ada.page.textContent("[role=alert]")).toContain("does not accept this");
        await ada.click("main .button");
        expect(await ada.state("tickets")).toBe("Not connected");
        const token = await house.redeem(await ada.finish());
        expect(await whoami(house, token, "tickets")).toContain("Authentication required for tickets");
      }));

    it("CB-15 a callback in another browser: refused, and the browser that left can still come back", () =>
      inBrowser(async (ada) => {
        await ada.open(await house.authorizeUrl());
        await ada.approveWithKey();
        // On its way back the browser is led astray, so that another one can be there first.
        let callback = "";
        house.providers.linear.editNextRedirect((url) => {
          callback = url.href;
          url.href = house.client.url;
        });
        await ada.click('[aria-label="Connect linear"]');
        await ada.passProvider("linear");
        await inBrowser(async (mallory) => {
          await mallory.page.goto(callback);
          expect(await mallory.page.textContent("h1")).toBe("This link is not for you");
          await mallory.expectFits();
        });
        await ada.page.goto(callback);
        expect(await ada.state("linear")).toBe("Connected just now");
      }));

    it("CB-13 a consent opened in another browser: refused, unchanged for the one that started it", () =>
      inBrowser(async (ada) => {
        await ada.open(await house.authorizeUrl());
        const consent = ada.page.url();
        await inBrowser(async (mallory) => {
          expect((await mallory.page.goto(consent))?.status()).toBe(403);
          expect(await mallory.page.textContent("h1")).toBe("Not the same browser");
          await mallory.expectFits();
        });
        await ada.approveWithKey();
      }));

    it("a link opened by another person: without the key it leads nowhere, with it it still works", () =>
      inBrowser(async (mallory) => {
        const own = await whoami(house, house.key.value, "tickets");
        const link = /https:[^"\s\\]+/.exec(own)?.[0] ?? "";
        await mallory.open(link);
        await mallory.page.fill("#vk", "sk-bf-somebody-elses");
        await mallory.fillForm();
        expect(await mallory.page.textContent("[role=alert]")).toContain("not the virtual key");
        expect(new URL(mallory.page.url()).origin).toBe(house.url);
        await mallory.expectFits();
        await inBrowser(async (ada) => {
          await ada.open(link);
          await ada.page.fill("#vk", house.key.value);
          await ada.fillForm();
          expect(await ada.page.textContent("[role=status]")).toContain("tickets account is connected");
        });
        expect(await whoami(house, house.key.value, "tickets")).toBe("ada");
      }));

    it("an expired consent: says so, and what was connected during it is gone", () =>
      inBrowser(async (ada) => {
        await ada.open(await house.authorizeUrl());
        await ada.approveWithKey();
        await ada.connect("drive");
        house.advance(16 * 60_000);
        expect((await ada.page.reload())?.status()).toBe(410);
        expect(await ada.page.textContent("h1")).toBe("This has expired");
        await ada.open(await house.authorizeUrl());
        await ada.approveWithKey();
        expect(await ada.state("drive")).toBe("Not connected");
      }));
  },
);
