import { expect, it } from "vitest";
import type { Browser, Page } from "../../test/peers/browser.ts";
import { textOf } from "../../test/peers/browser.ts";
import { onBothDatabases } from "../../test/support/databases.ts";
import type { Owner } from "../base/index.ts";
import { type Rig, rig } from "./connect.suite.ts";
import { asked, closing } from "./swap.suite.ts";

const path = "/workspace/mcp-sessions/code";

interface Bench extends Rig {
  alice: { owner: Owner; browser: Browser };
  link: { flowId: string; url: string };
  /** The page with the code, asked for anew. */
  code(): Promise<string>;
  /** "I have done that", or the page looking again. */
  look(browser?: Browser): Promise<Page>;
}

async function bench(open: Parameters<typeof rig>[0]): Promise<Bench> {
  const r = await rig(open, closing, { deviceFlow: true });
  const alice = await r.person("alice");
  const link = await r.connect.start(alice.owner, r.upstream);
  const code = async () => {
    const page = await alice.browser.get(link.url);
    expect(page.html, "the way to a code").toContain("Use a code instead");
    await alice.browser.click(/mcp-sessions\/code/);
    const shown = await alice.browser.submitForm(/sessions\/code/);
    expect(shown.status, shown.html).toBe(200);
    return codeOn(shown);
  };
  const look = (browser = alice.browser) => {
    r.world.advance(6_000);
    return browser.get(`${r.base}${path}?flow=${link.flowId}&waiting=1`);
  };
  return { ...r, alice, link, code, look };
}

function codeOn(page: Page): string {
  return /<code[^>]*>([^<]+)<\/code>/.exec(page.html)?.[1] ?? "";
}

/** What the person does at the provider, in any browser. */
async function typeThere(r: Rig, code: string, browser = r.browser()): Promise<void> {
  await browser.get(`${r.provider.issuer}/device`);
  await browser.submitForm(/device/, { user_code: code });
  const done = await browser.submitForm(/device/, { confirm: "yes" });
  expect(textOf(done.html)).toContain("Done");
}

async function status(r: Rig, owner: Owner): Promise<string> {
  const opened = await r.vault.open(owner, r.upstream);
  return opened.outcome === "needs_user" ? opened.reason : opened.outcome;
}

onBothDatabases("connecting with a code (RFC 8628)", (open) => {
  it("the code is typed in another browser; the page looks, waits, and connects", async () => {
    const b = await bench(open);
    const code = await b.code();
    expect(code).toMatch(/^[A-Z0-9]{4}-[A-Z0-9]{4}$/);
    expect(b.alice.browser.page!.html).toContain(`${b.provider.issuer}/device`);
    const waiting = await b.look();
    expect([waiting.status, waiting.headers.refresh]).toEqual([200, "6"]);
    expect(waiting.html).toContain("Not done there yet");
    expect(codeOn(waiting)).toBe(code);
    await typeThere(b, code);
    const done = await b.look();
    expect(done.html).toContain("Connected");
    expect(await status(b, b.alice.owner)).toBe("ready");
    const asked = b.provider.tokenRequests.map(({ grantType, params, status: answered }) => [
      grantType,
      params.resource,
      answered,
    ]);
    const grant = "urn:ietf:params:oauth:grant-type:device_code";
    const resource = b.upstream.url.href;
    expect(asked).toEqual([
      [grant, resource, 400],
      [grant, resource, 200],
    ]);
    expect((await b.look()).html).toContain("Connected");
    expect(b.provider.tokenRequests).toHaveLength(2);
  });

  it("asks no sooner than the provider wants, slower when told so, and not twice at once", async () => {
    const b = await bench(open);
    await b.code();
    const again = () => b.alice.browser.get(`${b.base}${path}?flow=${b.link.flowId}&waiting=1`);
    await again();
    expect(b.provider.requests.token).toBe(0);
    const held = b.provider.holdNextToken();
    const first = b.look();
    await held.arrived;
    expect((await again()).html).toContain("Not done there yet");
    held.release();
    await first;
    expect(b.provider.requests.token).toBe(1);
    b.provider.failNextToken({ status: 400, body: { error: "slow_down" } });
    expect((await b.look()).headers.refresh).toBe("11");
    await b.look();
    expect(b.provider.requests.token).toBe(2);
    b.provider.loseNextTokenAnswer();
    expect((await b.look()).headers.refresh).toBe("21");
    expect(b.provider.requests.token).toBe(3);
  });

  it("UP-03 another browser and another person get no further; a code that was replaced connects nothing", async () => {
    const b = await bench(open);
    const bob = await b.person("bob");
    const code = await b.code();
    expect((await b.look(bob.browser)).status).toBe(403);
    const elsewhere = b.browser();
    expect((await b.look(elsewhere)).status).toBe(401);
    // The same person in another browser: there is no code here, and one can be asked for.
    const session = b.alice.browser.cookies.header(new URL(b.base), { crossSite: false, safe: true }) ?? "";
    const cookie = session
      .split("; ")
      .filter((one) => one.includes("session"))
      .join("; ");
    const shown = await elsewhere.get(`${b.base}${path}?flow=${b.link.flowId}&waiting=1`, {
      headers: { cookie },
    });
    expect(shown.html).toContain("Get a code");
    expect(shown.html).not.toContain(code);
    await typeThere(b, code);
    const second = await b.code();
    expect(second).not.toBe(code);
    expect((await b.look()).html).toContain("Not done there yet");
    expect(await status(b, b.alice.owner)).toBe("missing");
  });

  it("declined there, expired there, and withdrawn here: nothing is stored, and what was given is given back", async () => {
    const b = await bench(open);
    await b.code();
    b.provider.failNextToken({ status: 400, body: { error: "access_denied" } });
    const declined = await b.look();
    expect(declined.html).toContain("declined there");
    await b.code();
    b.provider.failNextToken({ status: 400, body: { error: "expired_token" } });
    expect((await b.look()).html).toContain("was not used in time");
    const code = await b.code();
    await typeThere(b, code);
    const held = b.provider.holdNextToken("after");
    const looking = b.look();
    await held.arrived;
    await b.connect.start(b.alice.owner, b.upstream, "", { replace: true });
    held.release();
    expect((await looking).status).toBe(410);
    await b.outbox.run(b.database);
    expect(b.provider.revocations.length).toBeGreaterThan(0);
    expect(await status(b, b.alice.owner)).toBe("missing");
  });

  it("UP-31 another account than before is asked about here too", async () => {
    const b = await bench(open);
    await typeThere(b, await b.code());
    await b.look();
    const row = { subject: "somebody-else", subject_name: "old@example.com" };
    await b.database.db.updateTable("credentials").set(row).execute();
    const { url, flowId } = await b.connect.start(b.alice.owner, b.upstream, "", { replace: true });
    await b.alice.browser.get(url);
    await b.alice.browser.click(/mcp-sessions\/code/);
    await b.alice.browser.submitForm(/sessions\/code/);
    const payload = { iss: b.provider.issuer, sub: "me", aud: await clientId(b), exp: 4_000_000_000 };
    const unsigned = (part: unknown) => Buffer.from(JSON.stringify(part)).toString("base64url");
    b.provider.failNextToken({
      status: 200,
      body: {
        access_token: "access-of-me-now",
        token_type: "Bearer",
        id_token: `${unsigned({ alg: "none" })}.${unsigned(payload)}.`,
      },
    });
    b.world.advance(6_000);
    const page = await b.alice.browser.get(`${b.base}${path}?flow=${flowId}&waiting=1`);
    expect(page.html).toContain(asked);
    await b.alice.browser.submitForm(/mcp-sessions\/account/, {}, { button: /Keep/ });
    expect(await status(b, b.alice.owner)).toBe("ready");
  });

  it("a key's link asks for the key once; a consent's goes by its own gate", async () => {
    const b = await bench(open);
    const key = await b.key("ci");
    const { flowId } = await b.connect.start(key.owner, b.upstream);
    const browser = b.browser();
    await browser.get(`${b.base}${path}?flow=${flowId}`);
    expect((await browser.submitForm(/sessions\/code/, { vk: "sk-bf-guess" })).html).toContain(
      "not the virtual key",
    );
    const shown = await browser.submitForm(/sessions\/code/, { vk: key.value });
    await typeThere(b, codeOn(shown));
    b.world.advance(6_000);
    expect((await browser.get(`${b.base}${path}?flow=${flowId}&waiting=1`)).html).toContain("Connected");

    const consent = `${b.base}/oauth/consent/code?mcp_client_id=${b.other.id}&flow_id=flow_consent`;
    expect((await browser.get(consent)).status).toBe(403);
    b.gate.set(b.other.id, "flow_consent");
    const page = await browser.get(consent);
    expect(page.html).toContain("a key of this test");
    await typeThere(b, codeOn(await browser.submitForm(/sessions\/code/)));
    b.world.advance(6_000);
    const back = await browser.get(`${page.url}&waiting=1`, { stopAt: `${b.base}/oauth/consent` });
    expect(back.stoppedAt?.pathname).toBe("/oauth/consent/mcps");
    expect((await b.vault.find({ mode: "flow", id: "flow_consent" }, b.other.id, ""))?.status).toBe("active");
  });
});

async function clientId(r: Rig): Promise<string> {
  const row = await r.database.db
    .selectFrom("oauth_configs")
    .select("client_id")
    .where("upstream_id", "=", r.upstream.id)
    .executeTakeFirstOrThrow();
  return row.client_id!;
}
