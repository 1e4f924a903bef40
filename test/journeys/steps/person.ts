import assert from "node:assert/strict";
import { Browser, type Page, textOf } from "../../peers/browser.ts";

/** Whoever sits at the browser when a client asks for access. */
export interface Approver {
  browser: Browser;
  /** The whole consent; resolves with the redirect to the client, which is not followed. */
  allow(url: URL | string, redirectUri: string): Promise<URL>;
}

/** Finishes the consent on the services page; the redirect to the client is not followed. */
export async function finishConsent(browser: Browser, redirectUri: string): Promise<URL> {
  const page = await browser.submitForm("/consent/submit", {}, { stopAt: redirectUri });
  assert.ok(page.stoppedAt, `the consent ended at ${describe(page)}`);
  return page.stoppedAt;
}

/** Somebody with a browser and a virtual key. */
export class Person implements Approver {
  readonly browser = new Browser();
  readonly key: string;

  constructor(key: string) {
    this.key = key;
  }

  /** Opens the authorization URL of a client and names the key; ends at the services page. */
  async approve(url: URL | string): Promise<Page> {
    const consent = await this.browser.get(url);
    assertPage(consent, "/oauth/consent");
    const services = await this.browser.submitForm("/consent/vk", { vk: this.key });
    return assertPage(services, "/oauth/consent/mcps");
  }

  /** The whole consent, with nothing connected on the way. */
  async allow(url: URL | string, redirectUri: string): Promise<URL> {
    await this.approve(url);
    return finishConsent(this.browser, redirectUri);
  }

  /** Opens a connect link, gives the key, goes to the provider and comes back. */
  async connect(link: string): Promise<Page> {
    const page = await this.browser.get(link);
    assertPage(page, "/workspace/mcp-sessions/auth");
    const end = await this.browser.submitForm((form) => "vk" in form.fields, { vk: this.key });
    assertPage(end);
    return end;
  }

  close(): Promise<void> {
    return this.browser.close();
  }
}

/** The person who runs the gateway; an account with a login, no key. */
export class Administrator implements Approver {
  readonly browser = new Browser();

  /** Makes the first account by the one-time link; signed in afterwards. */
  async setUp(link: string): Promise<void> {
    assertPage(await this.browser.get(link), "/setup");
    const home = await this.browser.submitForm("/setup", {
      email: "admin@example.com",
      password: "correct horse battery staple",
    });
    assertPage(home, "/");
  }

  /** The consent as the signed-in account, with nothing connected on the way. */
  async allow(url: URL | string, redirectUri: string): Promise<URL> {
    assertPage(await this.browser.get(url), "/oauth/consent");
    assertPage(await this.browser.submitForm("/consent/user-id"), "/oauth/consent/mcps");
    return finishConsent(this.browser, redirectUri);
  }

  /** Opens a connect link of the own account, or of an upstream's own discovery, and signs in at the provider. */
  async connect(link: string): Promise<Page> {
    assertPage(await this.browser.get(link), "/workspace/mcp-sessions/auth");
    const end = await this.browser.submitForm((form) => form.method === "post" && "flow" in form.fields);
    return assertPage(end);
  }

  close(): Promise<void> {
    return this.browser.close();
  }
}

/** A page that opened (200), at `path` where given. */
export function assertPage(page: Page, path?: string): Page {
  assert.equal(page.status, 200, `the browser ended at ${describe(page)}`);
  if (path !== undefined) assert.equal(page.url.pathname, path, `the browser ended at ${describe(page)}`);
  return page;
}

function describe(page: Page): string {
  return `${page.url.pathname} (${page.status}): ${textOf(page.html).slice(0, 400)}`;
}
