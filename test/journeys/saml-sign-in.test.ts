import { expect, test } from "vitest";
import { ssoConfig } from "../../src/sso/index.ts";
import { Browser, form, type Page } from "../peers/browser.ts";
import { type SamlIdentityProvider, startSamlProvider } from "../peers/saml-provider.ts";
import { Management } from "./steps/management.ts";
import { journeys, type Stage, type TestGateway } from "./steps/stage.ts";

const MINUTE = 60_000;

interface Company {
  gateway: TestGateway;
  idp: SamlIdentityProvider;
  metadata(): Promise<string>;
  browser(): Browser;
  /** To the identity provider's page. */
  leave(browser: Browser, returnTo?: string): Promise<Page>;
}

async function openCompany(stage: Stage, more: Record<string, unknown> = {}): Promise<Company> {
  const idp = stage.keep(await startSamlProvider({ now: () => Date.now() }));
  idp.person = {
    nameId: "n-ada",
    attributes: { email: "ada@example.com", name: "Ada", groups: ["engineers"], role: ["staff"] },
  };
  const gateway = await stage.gateway([], (config) => {
    const entry = {
      id: "corp",
      type: "saml",
      name: "Corp",
      issuer: idp.entityId,
      sso_url: idp.ssoUrl,
      certificates: [idp.certificate.cert],
      claims: { groups: "groups", role: "role" },
      roles: { boss: "admin" },
      ...more,
    };
    config.sso = ssoConfig.parse({ providers: [entry] });
  });
  return {
    gateway,
    idp,
    metadata: async () => (await fetch(`${gateway.baseUrl}/login/sso/corp/metadata`)).text(),
    browser: () => stage.keep(new Browser()),
    leave: async (browser, returnTo = "/") => {
      await browser.get(`${gateway.baseUrl}/login?${new URLSearchParams({ return_to: returnTo })}`);
      return browser.submitForm(/Corp/);
    },
  };
}

/** Who is signed in in this browser; undefined: nobody. */
async function whoIs({ gateway }: Company, browser: Browser): Promise<Record<string, unknown> | undefined> {
  const { status, html } = await browser.get(`${gateway.baseUrl}/api/session`);
  return status === 200 ? JSON.parse(html).user : undefined;
}

/** What the person posts from the identity provider's page, as somebody else could. */
function carried(page: Page): { url: URL; SAMLResponse: string; RelayState: string } {
  const { action, fields } = form(page.html);
  return { url: new URL(action), ...(fields as { SAMLResponse: string; RelayState: string }) };
}

journeys("sign-in by SAML", (stage) => {
  test("a person signs in, gets an account, and comes back as the same person with what is said of them now", async () => {
    const company = await openCompany(stage);
    const { idp, gateway } = company;
    const browser = company.browser();
    await company.leave(browser, "/?from=here");
    const [request] = idp.requests;
    expect(request!.xml).toContain(`AssertionConsumerServiceURL="${gateway.baseUrl}/login/sso/corp/acs"`);
    expect(Buffer.byteLength(request!.relayState)).toBeLessThanOrEqual(80);
    const back = await browser.submitForm(/SAMLResponse/);
    expect(back.status).toBe(200);
    expect(`${back.url.pathname}${back.url.search}`).toBe("/?from=here");
    const ada = await whoIs(company, browser);
    expect(ada).toMatchObject({ email: "ada@example.com", name: "Ada", role: "member" });

    const { attributes } = idp.person!;
    idp.person = {
      nameId: "n-ada",
      attributes: { ...attributes, role: ["staff", "boss"], email: "bob@example.com" },
    };
    const other = company.browser();
    await company.leave(other);
    await other.submitForm(/SAMLResponse/);
    expect(await whoIs(company, other)).toMatchObject({ id: ada!.id, role: "admin" });
    expect(await whoIs(company, browser)).toMatchObject({ id: ada!.id });
  });

  test("the answer of one browser signs nobody else in, and counts once (CB-24, ID-29)", async () => {
    const company = await openCompany(stage);
    const mallory = company.browser();
    const answer = carried(await company.leave(mallory));
    const victim = company.browser();
    await victim.get(`${company.gateway.baseUrl}/`);
    const fields = { SAMLResponse: answer.SAMLResponse, RelayState: answer.RelayState };
    const lured = await victim.submit(answer.url, fields, { from: "https://evil.example.com/" });
    expect(lured.status).toBe(403);
    expect(lured.html).toContain("sso_other_browser");
    expect(await whoIs(company, victim)).toBeUndefined();

    const again = await mallory.submit(answer.url, fields, { from: "https://evil.example.com/" });
    expect(again.status).toBe(410);
    await mallory.get(lured.url);
    expect(await whoIs(company, mallory)).toMatchObject({ email: "ada@example.com" });
    expect((await mallory.get(lured.url)).status).toBe(410);
  });

  test("whom somebody lured into answering their own request signs them in nowhere (CB-24)", async () => {
    const company = await openCompany(stage);
    const mallory = company.browser();
    const { url, SAMLResponse, RelayState } = carried(await company.leave(mallory));
    const victim = company.browser();
    const fields = { SAMLResponse, RelayState };
    const lured = await victim.submit(url, fields, { from: `${company.idp.origin}/` });
    expect(lured.html).toContain("sso_other_browser");
    // Mallory has the cookie and the RelayState, and never saw where the victim's browser was sent on to.
    const finish = new URL("/login/sso/corp/finish", company.gateway.baseUrl);
    finish.searchParams.set("trip", RelayState);
    expect((await mallory.get(finish.href)).status).toBe(400);
    finish.searchParams.set("landing", RelayState);
    const page = await mallory.get(finish.href);
    expect([page.status, page.html.includes("sso_other_browser")]).toEqual([403, true]);
    expect(await whoIs(company, mallory)).toBeUndefined();
  });

  test("a session known before the sign-in is worth nothing after it (CB-08)", async () => {
    const company = await openCompany(stage);
    const browser = company.browser();
    await company.leave(browser);
    await browser.submitForm(/SAMLResponse/);
    const before = browser.cookies.header(new URL(company.gateway.baseUrl), { crossSite: false, safe: true });
    await company.leave(browser);
    await browser.submitForm(/SAMLResponse/);
    const old = await fetch(`${company.gateway.baseUrl}/api/session`, { headers: { cookie: before! } });
    expect(old.status).toBe(401);
  });

  test("what is refused is a page that says what to do, tells nothing of the answer and changes nothing", async () => {
    const company = await openCompany(stage);
    const { idp, gateway } = company;
    const admin = new Management(gateway.baseUrl, gateway.adminToken);
    const browser = company.browser();
    for (const [say, signing] of [
      [{ audience: "https://other.example.com" }, {}],
      [{ nameId: "n-ada<!---->.eve" }, {}],
      [{}, { what: "nothing" }],
      [{}, { algorithm: "http://www.w3.org/2000/09/xmldsig#rsa-sha1" }],
      [{ issuer: "https://other.example.com" }, {}],
      [{ inResponseTo: "_another" }, {}],
    ] as const) {
      Object.assign(idp, { say, signing });
      await company.leave(browser);
      const page = await browser.submitForm(/SAMLResponse/);
      expect(page.status).toBe(403);
      expect(page.html).toContain("sso_answer_refused");
      expect(page.html).not.toMatch(/example\.com|rsa-sha1|n-ada/);
    }
    Object.assign(idp, { say: {}, signing: {}, person: undefined });
    await company.leave(browser);
    expect((await browser.submitForm(/SAMLResponse/)).status).toBe(403);
    expect(await whoIs(company, browser)).toBeUndefined();
    expect(await admin.expect(200, "GET", "/api/users")).toMatchObject({ total_count: 0 });
    await gateway.runJobs();
    const { events } = await admin.expect(200, "GET", "/api/audit?event=session.refused");
    expect(events.length).toBe(7);
  });

  test("an identity provider that begins is refused, or its person asked first where that is allowed", async () => {
    const closed = await openCompany(stage);
    const unasked = await closed.idp.respond(await closed.metadata());
    const acs = (base: string) => `${base}/login/sso/corp/acs`;
    const browser = closed.browser();
    const from = "https://portal.example.com/";
    expect(
      (await browser.submit(acs(closed.gateway.baseUrl), { SAMLResponse: unasked }, { from })).status,
    ).toBe(400);

    const open = await openCompany(stage, { allow_idp_initiated: true });
    const SAMLResponse = await open.idp.respond(await open.metadata());
    const person = open.browser();
    const page = await person.submit(
      acs(open.gateway.baseUrl),
      { SAMLResponse, RelayState: "/?x" },
      { from },
    );
    expect(page.html).toContain("Sign in as ada@example.com?");
    expect(await whoIs(open, person)).toBeUndefined();
    person.page = page;
    expect((await person.submitForm(/Sign in/)).url.search).toBe("?x");
    expect(await whoIs(open, person)).toMatchObject({ email: "ada@example.com" });
    const replayed = await open.browser().submit(acs(open.gateway.baseUrl), { SAMLResponse }, { from });
    expect([replayed.status, replayed.html.includes("sso_answer_refused")]).toEqual([403, true]);
  });

  test("a linked identity is proved by both, and an address that another account has opens nothing (ID-18)", async () => {
    const company = await openCompany(stage);
    const admin = new Management(company.gateway.baseUrl, company.gateway.adminToken);
    await admin.expect(200, "POST", "/api/users", {
      email: "ada@example.com",
      name: "Ada",
      password: "vivid-otter-lamp-91",
    });
    const browser = company.browser();
    await company.leave(browser);
    const page = await browser.submitForm(/SAMLResponse/);
    expect([page.status, page.html.includes("email_of_another_account")]).toEqual([409, true]);
    await browser.get(`${company.gateway.baseUrl}/login`);
    await browser.submitForm(/password/, { email: "ada@example.com", password: "vivid-otter-lamp-91" });
    await browser.get(`${company.gateway.baseUrl}/account/identities`);
    await browser.submitForm(/link\/corp/);
    expect((await browser.submitForm(/SAMLResponse/)).html).toContain("Corp");
    const again = company.browser();
    await company.leave(again);
    await again.submitForm(/SAMLResponse/);
    expect(await whoIs(company, again)).toMatchObject({ email: "ada@example.com", name: "Ada" });
  });

  // The last one: clocks of gateways go on from here.
  test("an answer too late, one to a finished sign-in and one to nothing are told apart", async () => {
    const company = await openCompany(stage);
    const browser = company.browser();
    const late = carried(await company.leave(browser));
    stage.advance(11 * MINUTE);
    const { SAMLResponse, RelayState } = late;
    expect((await browser.submit(late.url, { SAMLResponse, RelayState })).status).toBe(410);
    const stray = await browser.submit(late.url, { SAMLResponse, RelayState: "never-made-here" });
    expect([stray.status, stray.html.includes("sso_answer_unknown")]).toEqual([400, true]);
    expect((await browser.submit(late.url, { SAMLResponse })).status).toBe(400);
    expect((await browser.submit(late.url, { RelayState })).status).toBe(400);
    expect(await whoIs(company, browser)).toBeUndefined();
  });
});
