import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ModernUpstream, startModernUpstream } from "../peers/modern-upstream.ts";
import { freshPostgresDatabase } from "../postgres/database.ts";
import { type RunningGateway, startGateway } from "../support/gateway.ts";
import { readJson } from "../support/read.ts";
import { chromiumPath, openWindow } from "./chromium.ts";

const phone = { viewport: { width: 360, height: 740 }, javaScriptEnabled: false };
const names = ["X-Api-Key", "X-A-Header-With-A-Name-That-Is-Longer-Than-A-Phone-Is-Wide-Altogether"];

describe.skipIf(chromiumPath === undefined).each(["sqlite", "postgres"])(
  "the form for header values in a real browser, on %s",
  (kind) => {
    let drop: (() => Promise<void>) | undefined;
    let upstream: ModernUpstream;
    let gateway: RunningGateway;
    let key: { id: string; value: string };

    beforeAll(async () => {
      const accounts = { "value-of-ada": "ada" };
      upstream = await startModernUpstream({ protection: { kind: "header", name: "x-api-key", accounts } });
      const database = kind === "postgres" ? await freshPostgresDatabase() : undefined;
      drop = database?.drop;
      gateway = await startGateway({
        ...(database && { databaseUrl: database.url }),
        outboundAllow: [new URL(upstream.url).host],
      });
      await gateway.admin("POST", "/api/mcp/client", {
        name: "tickets",
        connection_string: upstream.url,
        auth_type: "per_user_headers",
        per_user_header_keys: names,
        user_headers: { [names[0]!]: "value-of-ada", [names[1]!]: "any" },
        tools_to_execute: ["*"],
        allow_on_all_virtual_keys: true,
      });
      type Made = { virtual_key: { id: string; value: string } };
      const made = await gateway.admin<Made>("POST", "/api/governance/virtual-keys", { name: "ada" });
      key = made.virtual_key;
    });

    afterAll(async () => {
      await gateway?.stop();
      await upstream?.close();
      await drop?.();
    });

    it("on a phone without JavaScript: refused values come back to the empty form, good ones are kept", async () => {
      await using window = await openWindow(phone);
      const page = await window.context.newPage();
      const send = async (value: string) => {
        await page.fill("input[name=vk]", key.value);
        await page.fill(`input[name="header.${names[0]}"]`, value);
        await page.fill(`input[name="header.${names[1]}"]`, "any");
        await page.click("button");
      };
      await page.goto(await link());
      expect(await page.getByLabel(names[0]!).getAttribute("type")).toBe("password");
      expect(await page.textContent("main")).toContain("the virtual key “ada”");
      await expectFits();
      await send("value-of-nobody");
      expect(await page.textContent("[role=alert]")).toContain("does not accept this");
      expect(await page.inputValue(`input[name="header.${names[0]}"]`)).toBe("");
      expect(page.url()).not.toContain("value-of-nobody");
      await expectFits();
      await send("value-of-ada");
      expect(await page.textContent("h1")).toBe("Connected");
      await expectFits();
      expect(window.complaints.filter((text) => /Content Security Policy|Refused/i.test(text))).toEqual([]);

      async function expectFits(): Promise<void> {
        const [wanted, there] = await page.evaluate<[number, number]>(
          "[document.documentElement.scrollWidth, document.documentElement.clientWidth]",
        );
        expect(wanted).toBeLessThanOrEqual(there);
      }
    });

    it("Connect on the services page leads to the same form and back, on a phone without JavaScript", async () => {
      await using window = await openWindow(phone);
      const page = await window.context.newPage();
      await page.goto(await consent());
      await page.fill("input[name=vk]", key.value);
      await page.click('form[action$="/consent/vk"] button');
      await page.click('a[href^="/oauth/consent/headers"]');
      expect(await page.textContent("main")).toContain("virtual key ada");
      for (const value of ["value-of-nobody", "value-of-ada"]) {
        await page.fill(`input[name="header.${names[0]}"]`, value);
        await page.fill(`input[name="header.${names[1]}"]`, "any");
        await page.click("button");
      }
      expect(new URL(page.url()).pathname).toBe("/oauth/consent/mcps");
      expect(await page.textContent(".services")).toContain("Connected");
      expect(window.complaints.filter((text) => /Content Security Policy|Refused/i.test(text))).toEqual([]);
    });

    /** The address at which a client of the person begins. */
    async function consent(): Promise<string> {
      const redirect_uri = "http://127.0.0.1:9/cb";
      const registered = await fetch(`${gateway.url}/api/oauth/per-user/register`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ client_name: "Browser test", redirect_uris: [redirect_uri] }),
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

    /** What a call of the key answers with while its values are missing. */
    async function link(): Promise<string> {
      const answer = await fetch(`${gateway.url}/mcp`, {
        method: "POST",
        headers: {
          authorization: `Bearer ${key.value}`,
          "content-type": "application/json",
          accept: "application/json, text/event-stream",
          "mcp-protocol-version": "2025-11-25",
        },
        body: JSON.stringify({
          jsonrpc: "2.0",
          id: 1,
          method: "tools/call",
          params: { name: "tickets-whoami", arguments: {} },
        }),
      });
      const [url] = /http:[^"\s\\]+/.exec(await answer.text()) ?? [];
      return url ?? "";
    }
  },
);
