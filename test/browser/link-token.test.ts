import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { freshPostgresDatabase } from "../postgres/database.ts";
import { readJson } from "../support/read.ts";
import { chromiumPath, openWindow } from "./chromium.ts";
import { API_KEY, type House, openHouse } from "./five-upstreams.ts";
import { Visit, whoami } from "./visit.ts";

const phone = { viewport: { width: 360, height: 740 }, ignoreHTTPSErrors: true };
const timeout = 120_000;

describe.skipIf(chromiumPath === undefined).each(["sqlite", "postgres"])(
  "a link with a one-time token, on %s",
  { timeout },
  (kind) => {
    let house: House;
    let drop: (() => Promise<void>) | undefined;

    beforeAll(async () => {
      const database = kind === "postgres" ? await freshPostgresDatabase() : undefined;
      drop = database?.drop;
      house = await openHouse(database?.url);
      await inBrowser({}, async (ada) => {
        await ada.open(await house.authorizeUrl());
        await ada.approveWithKey();
        await ada.connect("github");
        await ada.connect("tickets");
        await ada.finish();
      });
    }, timeout);

    afterAll(async () => {
      await house?.close();
      await drop?.();
    });

    const inBrowser = async (
      options: Parameters<typeof openWindow>[0],
      walk: (visit: Visit) => Promise<void>,
    ) => {
      await using window = await openWindow({ ...phone, ...options });
      await walk(new Visit(await window.context.newPage(), house));
      expect(window.complaints.filter((text) => /Content Security Policy|Refused/i.test(text))).toEqual([]);
    };

    /** Opens it as a person does and waits until its script has done what it does. */
    async function openLink(visit: Visit, url: string): Promise<void> {
      await visit.open(url);
      await visit.page.waitForURL((at) => at.hash === "");
      await visit.page.waitForSelector("main button");
    }

    it("opens without asking for the key, in one browser, once", async () => {
      const url = await reauth("github");
      await inBrowser({}, async (ada) => {
        await openLink(ada, url);
        await ada.page.waitForSelector("#vk", { state: "detached" });
        expect(ada.page.url()).not.toContain("#");
        await ada.expectFits();
        await inBrowser({}, async (mallory) => {
          await openLink(mallory, url);
          expect(await mallory.page.textContent("[role=alert]")).toContain("only once");
          await mallory.page.waitForSelector("#vk");
          await mallory.expectFits();
        });
        await ada.click("main form button");
        await ada.passProvider("github");
        expect(await ada.page.textContent("[role=status]")).toContain("connected");
      });
      expect(await whoami(house, house.key.value, "github")).toBe("alice");
    });

    it("the form for header values takes it too, also when the first value is refused", async () => {
      await inBrowser({}, async (ada) => {
        await openLink(ada, await reauth("tickets"));
        await ada.page.waitForSelector("#vk", { state: "detached" });
        await ada.fillForm("value-of-nobody");
        expect(await ada.page.textContent("[role=alert]")).toContain("does not accept this");
        expect(await ada.page.locator("#vk").count()).toBe(0);
        await ada.fillForm(API_KEY);
        expect(await ada.page.textContent("[role=status]")).toContain("connected");
      });
    });

    it("without JavaScript the same link asks for the key, as every other does", async () => {
      await inBrowser({ javaScriptEnabled: false }, async (ada) => {
        await ada.open(await reauth("github"));
        await ada.page.fill("#vk", house.key.value);
        await ada.click("main form button");
        expect(ada.page.url()).toContain(house.providers.github.issuer);
      });
    });

    /** What the key's own tool asks for: a fresh link for a row that exists. */
    async function reauth(name: string): Promise<string> {
      const authorization = `Bearer ${house.key.value}`;
      const list = await readJson(
        await fetch(`${house.gateway.url}/api/mcp/sessions`, { headers: { authorization } }),
      );
      const row = list.sessions.find((one: { mcp_client: { name: string } }) => one.mcp_client.name === name);
      const path = `/api/mcp/sessions/${row.id}/reauth`;
      const made = await readJson(
        await fetch(house.gateway.url + path, { method: "POST", headers: { authorization } }),
      );
      expect(made.authorize_url).toMatch(/#t=[\w-]{43}$/);
      if (made.kind === "headers") expect(made.submit_url).toBe(made.authorize_url);
      return made.authorize_url;
    }
  },
);
