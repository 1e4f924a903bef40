import { join } from "node:path";
import type { Page } from "playwright-core";
import { readJson } from "../support/read.ts";
import type { House, OAuthName } from "./five-upstreams.ts";
import { lookFaults } from "./looks.ts";

/** The rates that `setLimits` changes. */
const allLimits = ["guess", "register", "authorize", "token", "api"];
export const password = "correct horse battery staple";

/** A gateway with five upstreams, a browser in front of it, and what a person does there again and again. */
export class Studio {
  readonly house: House;
  readonly #folder: string;
  page: Page;

  constructor(house: House, page: Page, folder: string) {
    this.house = house;
    this.page = page;
    this.#folder = folder;
  }

  /** Clicks and waits for the page it leads to. */
  async press(selector: string, at: Page = this.page): Promise<void> {
    await Promise.all([at.waitForEvent("domcontentloaded"), at.click(selector)]);
  }

  async shoot(name: string, at: Page = this.page): Promise<void> {
    for (const colorScheme of ["light", "dark"] as const) {
      await at.emulateMedia({ colorScheme });
      for (const width of [360, 1280]) {
        await at.setViewportSize({ width, height: width === 360 ? 740 : 800 });
        await at.screenshot({
          path: join(this.#folder, `${name}-${colorScheme}-${width}.png`),
          fullPage: true,
        });
        for (const fault of await lookFaults(at)) console.log(`${name} ${colorScheme} ${width}: ${fault}`);
      }
    }
    await at.emulateMedia({ colorScheme: "light" });
  }

  async setLimits(requests: number): Promise<void> {
    const limits = Object.fromEntries(allLimits.map((name) => [name, { requests, window_seconds: 60 }]));
    await this.house.gateway.admin("PUT", "/api/config", { limits });
  }

  async signIn(email: string, at: Page = this.page): Promise<void> {
    await at.fill("#email", email);
    await at.fill("#password", password);
    await this.press("main form button", at);
  }

  async plainAuthorizeUrl(url: string): Promise<string> {
    const redirect_uri = `${this.house.client.url}/cb`;
    const registered = await fetch(`${url}/api/oauth/per-user/register`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ client_name: "Claude Code", redirect_uris: [redirect_uri] }),
    });
    const { client_id } = await readJson(registered);
    const query = { response_type: "code", client_id, redirect_uri, code_challenge: "c".repeat(43) };
    return `${url}/api/oauth/per-user/authorize?${new URLSearchParams({ ...query, code_challenge_method: "S256" })}`;
  }

  /** Through the provider's pages. `sub`: what it then says whose account it is. */
  async connect(name: OAuthName, sub?: string): Promise<void> {
    await this.press(`[aria-label='Connect ${name}'], [aria-label='Replace ${name}']`);
    await this.passProvider(name, sub);
  }

  async passProvider(name: OAuthName, sub?: string): Promise<void> {
    const provider = this.house.providers[name];
    if (sub !== undefined) {
      const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
      const aud = provider.lastAuthorize!.client_id;
      const exp = Math.floor(Date.now() / 1000) + 600;
      const claims = { iss: provider.issuer, aud, exp, sub, email: `${sub}@example.com` };
      provider.failNextToken({
        status: 200,
        body: {
          access_token: `access-of-${sub}`,
          refresh_token: `refresh-of-${sub}`,
          token_type: "Bearer",
          id_token: `${part({ alg: "none" })}.${part(claims)}.`,
        },
      });
    }
    for (let pages = 0; this.page.url().startsWith(provider.issuer) && pages < 5; pages++)
      await this.press("button");
  }

  async addressOf(upstream: string): Promise<string> {
    type Listed = { clients: { config: { connection_string: string; name: string } }[] };
    const { clients } = await this.house.gateway.admin<Listed>("GET", "/api/mcp/clients");
    return clients.find(({ config }) => config.name === upstream)!.config.connection_string;
  }

  /** A link to connect again, as the signed-in person's own browser asks for it. */
  async reauth(name: string): Promise<string> {
    const { request } = this.page.context();
    if (
      !(await request.get(`${this.house.url}/api/session/is-auth-enabled`).then((answer) => answer.json()))
        .has_valid_token
    )
      throw new Error("not signed in");
    const { sessions } = await (await request.get(`${this.house.url}/api/mcp/sessions`)).json();
    const row = sessions.find(
      (one: { auth_mode: string; mcp_client: { name: string } }) =>
        one.mcp_client.name === name && one.auth_mode === "user",
    );
    const made = await request.post(`${this.house.url}/api/mcp/sessions/${row.id}/reauth`);
    return (await made.json()).authorize_url;
  }

  /** What a call answers with while its caller has not connected this upstream. */
  async callLink(
    name: string,
    caller: Record<string, string> = { authorization: `Bearer ${this.house.key.value}` },
  ): Promise<string> {
    const answer = await fetch(`${this.house.gateway.url}/mcp`, {
      method: "POST",
      headers: {
        ...caller,
        "content-type": "application/json",
        accept: "application/json, text/event-stream",
        "mcp-protocol-version": "2025-11-25",
      },
      body: JSON.stringify({
        jsonrpc: "2.0",
        id: 1,
        method: "tools/call",
        params: { name: `${name}-whoami`, arguments: {} },
      }),
    });
    const text = await answer.text();
    const [link] = /https:[^"\s\\]+/.exec(text) ?? [];
    if (link === undefined) throw new Error(`no link for ${name}: ${text}`);
    return link;
  }
}
