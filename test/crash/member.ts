import { createHash, randomBytes } from "node:crypto";
import { type House, headerValue } from "./house.ts";
import { type Answered, Web } from "./web.ts";

const redirectUri = "http://127.0.0.1:1/callback";

/** What a client holds of a consent that is on its way. */
export interface Consent {
  flowId: string;
  verifier: string;
}

export interface Tokens {
  access: string;
  refresh: string;
}

/** What a tool call came to: its text, or that somebody has to do something first. */
export type Called = { text: string } | { prompt: string } | { refused: number };

/** Somebody with a virtual key (or none), a browser and a client, step by step: each step can be repeated after a crash. */
export class Member {
  readonly house: House;
  /** Also what the provider calls it. */
  readonly name: string;
  /** Its virtual key, and that one's id; undefined: it goes without. */
  readonly key: string | undefined;
  readonly keyId: string | undefined;
  readonly web: Web;
  #clientId = "";

  constructor(house: House, name: string, key?: { id: string; value: string }) {
    this.house = house;
    this.name = name;
    this.key = key?.value;
    this.keyId = key?.id;
    this.web = house.keep(new Web(house.base));
  }

  /** With a key of its own. */
  static async withKey(house: House, name: string): Promise<Member> {
    const { virtual_key } = await house.admin("POST", "/api/governance/virtual-keys", { name });
    return new Member(house, name, virtual_key);
  }

  async begin(): Promise<Consent> {
    this.#clientId ||= await this.#register();
    const verifier = randomBytes(32).toString("base64url");
    const parameters = {
      response_type: "code",
      client_id: this.#clientId,
      redirect_uri: redirectUri,
      scope: "mcp",
      state: "s",
      resource: `${this.house.base}/mcp`,
      code_challenge: createHash("sha256").update(verifier).digest("base64url"),
      code_challenge_method: "S256",
    };
    const answered = await this.web.get(`/api/oauth/per-user/authorize?${new URLSearchParams(parameters)}`);
    return { flowId: led(answered).searchParams.get("flow_id")!, verifier };
  }

  /** Names the key, or goes without one. */
  async identify({ flowId }: Consent): Promise<void> {
    const fields: Record<string, string> = this.key === undefined ? {} : { vk: this.key };
    const way = this.key === undefined ? "skip" : "vk";
    const answered = await this.web.form(`/api/oauth/per-user/consent/${way}`, {
      flow_id: flowId,
      ...fields,
    });
    if (led(answered).pathname !== "/oauth/consent/mcps") throw odd("identity", answered);
  }

  /** Leaves for the provider, and stands before the way back: the address that it sends the browser to. */
  async leave({ flowId }: Consent, account = this.name): Promise<URL> {
    const query = new URLSearchParams({ mcp_client_id: this.house.oauthUpstream, flow_id: flowId });
    return this.#atProvider(
      led(await this.web.get(`/api/oauth/per-user/upstream/authorize?${query}`)),
      account,
    );
  }

  comeBack(callback: URL): Promise<Answered> {
    return this.web.get(callback);
  }

  giveHeader({ flowId }: Consent): Promise<Answered> {
    return this.web.form("/oauth/consent/headers", {
      mcp_client_id: this.house.headerUpstream,
      flow_id: flowId,
      "header.X-Api-Key": headerValue,
    });
  }

  submit({ flowId }: Consent): Promise<Answered> {
    return this.web.form("/api/oauth/per-user/consent/submit", { flow_id: flowId });
  }

  redeem(code: string, { verifier }: Consent): Promise<Answered> {
    return this.web.form("/api/oauth/per-user/token", {
      grant_type: "authorization_code",
      client_id: this.#clientId,
      redirect_uri: redirectUri,
      code_verifier: verifier,
      code,
    });
  }

  refresh({ refresh }: Tokens): Promise<Answered> {
    return this.web.form("/api/oauth/per-user/token", {
      grant_type: "refresh_token",
      client_id: this.#clientId,
      refresh_token: refresh,
    });
  }

  async call({ access }: Tokens, tool = "guarded-whoami", web = this.web): Promise<Called> {
    const _meta = {
      "io.modelcontextprotocol/protocolVersion": "2026-07-28",
      "io.modelcontextprotocol/clientCapabilities": {},
      "io.modelcontextprotocol/clientInfo": { name: "crash", version: "1" },
    };
    const headers = {
      accept: "application/json, text/event-stream",
      authorization: `Bearer ${access}`,
      "mcp-protocol-version": "2026-07-28",
      "mcp-method": "tools/call",
      "mcp-name": tool,
    };
    const params = { name: tool, arguments: {}, _meta };
    const message = { jsonrpc: "2.0", id: 1, method: "tools/call", params };
    const answered = await web.json("POST", "/mcp", message, headers);
    if (answered.status !== 200) return { refused: answered.status };
    const link = /http[^"\\\s]*\/workspace\/mcp-sessions\/auth\?flow=[^"\\\s&)]*/.exec(answered.text)?.[0];
    if (link !== undefined) return { prompt: link };
    const { result } = JSON.parse(answered.text) as {
      result?: { content?: { text?: string }[]; isError?: boolean };
    };
    const text = result?.content?.[0]?.text;
    if (text === undefined || result?.isError) throw odd("a call", answered);
    return { text };
  }

  /** Follows the link of a prompt to the provider and back. */
  async reconnect(link: string): Promise<Answered> {
    const flow = new URL(link).searchParams.get("flow")!;
    const fields = { flow, ...(this.key === undefined ? {} : { vk: this.key }) };
    const away = led(await this.web.form("/workspace/mcp-sessions/auth", fields));
    return this.comeBack(await this.#atProvider(away, this.name));
  }

  /** The whole consent; `connecting` both services or none. */
  async consent(connecting: boolean): Promise<Tokens> {
    const consent = await this.begin();
    await this.identify(consent);
    if (connecting) await this.connectBoth(consent);
    return tokensOf(await this.redeem(codeOf(await this.submit(consent)), consent));
  }

  async connectBoth(consent: Consent): Promise<void> {
    led(await this.comeBack(await this.leave(consent)), "/oauth/consent/mcps");
    led(await this.giveHeader(consent), "/oauth/consent/mcps");
  }

  /** Signs in there; `login_hint` is what tells parallel visits apart. */
  async #atProvider(address: URL, account: string): Promise<URL> {
    address.searchParams.set("login_hint", account);
    return led(await this.web.get(address));
  }

  async #register(): Promise<string> {
    const answered = await this.web.json("POST", "/api/oauth/per-user/register", {
      client_name: `Client of ${this.name}`,
      redirect_uris: [redirectUri],
      token_endpoint_auth_method: "none",
    });
    if (answered.status !== 201) throw odd("registration", answered);
    return JSON.parse(answered.text).client_id;
  }
}

/** Where an answer leads; throws what it is when it leads nowhere, or not to `path`. */
export function led(answered: Answered, path?: string): URL {
  const { location } = answered;
  if (!location || location.searchParams.has("error") || (path !== undefined && location.pathname !== path))
    throw odd("a redirect", answered);
  return location;
}

export function codeOf(answered: Answered): string {
  const code = led(answered).searchParams.get("code");
  if (code === null) throw odd("a code", answered);
  return code;
}

export function tokensOf(answered: Answered): Tokens {
  if (answered.status !== 200) throw odd("tokens", answered);
  const { access_token: access, refresh_token: refresh } = JSON.parse(answered.text);
  return { access, refresh };
}

export function odd(wanted: string, { status, location, text }: Answered): Error {
  return new Error(`${wanted} expected, not ${status} ${location?.href ?? ""} ${text.slice(0, 600)}`);
}
