import { expect, it } from "vitest";
import type { Browser } from "../../test/peers/browser.ts";
import { onBothDatabases } from "../../test/support/databases.ts";
import { type Rig, rig } from "./connect.suite.ts";
import { closing } from "./swap.suite.ts";

const path = "/workspace/mcp-sessions/address";

/** Leaves for the provider and ends at an address that this browser does not open. */
async function left(r: Rig, browser: Browser, url: string): Promise<string> {
  await browser.get(url);
  const page = await browser.submitForm(/mcp-sessions\/auth/, {}, { stopAt: `${r.base}/api/oauth/callback` });
  return page.stoppedAt!.href;
}

async function paste(r: Rig, browser: Browser, address: string) {
  await browser.get(r.base + path);
  return browser.submitForm(/sessions\/address/, { address });
}

onBothDatabases("an address brought by hand", (open) => {
  it("counts as if the browser had opened it: once, in this browser, for this person", async () => {
    const r = await rig(open, closing);
    const alice = await r.person("alice");
    const bob = await r.person("bob");
    const { url } = await r.connect.start(alice.owner, r.upstream);
    const address = await left(r, alice.browser, url);
    // CB-15: with another browser's cookie nothing is claimed and the code goes nowhere.
    expect((await paste(r, bob.browser, address)).status).toBe(403);
    expect((await paste(r, r.browser(), address)).status).toBe(403);
    expect(r.provider.tokenCalls()).toBe(0);
    const done = await paste(r, alice.browser, `  ${address}\n`);
    expect(done.html).toContain("Connected");
    expect(done.html).not.toContain("code=");
    expect((await r.vault.open(alice.owner, r.upstream)).outcome).toBe("ready");
    expect((await paste(r, alice.browser, address)).status).toBe(410);
    expect(r.provider.tokenCalls()).toBe(1);
  });

  it("UP-04 UP-05 what is no way back of ours, another upstream's, or another issuer's is not used", async () => {
    const r = await rig(open, closing);
    const alice = await r.person("alice");
    const { url } = await r.connect.start(alice.owner, r.upstream);
    const address = new URL(await left(r, alice.browser, url));
    for (const wrong of [
      "",
      "hello",
      `https://evil.example${address.pathname}${address.search}`,
      `${r.base}/login`,
    ]) {
      const shown = await paste(r, alice.browser, wrong);
      expect(shown.html, wrong).toContain("That is not an address");
      expect(shown.html).not.toContain("evil");
    }
    const other = new URL(address);
    other.pathname = `/api/oauth/callback/${r.other.id}`;
    expect((await paste(r, alice.browser, other.href)).status).toBe(400);
    const second = new URL(
      await left(r, alice.browser, (await r.connect.start(alice.owner, r.upstream)).url),
    );
    second.searchParams.set("iss", "https://evil.example");
    expect((await paste(r, alice.browser, second.href)).status).toBe(400);
    expect(r.provider.tokenCalls()).toBe(0);
  });

  it("a refusal of the provider comes back to the link, and a form of another site is refused", async () => {
    const r = await rig(open, closing);
    const alice = await r.person("alice");
    const { url } = await r.connect.start(alice.owner, r.upstream);
    const address = await left(r, alice.browser, url);
    const foreign = await alice.browser.submit(r.base + path, { address }, { from: "https://evil.example/" });
    expect(foreign.status).toBe(403);
    const declined = new URL(address);
    declined.searchParams.delete("code");
    declined.searchParams.set("error", "access_denied");
    const page = await paste(r, alice.browser, declined.href);
    expect(page.html).toContain("declined there");
    expect(page.html).toContain("Try again");
  });
});
