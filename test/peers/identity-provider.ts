import { generateKeyPairSync } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { text } from "node:stream/consumers";
import { createLocalJWKSet, jwtVerify } from "jose";
import { type Context, Provider, type StoredToken } from "oidc-provider";
import { markedSecret } from "../support/marked.ts";
import { offerExchange } from "./exchange-grant.ts";
import { type CannedAnswer, Faults, type Held } from "./faults.ts";
import { answerInteraction } from "./interactions.ts";
import { type LoopbackServer, startLoopbackServer } from "./loopback-server.ts";
import { MemoryStore } from "./memory-store.ts";
import { providerConfiguration, resourceServer, scopesOf } from "./provider-configuration.ts";
import { emptyCounts, endpointOf, type ServerEndpoint } from "./provider-endpoints.ts";
import type { AuthorizationServerOptions, TokenRequest, VerifiedToken } from "./provider-options.ts";

export type { ServerEndpoint } from "./provider-endpoints.ts";
export type * from "./provider-options.ts";

/** Starts a real OAuth/OIDC authorization server (`oidc-provider`) on 127.0.0.1. */
export async function startAuthorizationServer(
  options: AuthorizationServerOptions = {},
): Promise<AuthorizationServer> {
  const listening = await startLoopbackServer(undefined, options.port);
  return new AuthorizationServer(listening, options);
}

export class AuthorizationServer {
  readonly issuer: string;
  /** Seconds; counts for tokens issued from now on. */
  accessTokenTtl: number;
  /** Who the next login is, in "auto" mode. */
  accountForNextLogin = "alice";
  /** The query of the last request to the authorization endpoint. */
  lastAuthorize: Record<string, string> | undefined;
  /** The last redirect back to a client, as this server sent it. */
  lastRedirect: URL | undefined;
  readonly tokenRequests: TokenRequest[] = [];
  readonly revocations: Record<string, unknown>[] = [];
  readonly registrations: Record<string, unknown>[] = [];
  /** Ids of the clients that ended their registration (RFC 7592). */
  readonly deletions: string[] = [];
  /** Requests by endpoint, whatever became of them. */
  readonly requests: Record<ServerEndpoint, number> = emptyCounts();
  readonly faults = new Faults<ServerEndpoint>();
  /** Changes the metadata documents before they are served. */
  editMetadata: ((document: Record<string, unknown>) => Record<string, unknown>) | undefined;

  readonly #options: AuthorizationServerOptions;
  readonly #listening: LoopbackServer;
  readonly #store = new MemoryStore();
  readonly #publicKeys: ReturnType<typeof createLocalJWKSet>;
  readonly #provider: Provider;
  readonly #prefix: string;
  /** Ids of the access tokens that still work; JWTs are in no storage, so this is how they are withdrawn. */
  readonly #live = new Set<string>();
  #denial: { error: string; error_description?: string } | undefined;
  #redirectEdit: ((url: URL) => void) | undefined;

  constructor(listening: LoopbackServer, options: AuthorizationServerOptions) {
    this.#options = options;
    this.#listening = listening;
    this.#prefix = options.issuerPath ?? "";
    this.issuer = `${listening.origin}${this.#prefix}`;
    this.accessTokenTtl = options.accessTokenTtl ?? 3600;
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const key = { ...privateKey.export({ format: "jwk" }), kid: "test", alg: "ES256", use: "sig" };
    const { d: _private, ...publicKey } = key;
    this.#publicKeys = createLocalJWKSet({ keys: [publicKey as never] });
    this.#provider = new Provider(
      this.issuer,
      providerConfiguration(options, {
        key,
        adapter: this.#store.adapter,
        port: listening.port,
        prefix: this.#prefix,
        accessTokenTtl: () => this.accessTokenTtl,
      }),
    );
    markTokens(this.#provider);
    if (options.exchange)
      offerExchange(this.#provider, options.exchange, (resource) =>
        resourceServer(options, resource, this.accessTokenTtl),
      );
    const issuing = ["access_token", "client_credentials"].flatMap((one) => [
      `${one}.issued`,
      `${one}.saved`,
    ]);
    for (const event of issuing) {
      this.#provider.on(event, (token: StoredToken) => this.#live.add(token.jti));
    }
    this.#provider.use((ctx, next) => this.#observe(ctx, next));
    const callback = this.#provider.callback();
    listening.server.on("request", (req, res) => {
      this.#route(req);
      void callback(req, res);
    });
  }

  /** How many token requests of this grant type came, or of all. */
  tokenCalls(grantType?: string): number {
    return this.tokenRequests.filter((r) => grantType === undefined || r.grantType === grantType).length;
  }

  /** The next `times` token requests get this answer and have no effect. */
  failNextToken(answer: CannedAnswer, times = 1): void {
    this.faults.failNext("token", answer, times);
  }

  /** The next token request waits until released: `before` it takes effect, or `after`. */
  holdNextToken(when: "before" | "after" = "before"): Held {
    return this.faults.holdNext("token", when);
  }

  /** The next token request takes effect (a refresh token is rotated) and its answer is lost. */
  loseNextTokenAnswer(): void {
    this.faults.loseNext("token");
  }

  /** The next login is answered with an OAuth error at the client's redirect URI. */
  denyNext(error = "access_denied", description?: string): void {
    this.#denial = { error, ...(description === undefined ? {} : { error_description: description }) };
  }

  /** Changes the next redirect back to a client: another `iss`, no `state`, another code. */
  editNextRedirect(edit: (url: URL) => void): void {
    this.#redirectEdit = edit;
  }

  /** Access tokens issued so far work no more; refresh tokens still do. */
  withdrawAccessTokens(): void {
    this.#live.clear();
    this.#store.forget("AccessToken", "ClientCredentials");
  }

  /** Every grant, refresh token and access token is gone, as when the person removed the client at the provider. */
  withdrawGrants(): void {
    this.withdrawAccessTokens();
    this.#store.forget("RefreshToken", "Grant", "AuthorizationCode", "Session");
  }

  /** Clients that registered themselves are not known any more; what they were given is still theirs alone. */
  withdrawClients(): void {
    this.#store.forget("Client");
  }

  /** What the token says, or undefined when it does not work (unknown, expired, withdrawn, revoked). */
  async verifyAccessToken(token: string): Promise<VerifiedToken | undefined> {
    const found = token.split(".").length === 3 ? await this.#readJwt(token) : await this.#readOpaque(token);
    if (!found || !this.#live.has(found.jti) || (found.exp ?? 0) <= Date.now() / 1000) return undefined;
    return {
      // A token of a client's own stands for the client.
      account: found.accountId ?? found.clientId ?? "",
      clientId: found.clientId ?? "",
      scopes: (found.scope ?? "").split(" ").filter(Boolean),
      audience: Array.isArray(found.aud) ? found.aud[0] : found.aud,
      expiresAt: found.exp ?? 0,
      ...(found.jkt && { jkt: found.jkt }),
    };
  }

  /** Empties the records and counters; planned faults stay. */
  forgetRequests(): void {
    this.tokenRequests.length = 0;
    this.revocations.length = 0;
    this.registrations.length = 0;
    this.lastAuthorize = undefined;
    this.lastRedirect = undefined;
    Object.assign(this.requests, emptyCounts());
  }

  async close(): Promise<void> {
    this.faults.clear();
    await this.#listening.close();
  }

  async #readOpaque(token: string): Promise<StoredToken | undefined> {
    const { AccessToken, ClientCredentials } = this.#provider;
    return (await AccessToken.find(token)) ?? ClientCredentials.find(token);
  }

  async #readJwt(token: string): Promise<StoredToken | undefined> {
    try {
      const { payload } = await jwtVerify(token, this.#publicKeys, { issuer: this.issuer, typ: "at+jwt" });
      const { jti = "", sub, aud, exp } = payload;
      return {
        jti,
        accountId: sub,
        clientId: String(payload.client_id),
        aud,
        scope: String(payload.scope ?? ""),
        exp,
      };
    } catch {
      return undefined;
    }
  }

  /** Maps the outside URL to the provider's own and fills in what a real provider has defaults for. */
  #route(req: IncomingMessage): void {
    const url = new URL(req.url ?? "/", this.issuer);
    if (this.#prefix) {
      const inserted = new RegExp(`^(/\\.well-known/[^/]+)${this.#prefix}$`).exec(url.pathname); // RFC 8414 §3.1
      if (inserted) url.pathname = `${this.#prefix}${inserted[1]}`;
      url.pathname = url.pathname.startsWith(`${this.#prefix}/`)
        ? url.pathname.slice(this.#prefix.length)
        : "/outside-the-issuer";
      (req as IncomingMessage & { originalUrl?: string }).originalUrl =
        `${this.#prefix}${url.pathname}${url.search}`;
    }
    if (url.pathname === "/auth" && req.method === "GET") {
      this.lastAuthorize = Object.fromEntries(url.searchParams);
      if (!url.searchParams.has("scope")) {
        url.searchParams.set("scope", this.#options.defaultScope ?? scopesOf(this.#options)[0] ?? "openid");
      }
    }
    req.url = url.pathname + url.search;
    if (this.#prefix) {
      (req as IncomingMessage & { originalUrl?: string }).originalUrl = this.#prefix + req.url;
    }
  }

  async #observe(ctx: Context, next: () => Promise<void>): Promise<void> {
    const endpoint = endpointOf(ctx.path);
    if (endpoint) this.requests[endpoint]++;
    const fault = this.faults.take(endpoint);
    if (fault?.kind === "answer") {
      // The provider does not get to see this request, but the counters do.
      const body = parseBody(ctx.req.headers["content-type"], await text(ctx.req));
      sendCanned(ctx, fault.answer);
      this.#record(endpoint, ctx, body, fault.answer.status);
      return;
    }
    if (fault?.kind === "hold" && fault.when === "before") {
      fault.arrive();
      await fault.released;
    }
    await this.#answer(ctx, endpoint, next);
    this.#record(endpoint, ctx, ctx.oidc?.body ?? {}, fault?.kind === "lose" ? 0 : ctx.status);
    if (fault?.kind === "hold" && fault.when === "after") {
      fault.arrive();
      await fault.released;
    }
    if (fault?.kind === "lose") {
      ctx.respond = false;
      ctx.req.socket.destroy();
    }
  }

  async #answer(
    ctx: Context,
    endpoint: ServerEndpoint | undefined,
    next: () => Promise<void>,
  ): Promise<void> {
    if (ctx.path.startsWith("/interaction/")) {
      const denial = this.#denial;
      this.#denial = undefined;
      return answerInteraction(this.#provider, ctx, {
        mode: this.#options.interaction ?? "auto",
        account: this.accountForNextLogin,
        ...(denial && { denial }),
      });
    }
    if (endpoint === "metadata" && !this.#hasWellKnown(ctx.path)) {
      ctx.status = 404;
      ctx.body = "not found";
      return;
    }
    if (ctx.path === "/auth" && this.#options.interaction !== "page") await this.#endOtherSession(ctx);
    await next();
    if (endpoint === "metadata") this.#finishMetadata(ctx);
    if (ctx.method === "DELETE" && ctx.path.startsWith("/reg/") && ctx.status === 204)
      this.deletions.push(ctx.path.slice("/reg/".length));
    // Also `/auth/<uid>`, where the interaction comes back to.
    if (ctx.path.startsWith("/auth")) this.#finishRedirect(ctx);
  }

  /** In "auto" mode `accountForNextLogin` decides, not who signed in with this browser before. */
  async #endOtherSession(ctx: Context): Promise<void> {
    const cookie = new RegExp(`(?:^|; )_session_${this.#listening.port}=([^;]*)`).exec(
      ctx.req.headers.cookie ?? "",
    );
    const id = cookie?.[1];
    if (!id) return;
    const sessions = this.#store.adapter("Session");
    const session = await sessions.find(id);
    if (session?.accountId === this.accountForNextLogin && !this.#denial) return;
    await sessions.destroy(id);
    delete ctx.req.headers.cookie;
  }

  #hasWellKnown(path: string): boolean {
    const served = this.#options.wellKnown ?? ["oauth-authorization-server", "openid-configuration"];
    return served.some((name) => path === `/.well-known/${name}`);
  }

  #finishMetadata(ctx: Context): void {
    const document = ctx.body as Record<string, unknown>;
    ctx.body = this.editMetadata ? this.editMetadata(document) : document;
  }

  #finishRedirect(ctx: Context): void {
    const location = ctx.response.get("location");
    if (ctx.status < 300 || ctx.status >= 400 || !URL.canParse(location)) return;
    if (location.startsWith(`${this.issuer}/`)) return;
    const url = new URL(location);
    this.#redirectEdit?.(url);
    this.#redirectEdit = undefined;
    this.lastRedirect = url;
    ctx.set("location", url.href);
  }

  #record(
    endpoint: ServerEndpoint | undefined,
    ctx: Context,
    body: Record<string, unknown>,
    status: number,
  ): void {
    if (endpoint === "token" && ctx.method === "POST") {
      const authorization = ctx.req.headers.authorization;
      this.tokenRequests.push({
        grantType: String(body.grant_type),
        params: { ...body },
        authorization,
        status,
      });
    }
    if (endpoint === "revocation" && ctx.method === "POST") this.revocations.push({ ...body });
    if (endpoint === "registration" && ctx.method === "POST") this.registrations.push({ ...body });
  }
}

/** Whatever it hands out can be recognised wherever it turns up (ST-01). */
function markTokens(provider: Provider): void {
  const kinds = [
    "AccessToken",
    "AuthorizationCode",
    "ClientCredentials",
    "RefreshToken",
    "RegistrationAccessToken",
  ];
  for (const kind of kinds as (keyof Provider)[]) {
    const { prototype } = provider[kind] as unknown as { prototype: { generateTokenId(): string } };
    const { generateTokenId } = prototype;
    prototype.generateTokenId = function () {
      // Also settles the format of the token.
      generateTokenId.call(this);
      return markedSecret();
    };
  }
}

function sendCanned(ctx: Context, { status, body, headers }: CannedAnswer): void {
  ctx.status = status;
  for (const [name, value] of Object.entries(headers ?? {})) ctx.set(name, value);
  ctx.body = body ?? "";
}

function parseBody(type: string | undefined, body: string): Record<string, unknown> {
  if (type?.includes("json")) return JSON.parse(body || "{}") as Record<string, unknown>;
  return Object.fromEntries(new URLSearchParams(body));
}
