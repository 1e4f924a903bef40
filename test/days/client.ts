import { createHash, randomBytes } from "node:crypto";
import { request } from "undici";
import { Browser } from "../peers/browser.ts";

const redirectUri = "http://127.0.0.1:1/callback";
const json = { "content-type": "application/json", accept: "application/json, text/event-stream" };

/** What a call comes to: the account that answered, a link to connect, or not now. */
export type CallOutcome =
  | { is: "answered"; text: string }
  | { is: "asked"; link: string }
  | { is: "later"; why: string };

interface Pair {
  access: string;
  refresh: string;
}

/** A person's MCP client with the tokens that the gateway gave it, and the person at the browser with a virtual key. */
export class DaysClient {
  readonly name: string;
  readonly browser = new Browser();
  /** How often the client had to send its person through the gateway's own consent again. */
  signIns = 0;
  refreshes = 0;
  lostAnswers = 0;
  readonly #origin: string;
  readonly #key: string;
  #clientId = "";
  #pair: Pair = { access: "", refresh: "" };

  constructor(origin: string, name: string, key: string) {
    this.#origin = origin;
    this.name = name;
    this.#key = key;
  }

  close(): Promise<void> {
    return this.browser.close();
  }

  /** Registration, consent with this person's key, `connect` on the services page for each upstream, submit, code. */
  async signIn(services: number): Promise<void> {
    this.signIns++;
    const registered = await this.#post("/api/oauth/per-user/register", {
      client_name: this.name,
      redirect_uris: [redirectUri],
      grant_types: ["authorization_code", "refresh_token"],
      response_types: ["code"],
      token_endpoint_auth_method: "none",
    });
    this.#clientId = String(registered.body.client_id);
    const verifier = randomBytes(32).toString("base64url");
    const url = new URL("/api/oauth/per-user/authorize", this.#origin);
    url.search = new URLSearchParams({
      response_type: "code",
      client_id: this.#clientId,
      redirect_uri: redirectUri,
      scope: "mcp",
      code_challenge: createHash("sha256").update(verifier).digest("base64url"),
      code_challenge_method: "S256",
    }).toString();
    await this.browser.get(url);
    await this.browser.submitForm("/consent/vk", { vk: this.#key });
    for (let n = 0; n < services; n++) await this.browser.click(({ text }) => text === "Connect");
    const end = await this.browser.submitForm("/consent/submit", {}, { stopAt: redirectUri });
    const code = end.stoppedAt?.searchParams.get("code");
    if (!code)
      throw new Error(`the consent of ${this.name} ended with ${end.status}: ${end.html.slice(0, 500)}`);
    await this.#exchange({
      grant_type: "authorization_code",
      code,
      redirect_uri: redirectUri,
      code_verifier: verifier,
    });
  }

  /** As an MCP client: with a new token once the old one is refused. `isLost`: the gateway's answer to that is lost once. */
  async call(tool: string, isLost = false): Promise<CallOutcome> {
    const first = await this.#call(tool);
    if (first !== "unauthorized") return first;
    this.refreshes++;
    const old = this.#pair;
    await this.#exchange({ grant_type: "refresh_token", refresh_token: old.refresh });
    if (isLost) {
      // The client never saw it, and asks again with what it has.
      this.lostAnswers++;
      this.#pair = old;
      await this.#exchange({ grant_type: "refresh_token", refresh_token: old.refresh });
    }
    const second = await this.#call(tool);
    if (second === "unauthorized") throw new Error("a token that was just given is refused");
    return second;
  }

  /** Opens a connect link, shows the key, and goes through the provider. */
  async connect(link: string): Promise<void> {
    await this.browser.get(link);
    const end = await this.browser.submitForm((form) => "vk" in form.fields, { vk: this.#key });
    if (end.status !== 200) throw new Error(`connecting ended with ${end.status}: ${end.html.slice(0, 500)}`);
  }

  async #call(tool: string): Promise<CallOutcome | "unauthorized"> {
    const _meta = {
      "io.modelcontextprotocol/protocolVersion": "2026-07-28",
      "io.modelcontextprotocol/clientCapabilities": {},
      "io.modelcontextprotocol/clientInfo": { name: "days", version: "1" },
    };
    const answer = await request(`${this.#origin}/mcp`, {
      method: "POST",
      // The gateway starts again now and then.
      reset: true,
      headers: {
        ...json,
        authorization: `Bearer ${this.#pair.access}`,
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": "tools/call",
        "mcp-name": tool,
      },
      body: JSON.stringify({
        jsonrpc: "2.0",
        id: 1,
        method: "tools/call",
        params: { name: tool, arguments: {}, _meta },
      }),
    });
    const body = await answer.body.text();
    if (answer.statusCode === 401) return "unauthorized";
    const isStream = answer.headers["content-type"]?.includes("event-stream");
    return outcomeOf(isStream ? ([...body.matchAll(/^data: ?(.*)$/gm)].at(-1)?.[1] ?? "") : body);
  }

  async #exchange(parameters: Record<string, string>): Promise<void> {
    const { status, body } = await this.#post(
      "/api/oauth/per-user/token",
      new URLSearchParams({ client_id: this.#clientId, ...parameters }),
    );
    if (status !== 200)
      throw new Error(`${this.name} has to sign in again: ${status} ${JSON.stringify(body)}`);
    this.#pair = { access: String(body.access_token), refresh: String(body.refresh_token) };
  }

  async #post(path: string, body: object): Promise<{ status: number; body: Record<string, unknown> }> {
    const isForm = body instanceof URLSearchParams;
    const answer = await request(this.#origin + path, {
      method: "POST",
      reset: true,
      headers: isForm ? { "content-type": "application/x-www-form-urlencoded" } : json,
      body: isForm ? body.toString() : JSON.stringify(body),
    });
    return { status: answer.statusCode, body: (await answer.body.json()) as Record<string, unknown> };
  }
}

function outcomeOf(text: string): CallOutcome {
  const { result, error } = JSON.parse(text) as {
    result?: { isError?: boolean; content?: { text?: string }[] };
    error?: { message: string };
  };
  const said = result?.content?.[0]?.text ?? "";
  const link = /Open this URL to connect your account: (\S+)/.exec(said)?.[1];
  if (link) return { is: "asked", link };
  if (result && !result.isError) return { is: "answered", text: said };
  return { is: "later", why: error?.message ?? said };
}
