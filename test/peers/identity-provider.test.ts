import { createHash, randomBytes } from "node:crypto";
import { afterEach, describe, expect, test } from "vitest";
import { Browser } from "./browser.ts";
import {
  type AuthorizationServer,
  type AuthorizationServerOptions,
  startAuthorizationServer,
} from "./identity-provider.ts";

const CALLBACK = "http://127.0.0.1:1/callback";
const RESOURCE = "https://upstream.test/mcp";
const CLIENT = {
  client_id: "known",
  client_secret: "a-secret",
  redirect_uris: [CALLBACK],
  grant_types: ["authorization_code", "refresh_token"],
  token_endpoint_auth_method: "client_secret_post",
};

const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close();
});

async function started(options: AuthorizationServerOptions = {}) {
  const provider = await startAuthorizationServer({ clients: [CLIENT], ...options });
  const browser = new Browser();
  open.push(provider, browser);
  return { provider, browser };
}

const verifier = randomBytes(32).toString("base64url");

function authorizeUrl(provider: AuthorizationServer, change: Record<string, string | undefined> = {}): URL {
  const url = new URL(`${provider.issuer}/auth`);
  const parameters = {
    client_id: "known",
    response_type: "code",
    redirect_uri: CALLBACK,
    scope: "mcp",
    state: "s1",
    resource: RESOURCE,
    code_challenge: createHash("sha256").update(verifier).digest("base64url"),
    code_challenge_method: "S256",
    ...change,
  };
  for (const [name, value] of Object.entries(parameters))
    if (value !== undefined) url.searchParams.set(name, value);
  return url;
}

interface TokenAnswer {
  status: number;
  access_token?: string;
  refresh_token?: string;
  expires_in?: number;
  error?: string;
}

async function token(provider: AuthorizationServer, params: Record<string, string>): Promise<TokenAnswer> {
  const body = new URLSearchParams({ client_id: "known", client_secret: "a-secret", ...params });
  const answer = await fetch(`${provider.issuer}/token`, { method: "POST", body });
  const text = await answer.text();
  return { status: answer.status, ...(text.startsWith("{") ? (JSON.parse(text) as object) : {}) };
}

async function signIn(provider: AuthorizationServer, browser: Browser): Promise<TokenAnswer> {
  const { stoppedAt } = await browser.get(authorizeUrl(provider), { stopAt: CALLBACK });
  const code = stoppedAt?.searchParams.get("code") ?? "";
  return token(provider, {
    grant_type: "authorization_code",
    code,
    redirect_uri: CALLBACK,
    code_verifier: verifier,
  });
}

describe("authorization server", () => {
  test("each login is the account asked for, in one browser", async () => {
    const { provider, browser } = await started({ accessTokenTtl: 60 });
    for (const account of ["alice", "bob"]) {
      provider.accountForNextLogin = account;
      const issued = await signIn(provider, browser);
      expect(issued).toMatchObject({ status: 200, expires_in: 60 });
      const verified = await provider.verifyAccessToken(issued.access_token ?? "");
      expect(verified).toMatchObject({ account, clientId: "known", scopes: ["mcp"], audience: RESOURCE });
    }
    expect(await provider.verifyAccessToken("nonsense")).toBeUndefined();
  });

  test("a request without scope gets the default one, without PKCE an error", async () => {
    const { provider, browser } = await started();
    const plain = await browser.get(authorizeUrl(provider, { scope: undefined }), { stopAt: CALLBACK });
    expect(plain.stoppedAt?.searchParams.get("code")).toBeTruthy();
    expect(provider.lastAuthorize).not.toHaveProperty("scope");
    const without = authorizeUrl(provider, { code_challenge: undefined, code_challenge_method: undefined });
    const refused = await browser.get(without, { stopAt: CALLBACK });
    expect(refused.stoppedAt?.searchParams.get("error")).toBe("invalid_request");
  });

  test("refresh rotates; the old token revokes everything; a lost answer has taken effect", async () => {
    const { provider, browser } = await started();
    const first = await signIn(provider, browser);
    const old = { grant_type: "refresh_token", refresh_token: first.refresh_token ?? "" };
    provider.loseNextTokenAnswer();
    await expect(token(provider, old)).rejects.toThrow();
    expect(await provider.verifyAccessToken(first.access_token ?? "")).toBeDefined();
    expect(await token(provider, old)).toMatchObject({ status: 400, error: "invalid_grant" });
    expect(await provider.verifyAccessToken(first.access_token ?? "")).toBeUndefined();
    expect(provider.tokenRequests.map((r) => r.status)).toEqual([200, 0, 400]);
    expect(provider.tokenCalls("refresh_token")).toBe(2);
  });

  test("without rotation the refresh token stays, until the grants are withdrawn", async () => {
    const { provider, browser } = await started({ rotateRefreshTokens: false });
    const first = await signIn(provider, browser);
    const again = { grant_type: "refresh_token", refresh_token: first.refresh_token ?? "" };
    expect(await token(provider, again)).toMatchObject({ status: 200, refresh_token: first.refresh_token });
    provider.withdrawGrants();
    expect(await token(provider, again)).toMatchObject({ status: 400, error: "invalid_grant" });
  });

  test("token faults: canned answers with their own status, and held requests", async () => {
    const { provider, browser } = await started();
    const { refresh_token = "" } = await signIn(provider, browser);
    const again = { grant_type: "refresh_token", refresh_token };
    provider.failNextToken({ status: 500, body: "broken" });
    provider.failNextToken({ status: 200, body: { error: "invalid_grant" } });
    expect(await token(provider, again)).toEqual({ status: 500 });
    expect(await token(provider, again)).toEqual({ status: 200, error: "invalid_grant" });
    const held = provider.holdNextToken();
    const waiting = token(provider, again);
    await held.arrived;
    held.release();
    expect(await waiting).toMatchObject({ status: 200 });
    expect(provider.tokenCalls("refresh_token")).toBe(3);
  });

  test("denial, edited redirects and refused resources arrive at the client", async () => {
    const { provider, browser } = await started({ resources: [RESOURCE] });
    provider.denyNext();
    const denied = await browser.get(authorizeUrl(provider), { stopAt: CALLBACK });
    expect(denied.stoppedAt?.searchParams.get("error")).toBe("access_denied");
    provider.editNextRedirect((url) => url.searchParams.set("iss", "https://attacker.test"));
    const mixed = await browser.get(authorizeUrl(provider), { stopAt: CALLBACK });
    expect(mixed.stoppedAt?.searchParams.get("iss")).toBe("https://attacker.test");
    const other = await browser.get(authorizeUrl(provider, { resource: "https://other.test/" }), {
      stopAt: CALLBACK,
    });
    expect(other.stoppedAt?.searchParams.get("error")).toBe("invalid_target");
  });

  test("revocation is recorded and ends the token", async () => {
    const { provider, browser } = await started();
    const { access_token = "" } = await signIn(provider, browser);
    const body = new URLSearchParams({ client_id: "known", client_secret: "a-secret", token: access_token });
    const answer = await fetch(`${provider.issuer}/token/revocation`, { method: "POST", body });
    expect(answer.status).toBe(200);
    expect(provider.revocations).toMatchObject([{ token: access_token }]);
    expect(await provider.verifyAccessToken(access_token)).toBeUndefined();
  });

  test("metadata says what is switched on, also under a path and after an edit", async () => {
    const { provider } = await started({
      issuerPath: "/tenant",
      dynamicRegistration: false,
      clientDocument: () => undefined,
      wellKnown: ["oauth-authorization-server"],
    });
    provider.editMetadata = (document) => ({ ...document, edited: true });
    const { origin } = new URL(provider.issuer);
    const found = await fetch(`${origin}/.well-known/oauth-authorization-server/tenant`);
    const document = (await found.json()) as Record<string, unknown>;
    expect(document).toMatchObject({
      issuer: `${origin}/tenant`,
      token_endpoint: `${origin}/tenant/token`,
      client_id_metadata_document_supported: true,
      authorization_response_iss_parameter_supported: true,
      code_challenge_methods_supported: ["S256"],
      edited: true,
    });
    expect(document).not.toHaveProperty("registration_endpoint");
    expect((await fetch(`${provider.issuer}/.well-known/openid-configuration`)).status).toBe(404);
  });

  test("under a path the whole flow works as well", async () => {
    const { provider, browser } = await started({ issuerPath: "/tenant" });
    expect(await signIn(provider, browser)).toMatchObject({ status: 200 });
  });

  test("a client id that is a metadata document is known without registration", async () => {
    const clientId = "https://client.test/metadata.json";
    const document = {
      client_id: clientId,
      redirect_uris: [CALLBACK],
      token_endpoint_auth_method: "none",
      grant_types: ["authorization_code", "refresh_token"],
    };
    const { provider, browser } = await started({
      clientDocument: (id) => (id === clientId ? document : undefined),
    });
    const { stoppedAt } = await browser.get(authorizeUrl(provider, { client_id: clientId }), {
      stopAt: CALLBACK,
    });
    expect(stoppedAt?.searchParams.get("code")).toBeTruthy();
    const unknown = await browser.get(authorizeUrl(provider, { client_id: "https://nobody.test/x.json" }));
    expect(unknown.status).toBe(400);
  });

  test("with pages a person signs in, allows, or cancels", async () => {
    const { provider, browser } = await started({ interaction: "page" });
    await browser.get(authorizeUrl(provider), { stopAt: CALLBACK });
    await browser.submitForm(/Account/, { account: "dora" }, { button: "Sign in", stopAt: CALLBACK });
    const allowed = await browser.submitForm(/asks for/, {}, { button: "Allow", stopAt: CALLBACK });
    const code = allowed.stoppedAt?.searchParams.get("code") ?? "";
    const params = {
      grant_type: "authorization_code",
      code,
      redirect_uri: CALLBACK,
      code_verifier: verifier,
    };
    const { access_token = "" } = await token(provider, params);
    expect(await provider.verifyAccessToken(access_token)).toMatchObject({ account: "dora" });

    const other = new Browser();
    open.push(other);
    await other.get(authorizeUrl(provider));
    const cancelled = await other.submitForm(/Account/, {}, { button: "Cancel", stopAt: CALLBACK });
    expect(cancelled.stoppedAt?.searchParams.get("error")).toBe("access_denied");
  });
});
