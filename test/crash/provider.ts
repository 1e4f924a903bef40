import { randomBytes } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { text } from "node:stream/consumers";
import { startLoopbackServer } from "../peers/loopback-server.ts";

/** What a provider makes of a refresh token that it has replaced: takes it once more, or ends the whole family. */
export type Shape = "tolerant" | "strict";

/** What one consent at the provider led to. */
export interface Family {
  account: string;
  refresh: string;
  /** Refresh tokens that were replaced. */
  spent: Set<string>;
  /** When each access token ends, in milliseconds. */
  access: Map<string, number>;
  ended: "" | "reuse" | "request";
}

interface Asked {
  account: string;
  redirectUri: string;
}

/** A provider that rotates refresh tokens, knows what it gave to whom, and asks nobody anything. */
export class Provider {
  readonly families: Family[] = [];
  /** Who consents, where the request names nobody (`login_hint`). */
  account = "somebody";
  /** Seconds. */
  accessTokenTtl = 3600;
  /** The same for each access token on its own. */
  lifetime = () => this.accessTokenTtl;
  /** What has been decided about tokens is answered when this resolves. */
  held: (() => Promise<void>) | undefined;
  tokenCalls = 0;
  /** The family of the last access token that served an account. */
  readonly lastUsed = new Map<string, Family>();
  shape: Shape;
  readonly #now: () => number;
  readonly #codes = new Map<string, Asked>();
  #origin = "";
  #close: () => Promise<void> = async () => {};

  constructor(shape: Shape, now: () => number) {
    this.shape = shape;
    this.#now = now;
  }

  get issuer(): string {
    return this.#origin;
  }

  async start(): Promise<this> {
    const { origin, close } = await startLoopbackServer((req, res) => void this.#serve(req, res));
    this.#origin = origin;
    this.#close = close;
    return this;
  }

  close(): Promise<void> {
    return this.#close();
  }

  /** Whose access token it is, if it still counts. */
  accountOf(access: string): string | undefined {
    const family = this.families.find((one) => one.access.has(access));
    if (family?.ended !== "" || family.access.get(access)! <= this.#now()) return undefined;
    this.lastUsed.set(family.account, family);
    return family.account;
  }

  /** What somebody consented to, in order. */
  of(account: string): Family[] {
    return this.families.filter((family) => family.account === account);
  }

  async #serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const url = new URL(req.url ?? "/", this.#origin);
    const sent = req.method === "POST" ? await text(req).catch(() => "") : "";
    const [status, body, headers] = this.#answer(url, sent);
    if (url.pathname === "/token") await this.held?.();
    res.writeHead(status, { "content-type": "application/json", ...headers });
    res.end(JSON.stringify(body));
  }

  #answer(url: URL, sent: string): [number, object, Record<string, string>?] {
    switch (url.pathname) {
      case "/.well-known/oauth-authorization-server":
        return [200, this.#metadata()];
      case "/register":
        return [201, { ...JSON.parse(sent), client_id: "postern" }];
      case "/authorize":
        return [302, {}, { location: this.#authorize(url.searchParams) }];
      case "/token":
        return this.#token(new URLSearchParams(sent));
      case "/revoke":
        return this.#revoke(new URLSearchParams(sent).get("token") ?? "");
      default:
        return [404, {}];
    }
  }

  #metadata(): object {
    const at = (path: string) => `${this.#origin}/${path}`;
    return {
      issuer: this.#origin,
      authorization_endpoint: at("authorize"),
      token_endpoint: at("token"),
      registration_endpoint: at("register"),
      revocation_endpoint: at("revoke"),
      code_challenge_methods_supported: ["S256"],
      token_endpoint_auth_methods_supported: ["none"],
      response_types_supported: ["code"],
      authorization_response_iss_parameter_supported: true,
    };
  }

  #authorize(asked: URLSearchParams): string {
    const code = newValue();
    const redirectUri = asked.get("redirect_uri")!;
    this.#codes.set(code, { account: asked.get("login_hint") ?? this.account, redirectUri });
    const back = new URL(redirectUri);
    back.search = new URLSearchParams({ code, state: asked.get("state")!, iss: this.#origin }).toString();
    return back.href;
  }

  #token(form: URLSearchParams): [number, object] {
    this.tokenCalls += 1;
    if (form.get("grant_type") === "refresh_token") return this.#refresh(form.get("refresh_token") ?? "");
    const code = form.get("code") ?? "";
    const asked = this.#codes.get(code);
    this.#codes.delete(code);
    if (!asked || asked.redirectUri !== form.get("redirect_uri")) return [400, { error: "invalid_grant" }];
    const family: Family = {
      account: asked.account,
      refresh: "",
      spent: new Set(),
      access: new Map(),
      ended: "",
    };
    this.families.push(family);
    return [200, { ...this.#pair(family), id_token: this.#idToken(asked.account) }];
  }

  #refresh(token: string): [number, object] {
    const family = this.families.find((one) => one.refresh === token || one.spent.has(token));
    if (family?.ended !== "") return [400, { error: "invalid_grant" }];
    if (family.refresh !== token && this.shape === "strict") {
      family.ended = "reuse";
      return [400, { error: "invalid_grant" }];
    }
    return [200, this.#pair(family)];
  }

  #pair(family: Family): object {
    if (family.refresh !== "") family.spent.add(family.refresh);
    family.refresh = newValue();
    const access = newValue();
    const seconds = this.lifetime();
    family.access.set(access, this.#now() + seconds * 1000);
    return {
      access_token: access,
      token_type: "Bearer",
      expires_in: seconds,
      refresh_token: family.refresh,
    };
  }

  #revoke(token: string): [number, object] {
    const family = this.families.find(
      (one) => one.refresh === token || one.spent.has(token) || one.access.has(token),
    );
    if (family?.ended === "") family.ended = "request";
    return [200, {}];
  }

  /** Unsigned: it comes straight from the token endpoint, and only its subject is read. */
  #idToken(account: string): string {
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const exp = Math.ceil(this.#now() / 1000) + 3600;
    const claims = { iss: this.#origin, aud: "postern", sub: account, exp };
    return `${part({ alg: "none" })}.${part(claims)}.`;
  }
}

function newValue(): string {
  return randomBytes(18).toString("base64url");
}
