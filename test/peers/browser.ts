import { Agent, type Dispatcher, request } from "undici";
import { CookieJar } from "./cookie-jar.ts";
import { type Form, type FormFields, form, type Link, link, type Matcher } from "./html-forms.ts";

export {
  type Form,
  type FormFields,
  form,
  forms,
  type Link,
  link,
  links,
  type Matcher,
  textOf,
} from "./html-forms.ts";

export interface BrowserOptions {
  /**
   * "origins" (default): every host and port is a site with cookies of its own, as gateway, provider and client are
   * in production. "hosts": what a real browser does on loopback, where ports share cookies and are one site.
   */
  sites?: "origins" | "hosts";
  /** Sent with every request. */
  headers?: Record<string, string>;
}

export interface VisitOptions {
  /** Where the link or form stood; default for `get` nowhere (a typed address), for `submit` the current page. */
  from?: Page | URL | string;
  /** The first redirect to a URL that starts with one of these is not followed; see `Page.stoppedAt`. */
  stopAt?: string | string[];
  /** Default 20. */
  maxHops?: number;
  /** false hands back the redirect itself; default true. */
  followRedirects?: boolean;
  headers?: Record<string, string>;
}

/** What is shown at the end of a visit, or where it stopped. */
export interface Page {
  /** The address that gave this answer. */
  url: URL;
  status: number;
  headers: Dispatcher.ResponseData["headers"];
  html: string;
  /** Every address requested on the way, this one last. */
  hops: URL[];
  /** The redirect target that was not followed: it matched `stopAt`, or it is no web address. */
  stoppedAt?: URL;
}

interface Step {
  url: URL;
  method: "GET" | "POST";
  body?: string;
}

interface Visit {
  initiator: Page | undefined;
  initiatorUrl: URL | undefined;
  hops: URL[];
  /** A form was sent: the page's `form-action` counts for every redirect after it. */
  isForm: boolean;
  options: VisitOptions;
}

const TIMEOUT_MS = 30_000;

/**
 * A browser as far as HTTP goes: cookies, redirects, forms, and the `Origin`, `Referer` and `Sec-Fetch-*` headers a
 * real one sends. It runs no scripts.
 */
export class Browser {
  readonly cookies: CookieJar;
  /** The last page shown; the default origin of forms and links. */
  page: Page | undefined;
  readonly #agent = new Agent({ headersTimeout: TIMEOUT_MS, bodyTimeout: TIMEOUT_MS });
  readonly #options: BrowserOptions;

  constructor(options: BrowserOptions = {}) {
    this.#options = options;
    this.cookies = new CookieJar((url) => this.#siteOf(url));
  }

  /** Opens an address: typed by the person, or a link on the page `from`. */
  get(url: URL | string, options: VisitOptions = {}): Promise<Page> {
    return this.#visit({ url: new URL(url), method: "GET" }, options, false);
  }

  /** Sends a form by POST, from the current page; where there is none, from the address itself. */
  submit(url: URL | string, fields: FormFields, options: VisitOptions = {}): Promise<Page> {
    const target = new URL(url, this.page?.url);
    const from = options.from ?? this.page ?? target;
    return this.#visit({ url: target, method: "POST", body: encode(fields) }, { ...options, from }, true);
  }

  /**
   * Sends a form of the current page with what is written in it, `fields` over that. `button` is found by its text or
   * its value, and its name and value go along.
   */
  submitForm(
    matcher: Matcher<Form>,
    fields: FormFields = {},
    { button, ...options }: VisitOptions & { button?: string | RegExp } = {},
  ): Promise<Page> {
    const page = this.#current();
    const found = form(page.html, matcher);
    const pressed = button === undefined ? undefined : pressedButton(found, button);
    const all: FormFields = { ...found.fields, ...fields };
    if (pressed?.name) all[pressed.name] = pressed.value;
    const action = new URL(pressed?.action ?? found.action, page.url);
    if (found.method === "post") return this.submit(action, all, { from: page, ...options });
    action.search = encode(all);
    return this.get(action, { from: page, ...options });
  }

  /** Follows a link of the current page. */
  click(matcher: Matcher<Link>, options: VisitOptions = {}): Promise<Page> {
    const page = this.#current();
    return this.get(new URL(link(page.html, matcher).href, page.url), { from: page, ...options });
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  #current(): Page {
    if (!this.page) throw new Error("No page is open");
    return this.page;
  }

  async #visit(first: Step, options: VisitOptions, isForm: boolean): Promise<Page> {
    const { from } = options;
    const initiator = typeof from === "object" && "html" in from ? from : undefined;
    const initiatorUrl = initiator?.url ?? (from ? new URL(from as URL | string) : undefined);
    const visit: Visit = { initiator, initiatorUrl, hops: [], isForm, options };
    let step = first;
    for (;;) {
      assertFormAction(visit, step.url);
      const page = await this.#load(step, visit);
      const next = redirection(step, page);
      if (!next || options.followRedirects === false) return this.#show(page);
      if (shouldStop(next.url, options.stopAt)) {
        assertFormAction(visit, next.url);
        return this.#show({ ...page, stoppedAt: next.url });
      }
      if (visit.hops.length > (options.maxHops ?? 20)) {
        throw new Error(`Too many redirects:\n${visit.hops.map(String).join("\n")}`);
      }
      step = next;
    }
  }

  #show(page: Page): Page {
    this.page = page;
    return page;
  }

  async #load(step: Step, visit: Visit): Promise<Page> {
    visit.hops.push(step.url);
    const answer = await request(step.url, {
      method: step.method,
      headers: this.#headers(step, visit),
      body: step.body ?? null,
      dispatcher: this.#agent,
    });
    const html = await answer.body.text();
    for (const line of [answer.headers["set-cookie"] ?? []].flat()) this.cookies.store(step.url, line);
    return {
      url: step.url,
      status: answer.statusCode,
      headers: answer.headers,
      html,
      hops: [...visit.hops],
    };
  }

  #headers(step: Step, visit: Visit): Record<string, string> {
    const site = this.#fetchSite(visit);
    const cookie = this.cookies.header(step.url, {
      crossSite: site === "cross-site",
      safe: step.method === "GET",
    });
    const referer = refererFor(visit, step.url);
    return {
      accept: "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
      "accept-language": "en",
      "user-agent": "Mozilla/5.0 (test browser)",
      "upgrade-insecure-requests": "1",
      "sec-fetch-site": site,
      "sec-fetch-mode": "navigate",
      "sec-fetch-dest": "document",
      "sec-fetch-user": "?1",
      ...(step.method === "POST" && {
        origin: this.#originFor(step.url, visit),
        "content-type": "application/x-www-form-urlencoded",
      }),
      ...(referer && { referer }),
      ...(cookie && { cookie }),
      ...this.#options.headers,
      ...visit.options.headers,
    };
  }

  /** Fetch Metadata: the worst relation on the way from the initiator through every redirect. */
  #fetchSite({ initiatorUrl, hops }: Visit): "none" | "same-origin" | "same-site" | "cross-site" {
    if (!initiatorUrl) return "none";
    const site = this.#siteOf(initiatorUrl);
    if (hops.some((hop) => this.#siteOf(hop) !== site)) return "cross-site";
    return hops.every((hop) => hop.origin === initiatorUrl.origin) ? "same-origin" : "same-site";
  }

  /** Fetch, "append a request Origin header": the page's referrer policy can hide the origin even from itself. */
  #originFor(url: URL, { initiator, initiatorUrl, hops }: Visit): string {
    const origin = initiatorUrl?.origin ?? url.origin;
    const policy = initiator && policyOf(initiator);
    if (policy === "no-referrer") return "null";
    if (policy === "same-origin" && url.origin !== origin) return "null";
    // A redirect that left the origin taints every one after it.
    const left = hops.slice(0, -1).findIndex((hop) => hop.origin !== origin);
    return left >= 0 && hops.slice(left).some((hop) => hop.origin !== hops[left]?.origin) ? "null" : origin;
  }

  #siteOf(url: URL): string {
    return this.#options.sites === "hosts" ? `${url.protocol}//${url.hostname}` : url.origin;
  }
}

function encode(fields: FormFields): string {
  const body = new URLSearchParams();
  for (const [name, value] of Object.entries(fields))
    for (const one of [value].flat()) body.append(name, one);
  return body.toString();
}

function pressedButton(found: Form, wanted: string | RegExp): Form["buttons"][number] {
  const hit = found.buttons.find((b) =>
    typeof wanted === "string" ? b.text === wanted || b.value === wanted : wanted.test(b.text),
  );
  if (hit) return hit;
  throw new Error(`No button ${String(wanted)}; there are: ${found.buttons.map((b) => b.text).join(", ")}`);
}

function redirection(step: Step, page: Page): Step | undefined {
  const location = [page.headers.location ?? []].flat()[0];
  if (![301, 302, 303, 307, 308].includes(page.status) || location === undefined) return undefined;
  const url = new URL(location, page.url);
  if (!url.hash) url.hash = step.url.hash;
  return page.status >= 307 ? { ...step, url } : { url, method: "GET" };
}

function shouldStop(url: URL, stopAt: string | string[] = []): boolean {
  if (url.protocol !== "http:" && url.protocol !== "https:") return true;
  return [stopAt].flat().some((prefix) => url.href.startsWith(prefix));
}

function policyOf(page: Page): string {
  const given = [page.headers["referrer-policy"] ?? []].flat().at(-1);
  return given?.split(",").at(-1)?.trim() || "strict-origin-when-cross-origin";
}

function refererFor({ initiator, initiatorUrl }: Visit, url: URL): string | undefined {
  if (!initiatorUrl) return undefined;
  const policy = initiator ? policyOf(initiator) : "strict-origin-when-cross-origin";
  const same = initiatorUrl.origin === url.origin;
  if (policy === "no-referrer" || (policy === "same-origin" && !same)) return undefined;
  const full = new URL(initiatorUrl);
  full.hash = "";
  const whole = policy === "unsafe-url" || (same && policy !== "origin" && policy !== "strict-origin");
  return whole ? full.href : `${initiatorUrl.origin}/`;
}

/** CSP `form-action`: Chromium applies it to every redirect after a form, the one back to the client included. */
function assertFormAction({ initiator, isForm }: Visit, target: URL): void {
  if (!isForm || !initiator) return;
  for (const policy of [initiator.headers["content-security-policy"] ?? []].flat().join(",").split(",")) {
    const directive = policy.split(";").find((part) => /^\s*form-action(\s|$)/i.test(part));
    if (!directive) continue;
    const sources = directive.trim().split(/\s+/).slice(1);
    if (sources.some((source) => sourceAllows(source, initiator.url, target))) continue;
    throw new Error(`Blocked by ${directive.trim()} of ${initiator.url.href}: ${target.href}`);
  }
}

function sourceAllows(source: string, self: URL, target: URL): boolean {
  if (source === "'self'") return target.origin === self.origin;
  if (source === "*") return target.protocol === "http:" || target.protocol === "https:";
  if (/^[a-z][a-z\d+.-]*:$/i.test(source)) return target.protocol === source.toLowerCase();
  const [, scheme, host, port] =
    /^(?:([a-z][a-z\d+.-]*):\/\/)?(\*\.[^:/]+|[^:/]+|\[[^\]]+\])(?::(\d+|\*))?/i.exec(source) ?? [];
  if (!host || (scheme && `${scheme.toLowerCase()}:` !== target.protocol)) return false;
  const hostFits = host.startsWith("*.") ? target.hostname.endsWith(host.slice(1)) : host === target.hostname;
  return hostFits && (port === "*" || (port ?? "") === target.port);
}
