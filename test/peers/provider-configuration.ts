import { randomBytes } from "node:crypto";
import { type Context, errors, type StoredToken } from "oidc-provider";
import { markedSecret } from "../support/marked.ts";
import type { AuthorizationServerOptions } from "./identity-provider.ts";

export interface Surroundings {
  /** The private signing key as JWK. */
  key: Record<string, unknown>;
  adapter: unknown;
  port: number;
  /** The path of the issuer, or "". */
  prefix: string;
  /** Seconds. */
  accessTokenTtl: () => number;
}

/** What `oidc-provider` is told. Everything it would warn about is answered. */
export function providerConfiguration(
  options: AuthorizationServerOptions,
  { key, adapter, port, prefix, accessTokenTtl }: Surroundings,
): Record<string, unknown> {
  const seconds = (value: number) => () => value;
  const { clientDocument: document, people } = options;
  return {
    adapter,
    jwks: { keys: [key] },
    clients: options.clients ?? [],
    clientDefaults: { id_token_signed_response_alg: "ES256" },
    // A registration may name only these; for a resource they mean what the resource says.
    scopes: ["openid", "offline_access", ...scopesOf(options)],
    pkce: { required: () => true },
    responseTypes: ["code"],
    claims: { openid: ["sub", ...(people?.names ?? [])] },
    // What is asked of people who sign in stands in the ID token, as the providers of companies do it.
    conformIdTokenClaims: people === undefined,
    findAccount: async (_ctx: unknown, id: string) => ({
      accountId: id,
      claims: async () => ({ ...people?.claims(id), sub: id }),
    }),
    issueRefreshToken: async (_ctx: unknown, client: { grantTypeAllowed(type: string): boolean }) =>
      options.refreshTokens !== false && client.grantTypeAllowed("refresh_token"),
    expiresWithSession: async () => false,
    rotateRefreshToken: () => options.rotateRefreshTokens !== false,
    clientBasedCORS: () => false,
    interactions: {
      url: (_ctx: unknown, interaction: { uid: string }) => `${prefix}/interaction/${interaction.uid}`,
    },
    // Cookies know no ports: two servers of one test, or of one browser, must not overwrite each other's.
    cookies: {
      keys: [randomBytes(16).toString("hex")],
      names: {
        session: `_session_${port}`,
        interaction: `_interaction_${port}`,
        resume: `_interaction_resume_${port}`,
      },
    },
    features: {
      devInteractions: { enabled: false },
      rpInitiatedLogout: {
        enabled: people !== undefined,
        logoutSource: async (ctx: Context, form: string) =>
          showForm(
            ctx,
            form.replace("</form>", '<button name="logout" value="yes">Sign out</button></form>'),
          ),
        postLogoutSuccessSource: async (ctx: Context) => showForm(ctx, "<p>Signed out.</p>"),
      },
      backchannelLogout: { enabled: people !== undefined },
      clientCredentials: { enabled: true },
      registration: {
        enabled: options.dynamicRegistration !== false,
        secretFactory: async () => markedSecret(),
      },
      deviceFlow: {
        enabled: options.deviceFlow === true,
        userCodeInputSource: async (ctx: Context, form: string) => show(ctx, form),
        userCodeConfirmSource: async (ctx: Context, form: string) => show(ctx, form),
        successSource: async (ctx: Context) => show(ctx, "<p>Done. Go back to your device.</p>"),
      },
      registrationManagement: { enabled: options.registrationManagement === true },
      dPoP: {
        enabled: true,
        ...(options.dpopNonce && { nonceSecret: randomBytes(32), requireNonce: () => true }),
      },
      revocation: {
        enabled: options.revocation !== false,
        allowedPolicy: (_ctx: unknown, client: { clientId: string }, token: StoredToken) =>
          token.clientId === client.clientId,
      },
      ...(document && { clientIdMetadataDocument: { enabled: true, ack: "draft-02" } }),
      resourceIndicators: {
        enabled: true,
        defaultResource: () => undefined,
        useGrantedResource: () => true,
        getResourceServerInfo: (_ctx: unknown, resource: string) =>
          resourceServer(options, resource, accessTokenTtl()),
      },
    },
    fetch: async (url: string | URL, init: RequestInit) => {
      // Without the dispatcher that keeps a provider from loopback addresses, which is all that a test has.
      if (people)
        return fetch(url, { method: init.method, headers: init.headers, body: init.body } as RequestInit);
      const found = await document?.(String(url));
      return found === undefined ? new Response("not found", { status: 404 }) : Response.json(found);
    },
    ttl: {
      AccessToken: accessTokenTtl,
      AuthorizationCode: seconds(60),
      DeviceCode: seconds(600),
      ClientCredentials: accessTokenTtl,
      IdToken: seconds(3600),
      RefreshToken: seconds(86_400),
      Interaction: seconds(3600),
      Session: seconds(86_400),
      Grant: seconds(86_400),
    },
    renderError: (ctx: Context, out: Record<string, string>) => {
      ctx.type = "text";
      ctx.body = Object.entries(out)
        .map(([name, value]) => `${name}: ${value}`)
        .join("\n");
    },
  };
}

function show(ctx: Context, form: string): void {
  ctx.type = "html";
  ctx.body = `<!doctype html><html lang="en"><title>Test provider: device</title>${form}
<button type="submit" form="op.deviceInputForm">Continue</button></html>`;
}

export function resourceServer(
  options: AuthorizationServerOptions,
  resource: string,
  accessTokenTTL: number,
): Record<string, unknown> {
  const allowed = options.resources;
  if (allowed ? !allowed.includes(resource) : !/^https?:/.test(resource)) {
    throw new errors.InvalidTarget("this server issues no tokens for that resource");
  }
  return {
    scope: scopesOf(options).join(" "),
    audience: resource,
    accessTokenTTL,
    accessTokenFormat: options.accessTokens ?? "opaque",
    jwt: { sign: { alg: "ES256" } },
  };
}

export function scopesOf(options: AuthorizationServerOptions): string[] {
  return options.scopes ?? ["mcp", "mcp:write"];
}

function showForm(ctx: Context, form: string): void {
  ctx.type = "html";
  ctx.body = `<!doctype html><html lang="en"><title>Test provider: sign out</title>${form}</html>`;
}
