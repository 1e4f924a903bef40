import { createHash } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { text } from "node:stream/consumers";
import { type LoopbackServer, startLoopbackServer } from "../peers/loopback-server.ts";
import { markedSecret } from "../support/marked.ts";
import type { Chance } from "./chance.ts";

/** How a provider treats refresh tokens (RFC 9700 §4.14.2). */
export interface Shape {
  name: string;
  /**
   * "keeps": one refresh token for good. "tolerates": a new one each time; the last one works again until its successor was
   * used. "ends": a new one each time; a used one that comes back ends everything.
   */
  rotation: "keeps" | "tolerates" | "ends";
  /** Seconds that an access token works. */
  life: number;
  /** Days after which a refresh token that nobody uses is dead. */
  restDays?: number;
}

/** How often something goes wrong at the provider. Shares of all refreshes, or of all calls. */
export interface Weather {
  lost: number;
  failing: number;
  /** Access tokens that the upstream refuses before their time. */
  early: number;
}

/** What happened at a service; the truth that a gateway is held against. */
export interface Tally {
  signIns: number;
  refreshes: number;
  failed: number;
  /** Answers that were cut off after they had taken effect. */
  lost: number;
  /** Those after which nobody holds a refresh token that works, by whose account it was. */
  lostForGood: Record<string, number>;
  early: number;
  calls: number;
}

interface Grant {
  account: string;
  current: string;
  previous: string | undefined;
  usedAt: number;
  isEnded: boolean;
}

interface Access {
  grant: Grant;
  since: number;
  until: number;
}

const DAY_MS = 24 * 60 * 60_000;
/** An upstream may lag behind its provider for a moment; one that refuses what is a moment old is broken. */
const SETTLED_MS = 90_000;

/** An MCP server of the 2026-07-28 revision and its provider, on one origin, who live by a simulated clock. */
export class SimulatedService {
  readonly tally: Tally = {
    signIns: 0,
    refreshes: 0,
    failed: 0,
    lost: 0,
    lostForGood: {},
    early: 0,
    calls: 0,
  };
  readonly shape: Shape;
  /** Who sits at the browser when somebody comes to sign in. */
  account = "";
  readonly #listening: LoopbackServer;
  readonly #now: () => number;
  readonly #chance: Chance;
  readonly #weather: Weather;
  readonly #codes = new Map<string, { account: string; challenge: string }>();
  readonly #byRefresh = new Map<string, Grant>();
  readonly #access = new Map<string, Access>();

  static async start(shape: Shape, now: () => number, chance: Chance, weather: Weather) {
    return new SimulatedService(await startLoopbackServer(), shape, now, chance, weather);
  }

  private constructor(
    listening: LoopbackServer,
    shape: Shape,
    now: () => number,
    chance: Chance,
    weather: Weather,
  ) {
    this.#listening = listening;
    this.shape = shape;
    this.#now = now;
    this.#chance = chance;
    this.#weather = weather;
    listening.server.on("request", (req, res) => void this.#serve(req, res));
  }

  get url(): string {
    return `${this.#listening.origin}/mcp`;
  }

  get host(): string {
    return new URL(this.#listening.origin).host;
  }

  close(): Promise<void> {
    return this.#listening.close();
  }

  async #serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const { origin } = this.#listening;
    const url = new URL(req.url ?? "/", origin);
    const body = await text(req).catch(() => "");
    switch (url.pathname) {
      case "/mcp":
        return this.#call(req, res, body);
      case "/token":
        return this.#token(res, new URLSearchParams(body));
      case "/authorize":
        return this.#authorize(res, url.searchParams);
      case "/register":
        return send(res, 201, { ...JSON.parse(body), client_id: "the-gateway", client_id_issued_at: 1 });
      case "/.well-known/oauth-protected-resource/mcp":
        return send(res, 200, {
          resource: this.url,
          authorization_servers: [origin],
          scopes_supported: ["mcp"],
        });
      case "/.well-known/oauth-authorization-server":
        return send(res, 200, {
          issuer: origin,
          authorization_endpoint: `${origin}/authorize`,
          token_endpoint: `${origin}/token`,
          registration_endpoint: `${origin}/register`,
          response_types_supported: ["code"],
          grant_types_supported: ["authorization_code", "refresh_token"],
          code_challenge_methods_supported: ["S256"],
          token_endpoint_auth_methods_supported: ["none"],
          authorization_response_iss_parameter_supported: true,
        });
      default:
        return send(res, 404, { error: "not_found" });
    }
  }

  #authorize(res: ServerResponse, query: URLSearchParams): void {
    const code = markedSecret();
    this.#codes.set(code, { account: this.account, challenge: query.get("code_challenge") ?? "" });
    const back = new URL(query.get("redirect_uri")!);
    back.searchParams.set("code", code);
    back.searchParams.set("state", query.get("state") ?? "");
    back.searchParams.set("iss", this.#listening.origin);
    res.writeHead(302, { location: back.href }).end();
  }

  #token(res: ServerResponse, form: URLSearchParams): void {
    if (form.get("grant_type") === "refresh_token") {
      this.#refresh(res, form.get("refresh_token") ?? "");
      return;
    }
    const code = this.#codes.get(form.get("code") ?? "");
    this.#codes.delete(form.get("code") ?? "");
    const verifier = createHash("sha256")
      .update(form.get("code_verifier") ?? "")
      .digest("base64url");
    if (code?.challenge !== verifier) {
      send(res, 400, { error: "invalid_grant" });
      return;
    }
    this.tally.signIns++;
    const current = markedSecret();
    const grant = {
      account: code.account,
      current,
      previous: undefined,
      usedAt: this.#now(),
      isEnded: false,
    };
    this.#byRefresh.set(current, grant);
    send(res, 200, this.#pair(grant, current));
  }

  #refresh(res: ServerResponse, presented: string): void {
    if (this.#chance.hits(this.#weather.failing)) {
      this.tally.failed++;
      const status = this.#chance.one([500, 502, 503, 429]);
      const headers: Record<string, string> = status === 503 ? { "retry-after": "3" } : {};
      send(res, status, status === 502 ? "<h1>Bad gateway</h1>" : {}, headers);
      return;
    }
    const grant = this.#byRefresh.get(presented);
    const isRested = grant && this.#now() - grant.usedAt > (this.shape.restDays ?? 365) * DAY_MS;
    if (!grant || grant.isEnded || isRested) {
      send(res, 400, { error: "invalid_grant" });
      return;
    }
    const isTaken =
      presented === grant.current || (this.shape.rotation === "tolerates" && presented === grant.previous);
    if (!isTaken) {
      // RFC 9700 §4.14.2: somebody has a copy.
      grant.isEnded = true;
      send(res, 400, { error: "invalid_grant" });
      return;
    }
    this.tally.refreshes++;
    grant.usedAt = this.#now();
    const answer = this.#pair(
      grant,
      this.shape.rotation === "keeps" ? undefined : this.#rotate(grant, presented),
    );
    if (!this.#chance.hits(this.#weather.lost)) {
      send(res, 200, answer);
      return;
    }
    this.tally.lost++;
    if (this.shape.rotation === "ends") {
      const { lostForGood } = this.tally;
      lostForGood[grant.account] = (lostForGood[grant.account] ?? 0) + 1;
    }
    res.socket?.destroy();
  }

  #rotate(grant: Grant, presented: string): string {
    if (this.shape.rotation === "tolerates" && grant.previous !== presented)
      this.#byRefresh.delete(grant.previous ?? "");
    if (grant.current !== presented) this.#byRefresh.delete(grant.current);
    grant.previous = presented;
    grant.current = markedSecret();
    this.#byRefresh.set(grant.current, grant);
    return grant.current;
  }

  #pair(grant: Grant, refreshToken: string | undefined): Record<string, unknown> {
    const access = markedSecret();
    const since = this.#now();
    this.#access.set(access, { grant, since, until: since + this.shape.life * 1000 });
    return {
      access_token: access,
      token_type: "Bearer",
      expires_in: this.shape.life,
      scope: "mcp",
      ...(refreshToken === undefined ? {} : { refresh_token: refreshToken }),
    };
  }

  #call(req: IncomingMessage, res: ServerResponse, body: string): void {
    const token = req.headers.authorization?.replace(/^Bearer /, "") ?? "";
    const access = this.#access.get(token);
    const now = this.#now();
    const isSettled = access !== undefined && now - access.since > SETTLED_MS;
    if (isSettled && this.#chance.hits(this.#weather.early)) {
      this.tally.early++;
      this.#access.delete(token);
    }
    const taken = this.#access.get(token);
    if (!taken || taken.until <= now) {
      const metadata = `${this.#listening.origin}/.well-known/oauth-protected-resource/mcp`;
      const error = token === "" ? "" : 'error="invalid_token", ';
      send(res, 401, {}, { "www-authenticate": `Bearer ${error}resource_metadata="${metadata}"` });
      return;
    }
    const message = JSON.parse(body) as { id?: unknown; method: string };
    if (message.method === "tools/call") this.tally.calls++;
    const result = resultOf(message.method, taken.grant.account);
    const id = message.id ?? null;
    if (result) {
      send(res, 200, { jsonrpc: "2.0", id, result });
      return;
    }
    const data = { supported: ["2026-07-28"] };
    send(res, 400, {
      jsonrpc: "2.0",
      id,
      error: { code: -32022, message: "Unsupported protocol version", data },
    });
  }
}

function resultOf(method: string, account: string): object | undefined {
  const complete = {
    resultType: "complete",
    _meta: { "io.modelcontextprotocol/serverInfo": { name: "sim", version: "1" } },
  };
  const cacheable = { ...complete, ttlMs: 0, cacheScope: "private" };
  if (method === "tools/call") return { ...complete, content: [{ type: "text", text: account }] };
  if (method === "tools/list")
    return { ...cacheable, tools: [{ name: "whoami", inputSchema: { type: "object" } }] };
  if (method === "server/discover")
    return { ...cacheable, supportedVersions: ["2026-07-28"], capabilities: { tools: {} } };
  return undefined;
}

function send(
  res: ServerResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  const isText = typeof body === "string";
  res.writeHead(status, { "content-type": isText ? "text/html" : "application/json", ...headers });
  res.end(isText ? body : JSON.stringify(body));
}
