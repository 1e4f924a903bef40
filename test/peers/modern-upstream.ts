import type { IncomingMessage, ServerResponse } from "node:http";
import { toNodeHandler } from "@modelcontextprotocol/node";
import {
  type AuthInfo,
  bearerAuthChallengeResponse,
  createMcpHandler,
  legacyStatelessFallback,
  type McpHandlerRequestOptions,
  OAuthError,
  OAuthErrorCode,
  requireBearerAuth,
} from "@modelcontextprotocol/server";
import { Faults } from "./faults.ts";
import type { AuthorizationServer } from "./identity-provider.ts";
import { type LoopbackServer, startLoopbackServer } from "./loopback-server.ts";
import type { ProofChecker } from "./proof-checker.ts";
import { type RecordedRequest, recordRequest } from "./recorded-request.ts";
import { type SlowCall, SlowCalls, upstreamServer } from "./upstream-tools.ts";

export type { SlowCall } from "./upstream-tools.ts";

export type Protection =
  /** Access tokens of this provider for this server; anything else gets 401 with RFC 9728 metadata. */
  | {
      kind: "oauth";
      provider: AuthorizationServer;
      scope?: string;
      /** What the token must have beside `scope` for one tool; otherwise 403 `insufficient_scope`. */
      toolScopes?: Record<string, string>;
      /** Takes tokens that are bound to a key, and no others (RFC 9449). */
      proofs?: ProofChecker;
    }
  /** A header whose value says who it is; anything else gets a plain 401. */
  | { kind: "header"; name: string; accounts: Record<string, string> };

export interface ModernUpstreamOptions {
  port?: number;
  /** Default `/mcp`. */
  path?: string;
  /** Default "modern". The legacy era is stateless here: no session ids. */
  eras?: "modern" | "legacy" | "both";
  /** Default none: everybody is "anonymous". */
  protection?: Protection;
  /** What it calls itself; default "test-upstream". */
  name?: string;
}

/** Starts an MCP server of the official SDK on 127.0.0.1. Tools: whoami, echo, slow, fail, picture. */
export async function startModernUpstream(options: ModernUpstreamOptions = {}): Promise<ModernUpstream> {
  return new ModernUpstream(await startLoopbackServer(undefined, options.port), options);
}

type FetchHandler = (request: Request, options?: McpHandlerRequestOptions) => Promise<Response>;

export class ModernUpstream {
  /** The MCP endpoint; also the resource its tokens are for (RFC 8707). */
  readonly url: string;
  readonly metadataUrl: string;
  /** Every request, metadata too, in the order of arrival. */
  readonly requests: RecordedRequest[] = [];
  /**
   * What goes wrong with the next requests to the endpoint ("mcp") or to the metadata. Here a held request always
   * waits before it takes effect, and a lost one has none.
   */
  readonly faults = new Faults<"mcp" | "metadata">();
  /** Changes the RFC 9728 document before it is served. */
  editMetadata: ((document: Record<string, unknown>) => Record<string, unknown>) | undefined;

  readonly #options: ModernUpstreamOptions;
  readonly #listening: LoopbackServer;
  readonly #slow = new SlowCalls();
  readonly #closeHandler: () => Promise<void>;
  readonly #handle: FetchHandler;

  constructor(listening: LoopbackServer, options: ModernUpstreamOptions) {
    const path = options.path ?? "/mcp";
    this.#options = options;
    this.#listening = listening;
    this.url = `${listening.origin}${path}`;
    this.metadataUrl = `${listening.origin}/.well-known/oauth-protected-resource${path}`; // RFC 9728 §3.1
    const factory = () => upstreamServer(options.name ?? "test-upstream", this.#slow);
    const handler = createMcpHandler(factory, { legacy: options.eras === "both" ? "stateless" : "reject" });
    this.#closeHandler = handler.close;
    this.#handle = options.eras === "legacy" ? legacyStatelessFallback(factory) : handler.fetch;
    listening.server.on("request", (req, res) => {
      // A client that goes while it is still talking is no fault of the test.
      this.#serve(req, res).catch(() => res.destroy());
    });
  }

  /** From now on tokens of this provider count, and of no other. */
  trust(provider: AuthorizationServer): void {
    if (this.#options.protection?.kind === "oauth") this.#options.protection.provider = provider;
  }

  /** Requests to the endpoint, or only those of one JSON-RPC method. */
  calls(rpc?: string): RecordedRequest[] {
    const path = new URL(this.url).pathname;
    return this.requests.filter((r) => r.path === path && (rpc === undefined || r.rpc === rpc));
  }

  /** The next `times` requests get 401 with the usual challenge, however good their credential is. */
  rejectNext(times = 1): void {
    this.faults.failNext(
      "mcp",
      { status: 401, headers: this.#challenge(), body: { error: "invalid_token" } },
      times,
    );
  }

  /** The next call of the tool `slow` that nobody has asked for yet; waits until it is there. */
  nextSlowCall(): Promise<SlowCall> {
    return this.#slow.next();
  }

  /** Empties the record; planned faults stay. */
  forgetRequests(): void {
    this.requests.length = 0;
  }

  async close(): Promise<void> {
    this.faults.clear();
    this.#slow.releaseAll();
    await this.#closeHandler();
    await this.#listening.close();
  }

  async #serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const recorded = await recordRequest(req);
    this.requests.push(recorded);
    const url = new URL(recorded.path, this.url);
    const endpoint = url.href === this.metadataUrl ? "metadata" : url.href === this.url ? "mcp" : undefined;
    const fault = this.faults.take(endpoint);
    if (fault?.kind === "answer") {
      const { status, headers, body } = fault.answer;
      return reply(res, status, body ?? "", headers);
    }
    if (fault?.kind === "hold") {
      fault.arrive();
      await fault.released;
    }
    if (fault?.kind === "lose") return void req.socket.destroy();
    if (endpoint === "metadata") return this.#serveMetadata(res);
    if (endpoint === "mcp") return this.#serveMcp(req, res, recorded);
    return reply(res, 404, "not found");
  }

  #serveMetadata(res: ServerResponse): void {
    const protection = this.#options.protection;
    if (protection?.kind !== "oauth") {
      reply(res, 404, "not found");
      return;
    }
    const document = {
      resource: this.url,
      authorization_servers: [protection.provider.issuer],
      scopes_supported: [protection.scope ?? "mcp"],
      bearer_methods_supported: ["header"],
    };
    reply(res, 200, this.editMetadata ? this.editMetadata(document) : document);
  }

  async #serveMcp(req: IncomingMessage, res: ServerResponse, recorded: RecordedRequest): Promise<void> {
    const serve = toNodeHandler({
      fetch: async (request: Request) => {
        const who = await this.#authenticate(request, recorded);
        if (who instanceof Response) return who;
        const { method, headers, signal } = request;
        // The bytes as they came: what the SDK says to broken JSON is part of the peer.
        const init = { method, headers, signal, ...(recorded.bodyText && { body: recorded.bodyText }) };
        return this.#handle(new Request(request.url, init), { authInfo: who });
      },
    });
    // The stream is read already; this only keeps the adapter from reading it again.
    await serve(req, res, recorded.body ?? {});
  }

  async #authenticate(request: Request, recorded: RecordedRequest): Promise<AuthInfo | Response> {
    const protection = this.#options.protection;
    if (!protection) return principal("", "anonymous");
    if (protection.kind === "header") {
      const account = protection.accounts[request.headers.get(protection.name) ?? ""];
      return account ? principal("", account) : Response.json({ error: "unknown key" }, { status: 401 });
    }
    const scope = protection.scope ?? "mcp";
    // RFC 6750 §3: a request without a credential learns nothing about errors.
    if (!request.headers.has("authorization")) {
      return new Response(null, { status: 401, headers: this.#challenge(scope) });
    }
    const refused = protection.proofs && (await this.#checkProof(protection.proofs, request, recorded));
    if (refused) return refused;
    const tool = recorded.rpc === "tools/call" ? String(recorded.body?.params?.name) : "";
    const more = protection.toolScopes?.[tool];
    const gate = requireBearerAuth({
      verifier: { verifyAccessToken: (token) => this.#verify(protection.provider, token) },
      requiredScopes: more ? [scope, more] : [scope],
      resourceMetadataUrl: this.metadataUrl,
      expectedResource: new URL(this.url),
    });
    return gate(request);
  }

  /** What to answer; undefined, and the token made a bearer token for the SDK, when the proof is right. */
  async #checkProof(
    proofs: ProofChecker,
    request: Request,
    { bodyText, headers }: RecordedRequest,
  ): Promise<Response | undefined> {
    const token = headers.authorization?.split(" ")[1] ?? "";
    const { provider } = this.#options.protection as { provider: AuthorizationServer };
    const jkt = (await provider.verifyAccessToken(token))?.jkt;
    const { method, headers: sent } = request;
    const checked = await proofs.check({ method, url: this.url, headers: sent, body: bodyText, jkt });
    if (checked.challenge !== undefined) {
      const given: Record<string, string> = { "www-authenticate": checked.challenge };
      if (proofs.nonce) given["dpop-nonce"] = proofs.nonce;
      return new Response(null, { status: 401, headers: given });
    }
    request.headers.set("authorization", `Bearer ${checked.token}`);
    return undefined;
  }

  async #verify(provider: AuthorizationServer, token: string): Promise<AuthInfo> {
    const found = await provider.verifyAccessToken(token);
    if (!found) throw new OAuthError(OAuthErrorCode.InvalidToken, "the token does not work here");
    return {
      ...principal(token, found.account),
      clientId: found.clientId,
      scopes: found.scopes,
      expiresAt: found.expiresAt,
      ...(found.audience && { resource: new URL(found.audience) }),
    };
  }

  #challenge(scope?: string): Record<string, string> {
    if (this.#options.protection?.kind !== "oauth") return {};
    const scheme = this.#options.protection.proofs ? "DPoP" : "Bearer";
    if (scope)
      return { "www-authenticate": `${scheme} resource_metadata="${this.metadataUrl}", scope="${scope}"` };
    const refused = bearerAuthChallengeResponse(new OAuthError(OAuthErrorCode.InvalidToken, "expired"), {
      resourceMetadataUrl: this.metadataUrl,
    });
    return { "www-authenticate": refused.headers.get("www-authenticate") ?? "" };
  }
}

function principal(token: string, account: string): AuthInfo {
  return { token, clientId: "", scopes: [], extra: { account } };
}

function reply(
  res: ServerResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  const type = typeof body === "string" ? "text/plain" : "application/json";
  res.writeHead(status, { "content-type": type, ...headers });
  res.end(typeof body === "string" ? body : JSON.stringify(body));
}
