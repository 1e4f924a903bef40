import { setTimeout as pause } from "node:timers/promises";
import { Browser, form, links, type Page } from "../peers/browser.ts";

const RELOADS = 8;
const PAUSE_MS = 250;
const MOST_HOPS = 20;

/**
 * A person at a browser who loads a page again when it did not come: each step by itself, so that only the step that failed
 * is repeated, as a browser does with the address that it shows.
 */
export class Visitor {
  readonly browser = new Browser();
  /** How often something had to be loaded again. */
  reloads = 0;
  page: Page | undefined;

  close(): Promise<void> {
    return this.browser.close();
  }

  /** `stopAt`: a redirect there is not followed but handed back. */
  open(url: URL | string, stopAt?: string): Promise<Page> {
    return this.#walk(() => this.browser.get(url, { followRedirects: false }), stopAt);
  }

  /** Sends the form whose action contains `action`. */
  send(action: string, fields: Record<string, string>, stopAt?: string): Promise<Page> {
    const page = this.page!;
    const { action: target, fields: written } = form(page.html, action);
    const url = new URL(target, page.url);
    const all = { ...written, ...fields };
    return this.#walk(() => this.browser.submit(url, all, { from: page, followRedirects: false }), stopAt);
  }

  /** Follows the first link with this text; false where there is none. */
  async click(text: string): Promise<boolean> {
    const page = this.page!;
    const found = links(page.html).find((one) => one.text === text);
    if (!found) return false;
    const url = new URL(found.href, page.url);
    await this.#walk(() => this.browser.get(url, { from: page, followRedirects: false }));
    return true;
  }

  async #walk(first: () => Promise<Page>, stopAt?: string): Promise<Page> {
    let page = await this.#patiently(first);
    for (let hop = 0; hop < MOST_HOPS; hop++) {
      const location = [page.headers.location ?? []].flat()[0];
      if (page.status < 300 || page.status >= 400 || location === undefined) {
        this.page = page;
        return page;
      }
      const next = new URL(location, page.url);
      if (stopAt !== undefined && next.href.startsWith(stopAt)) return { ...page, stoppedAt: next };
      page = await this.#patiently(() => this.browser.get(next, { followRedirects: false }));
    }
    throw new Error("too many redirects");
  }

  async #patiently(load: () => Promise<Page>): Promise<Page> {
    for (let attempt = 0; ; attempt++) {
      try {
        const page = await load();
        if (page.status !== 503 || attempt === RELOADS) return page;
      } catch (error) {
        if (attempt === RELOADS) throw error;
      }
      this.reloads++;
      await pause(PAUSE_MS);
    }
  }
}
