import type { Page } from "playwright-core";
import { expect } from "vitest";
import { API_KEY, type House, type OAuthName, oauthNames } from "./five-upstreams.ts";

/** What a person does at the pages, with their own clicks on our pages counted; a provider's pages do not count. */
export class Visit {
  readonly page: Page;
  readonly house: House;
  clicks = 0;
  /** Pages of ours that were opened by an address and not from another page: 1 is one visit. */
  arrivals = 0;

  constructor(page: Page, house: House) {
    this.page = page;
    this.house = house;
  }

  async open(url: string): Promise<void> {
    this.arrivals += 1;
    await this.page.goto(url);
  }

  async click(selector: string): Promise<void> {
    this.clicks += 1;
    await Promise.all([this.page.waitForEvent("domcontentloaded"), this.page.click(selector)]);
  }

  /** Says who it is with the virtual key; ends at the services page. */
  async approveWithKey(): Promise<void> {
    await this.page.fill("input[name=vk]", this.house.key.value);
    await this.click('form[action$="/consent/vk"] button');
    expect(new URL(this.page.url()).pathname).toBe("/oauth/consent/mcps");
  }

  /** One service by its own way: the provider's pages, or the short form. */
  async connect(name: string): Promise<void> {
    await this.click(`[aria-label="Connect ${name}"]`);
    if (isOAuth(name)) await this.passProvider(name);
    else await this.fillForm();
    expect(await this.state(name)).toContain("Connected");
  }

  async passProvider(name: OAuthName): Promise<void> {
    const { issuer } = this.house.providers[name];
    for (let pages = 0; this.page.url().startsWith(issuer) && pages < 5; pages++)
      await Promise.all([this.page.waitForEvent("domcontentloaded"), this.page.click("button")]);
  }

  async fillForm(value = API_KEY): Promise<void> {
    await this.page.fill('input[name="header.X-Api-Key"]', value);
    await Promise.all([this.page.waitForEvent("domcontentloaded"), this.page.click("main form button")]);
  }

  /** How a service stands on the page. */
  async state(name: string): Promise<string> {
    return (await this.page.locator(".services li", { hasText: name }).locator(".state").textContent()) ?? "";
  }

  async states(): Promise<Record<string, string>> {
    const names = [...oauthNames, "tickets"];
    return Object.fromEntries(await Promise.all(names.map(async (name) => [name, await this.state(name)])));
  }

  /** The last button; resolves with what the client got. */
  async finish(): Promise<URL> {
    await this.click('form[action$="/consent/submit"] button');
    await this.page.waitForURL(`${this.house.client.url}/**`);
    return this.house.client.arrivals.at(-1)!;
  }

  /** Nothing to scroll sideways for. */
  async expectFits(): Promise<void> {
    const [wanted, there] = await this.page.evaluate<[number, number]>(
      "[document.documentElement.scrollWidth, document.documentElement.clientWidth]",
    );
    expect(wanted).toBeLessThanOrEqual(there);
  }
}

export function isOAuth(name: string): name is OAuthName {
  return (oauthNames as readonly string[]).includes(name);
}

/** The account that a tool call of this client acts as; the text of the answer, a link where something is missing. */
export async function whoami(house: House, bearer: string, upstream: string): Promise<string> {
  const answer = await fetch(`${house.gateway.url}/mcp`, {
    method: "POST",
    headers: {
      authorization: `Bearer ${bearer}`,
      "content-type": "application/json",
      accept: "application/json, text/event-stream",
      "mcp-protocol-version": "2025-11-25",
    },
    body: JSON.stringify({
      jsonrpc: "2.0",
      id: 1,
      method: "tools/call",
      params: { name: `${upstream}-whoami`, arguments: {} },
    }),
  });
  const text = await answer.text();
  return /"text":"((?:[^"\\]|\\.)*)"/.exec(text)?.[1] ?? text;
}
