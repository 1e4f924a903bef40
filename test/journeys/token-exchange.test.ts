import { text } from "node:stream/consumers";
import { decodeJwt } from "jose";
import { expect, test } from "vitest";
import { JwtVerifier, jwtConfig } from "../../src/jwt/index.ts";
import { startAuthorizationServer } from "../peers/identity-provider.ts";
import { startLoopbackServer } from "../peers/loopback-server.ts";
import { startModernUpstream } from "../peers/modern-upstream.ts";
import { answer, type ScriptedUpstream, startScriptedUpstream } from "../peers/scripted-upstream.ts";
import { startTokenIssuer, type TokenIssuer } from "../peers/token-issuer.ts";
import { marked } from "../support/marked.ts";
import { testWorld } from "../support/world.ts";
import { Management } from "./steps/management.ts";
import { openWithBearer } from "./steps/mcp-client.ts";
import { journeys, type Stage, type TestGateway } from "./steps/stage.ts";

const audience = "https://gateway.example/mcp";

interface Exchange {
  origin: string;
  forms: URLSearchParams[];
  authorizations: (string | undefined)[];
  /** What it answers instead; undefined: a token for whoever it is. */
  answer: { status: number; body: unknown } | undefined;
  /** Waits before each answer. */
  gate: Promise<unknown> | undefined;
}

/** The token endpoint of an identity provider. */
async function tokenEndpoint(stage: Stage): Promise<Exchange> {
  const exchange: Omit<Exchange, "origin"> = {
    forms: [],
    authorizations: [],
    answer: undefined,
    gate: undefined,
  };
  const server = stage.keep(
    await startLoopbackServer(async (request, response) => {
      const form = new URLSearchParams(await text(request));
      exchange.forms.push(form);
      exchange.authorizations.push(request.headers.authorization);
      await exchange.gate;
      const { sub } = decodeJwt(form.get("subject_token") ?? form.get("assertion") ?? "");
      const given = {
        access_token: marked(`exchanged-${sub}-${exchange.forms.length}`),
        issued_token_type: "urn:ietf:params:oauth:token-type:access_token",
        token_type: "Bearer",
        expires_in: 600,
        refresh_token: marked(`never-wanted-${exchange.forms.length}`),
      };
      const { status, body } = exchange.answer ?? { status: 200, body: given };
      response.writeHead(status, { "content-type": "application/json" });
      response.end(JSON.stringify(body));
    }),
  );
  return Object.assign(exchange, { origin: server.origin });
}

interface Scene {
  gateway: TestGateway;
  admin: Management;
  issuer: TokenIssuer;
  exchange: Exchange;
  upstream: ScriptedUpstream;
  id: string;
  token(sub: string, more?: Record<string, unknown>): Promise<string>;
}

async function scene(stage: Stage, oauth: Record<string, unknown> = {}): Promise<Scene> {
  const [issuer, exchange] = [stage.keep(await startTokenIssuer()), await tokenEndpoint(stage)];
  const upstream = stage.keep(await startScriptedUpstream());
  const allow = [issuer.hostPort, new URL(exchange.origin).host, new URL(upstream.url).host];
  const gateway = await stage.gateway(allow, (config) => {
    const entry = { issuer: issuer.issuer, audience, jwks_url: issuer.jwksUrl, allow: ["user"] };
    config.jwtIssuers = jwtConfig.parse({ issuers: [entry] }).issuers;
  });
  const admin = new Management(gateway.baseUrl, gateway.adminToken);
  const { mcp_client_id: id } = await admin.createUpstream(definition(upstream, exchange, oauth));
  const token = (sub: string, more: Record<string, unknown> = {}) =>
    issuer.sign({ aud: audience, sub, ...more }, { now: stage.now() });
  return { gateway, admin, issuer, exchange, upstream, id, token };
}

function definition(upstream: { url: string }, exchange: { origin: string }, oauth: Record<string, unknown>) {
  return {
    name: "office",
    connection_string: upstream.url,
    auth_type: "token_exchange",
    allow_on_all_virtual_keys: true,
    oauth_config: {
      token_url: `${exchange.origin}/token`,
      client_id: "gateway",
      client_secret: marked("gateway-at-the-provider"),
      ...oauth,
    },
  };
}

async function client(stage: Stage, { gateway }: Scene, bearer: string) {
  return stage.keep(await openWithBearer(gateway.baseUrl, bearer));
}

const seenBy = ({ upstream }: Scene) =>
  upstream.calls("tools/call").map(({ headers }) => String(headers.authorization));

async function refusalOf(of: Awaited<ReturnType<typeof openWithBearer>>) {
  const result = await of.callTool({ name: "office-echo" });
  expect(result.isError).toBe(true);
  const required = result._meta?.mcp_auth_required as Record<string, string> | undefined;
  expect(required?.kind).toBe("token_exchange");
  expect(JSON.stringify(result)).not.toMatch(/https?:/);
  return required?.code;
}

journeys("an upstream for which callers' own tokens are exchanged", (stage) => {
  test("gives two people at once each their own, exchanged once each, and stores nothing", async () => {
    const s = await scene(stage, { audience: "office-api", scopes: ["read", "write"] });
    const [ann, ben] = [await s.token("ann"), await s.token("ben")];
    const people = [await client(stage, s, ann), await client(stage, s, ben)];
    // The list is read by whoever asks for it first.
    const listed = await Promise.all(people.map((one) => one.listTools()));
    for (const { tools } of listed) expect(tools.map(({ name }) => name)).toEqual(["office-echo"]);
    const calls = people.flatMap((one) =>
      Array.from({ length: 8 }, () => one.callTool({ name: "office-echo" })),
    );
    for (const result of await Promise.all(calls)) expect(result.isError).not.toBe(true);
    expect(s.exchange.forms).toHaveLength(2);
    const seen = seenBy(s);
    expect(new Set(seen).size).toBe(2);
    for (const sub of ["ann", "ben"])
      expect(seen.filter((value) => value.includes(`exchanged-${sub}-`))).toHaveLength(8);
    const form = Object.fromEntries(s.exchange.forms.find((one) => one.get("subject_token") === ann) ?? []);
    expect(form).toEqual({
      grant_type: "urn:ietf:params:oauth:grant-type:token-exchange",
      subject_token: ann,
      subject_token_type: "urn:ietf:params:oauth:token-type:access_token",
      requested_token_type: "urn:ietf:params:oauth:token-type:access_token",
      audience: "office-api",
      scope: "read write",
    });
    expect(s.exchange.authorizations[0]).toMatch(/^Basic /);
    expect(await s.admin.sessions()).toEqual([]);
    const { clients } = await s.admin.expect(200, "GET", "/api/mcp/clients");
    expect(clients[0]).toMatchObject({
      state: "healthy",
      config: { oauth_config: { audience: "office-api", client_secret: "********" } },
    });
  });
});

journeys(
  "a real provider",
  (stage) => {
    test("RFC8693-2.1 exchanges each person's token, for this upstream and nobody else's", async () => {
      const issuer = stage.keep(await startTokenIssuer());
      const client = {
        client_id: "gateway",
        client_secret: marked("a-real-secret-at-the-provider"),
        grant_types: ["urn:ietf:params:oauth:grant-type:token-exchange"],
        redirect_uris: [],
        response_types: [],
      };
      const trusted = new JwtVerifier({ world: testWorld() });
      const of = { issuer: issuer.issuer, keys: { jwks: { keys: issuer.published } } };
      const provider = stage.keep(
        await startAuthorizationServer({
          clients: [client],
          accessTokens: "jwt",
          exchange: async (token) => {
            const one = { ...of, algorithms: ["ES256"], clockSkewMs: 30_000 };
            const verdict = await trusted.verify(one, token, { audience });
            return verdict.ok ? String(verdict.claims.sub) : undefined;
          },
        }),
      );
      const upstream = stage.keep(
        await startModernUpstream({ protection: { kind: "oauth", provider, scope: "mcp" } }),
      );
      const allow = [provider.issuer, upstream.url].map((url) => new URL(url).host);
      const gateway = await stage.gateway([...allow, issuer.hostPort], (config) => {
        const entry = { issuer: issuer.issuer, audience, jwks_url: issuer.jwksUrl, allow: ["user"] };
        config.jwtIssuers = jwtConfig.parse({ issuers: [entry] }).issuers;
        const { client_id, client_secret } = client;
        const oauth_config = {
          token_url: `${provider.issuer}/token`,
          client_id,
          client_secret,
          scopes: ["mcp"],
        };
        const office = { ...definition(upstream, { origin: "" }, {}), auth_type: "token_exchange" as const };
        config.upstreams = [{ ...office, tools_to_execute: ["*"], oauth_config }];
      });
      const people = await Promise.all(
        ["ann", "ben"].map(async (sub) => {
          const token = await issuer.sign({ aud: audience, sub });
          return stage.keep(await openWithBearer(gateway.baseUrl, token));
        }),
      );
      const whoami = async (one: (typeof people)[number]) => {
        await one.listTools();
        return JSON.stringify((await one.callTool({ name: "office-whoami" })).content);
      };
      const said = await Promise.all(people.map(whoami));
      expect(said[0]).toContain("ann");
      expect(said[1]).toContain("ben");
      expect(provider.tokenCalls()).toBe(2);
      // What is withdrawn there is refused by the upstream, and exchanged anew.
      provider.withdrawAccessTokens();
      expect(await whoami(people[0]!)).toContain("ann");
      expect(provider.tokenCalls()).toBe(3);
    });
  },
  ["sqlite"],
);

journeys(
  "the token of a caller",
  (stage) => {
    test("ID-21 is needed: whoever has none is told so, without a link, and the upstream hears nothing", async () => {
      const s = await scene(stage);
      const ann = await client(stage, s, await s.token("ann"));
      await ann.listTools();
      s.upstream.forgetRequests();
      const { value } = await s.admin.createKey("robot", [s.id]);
      const robot = await client(stage, s, value);
      // Listed by what is known, and nothing to connect.
      expect((await robot.listTools()).tools.map(({ name }) => name)).toEqual(["office-echo"]);
      expect(await refusalOf(robot)).toBe("caller_token_required");
      expect(s.upstream.requests).toEqual([]);
      expect(s.exchange.forms).toHaveLength(1);
      expect(s.exchange.forms[0]!.get("resource")).toBe(s.upstream.url);
    });

    test("is refused in words that say whose turn it is, and what is down is down", async () => {
      const s = await scene(stage);
      await (await client(stage, s, await s.token("first"))).listTools();
      const outcomes: [number, unknown, string][] = [
        [400, { error: "invalid_grant" }, "token_exchange_refused"],
        [400, { error: "access_denied" }, "token_exchange_refused"],
        // RFC 8693 §2.2.2: the subject token is not valid or not acceptable.
        [400, { error: "invalid_request" }, "token_exchange_refused"],
        [400, { error: "interaction_required", suberror: "x" }, "interaction_required"],
        [400, { error: "consent_required" }, "interaction_required"],
      ];
      for (const [index, [status, body, code]] of outcomes.entries()) {
        s.exchange.answer = { status, body };
        const one = await client(stage, s, await s.token(`person-${index}`));
        expect(await refusalOf(one)).toBe(code);
        // The same token is not shown again at once; the next one is.
        const asked = s.exchange.forms.length;
        await refusalOf(one);
        expect(s.exchange.forms).toHaveLength(asked);
        s.exchange.answer = undefined;
        const again = await client(stage, s, await s.token(`person-${index}`, { jti: "next" }));
        expect((await again.callTool({ name: "office-echo" })).isError).not.toBe(true);
      }
      const failures: [number, unknown, string][] = [
        [401, { error: "invalid_client" }, "client_refused"],
        [400, { error: "invalid_target" }, "client_refused"],
        [503, {}, "credential_unavailable"],
        [200, { access_token: "x y", token_type: "Bearer" }, "credential_unavailable"],
        [200, { access_token: "abc", token_type: "N_A" }, "credential_unavailable"],
      ];
      for (const [index, [status, body, code]] of failures.entries()) {
        s.exchange.answer = { status, body };
        const one = await client(stage, s, await s.token(`other-${index}`));
        await expect(one.callTool({ name: "office-echo" })).rejects.toMatchObject({ data: { code } });
        stage.advance(6_000);
      }
      const calls = seenBy(s).length;
      expect(calls).toBe(outcomes.length);
      const { clients } = await s.admin.expect(200, "GET", "/api/mcp/clients");
      expect(clients[0].state).toBe("healthy");
    });

    test("is exchanged anew when what came of it ends, is refused once, or is for other settings", async () => {
      const s = await scene(stage);
      const ann = await client(
        stage,
        s,
        await s.token("ann", { exp: Math.floor(stage.now().getTime() / 1000) + 7200 }),
      );
      await ann.listTools();
      const call = async () => (await ann.callTool({ name: "office-echo" })).isError ?? false;
      expect(await call()).toBe(false);
      expect(s.exchange.forms).toHaveLength(1);
      stage.advance(545_000);
      expect(await call()).toBe(false);
      expect(s.exchange.forms).toHaveLength(2);
      s.upstream.next(answer.unauthorized('Bearer error="invalid_token"'), "tools/call");
      expect(await call()).toBe(false);
      expect(s.exchange.forms).toHaveLength(3);
      for (const _ of [1, 2])
        s.upstream.next(answer.unauthorized('Bearer error="invalid_token"'), "tools/call");
      expect(await refusalOf(ann)).toBe("exchanged_token_rejected");
      expect(s.exchange.forms).toHaveLength(4);
      expect(await call()).toBe(false);
      await s.admin.expect(200, "PUT", `/api/mcp/client/${s.id}`, {
        oauth_config: { audience: "elsewhere" },
      });
      expect(await call()).toBe(false);
      expect(s.exchange.forms.at(-1)?.get("audience")).toBe("elsewhere");
      // Two tokens of one person that do not say the same are two.
      const narrow = await client(stage, s, await s.token("ann", { scope: "less" }));
      const before = s.exchange.forms.length;
      await narrow.callTool({ name: "office-echo" });
      expect(s.exchange.forms).toHaveLength(before + 1);
    });

    test("is waited for once by many calls", async () => {
      const s = await scene(stage);
      const ann = await client(stage, s, await s.token("ann"));
      const { promise, resolve } = Promise.withResolvers<void>();
      s.exchange.gate = promise;
      const calls = Array.from({ length: 12 }, () => ann.callTool({ name: "office-echo" }));
      await expect.poll(() => s.exchange.forms.length).toBe(1);
      resolve();
      for (const result of await Promise.all(calls)) expect(result.isError).not.toBe(true);
      expect(s.exchange.forms).toHaveLength(1);
    });

    test("is shown on the caller's behalf where the provider wants it so (RFC 7523 §2.1)", async () => {
      const s = await scene(stage, { grant_type: "jwt_bearer", scopes: ["api://office/.default"] });
      const token = await s.token("ann");
      const ann = await client(stage, s, token);
      await ann.listTools();
      expect((await ann.callTool({ name: "office-echo" })).isError).not.toBe(true);
      expect(Object.fromEntries(s.exchange.forms[0]!)).toEqual({
        grant_type: "urn:ietf:params:oauth:grant-type:jwt-bearer",
        assertion: token,
        requested_token_use: "on_behalf_of",
        scope: "api://office/.default",
      });
    });

    test("is nothing an administrator has: what would need it says so", async () => {
      const s = await scene(stage);
      const path = `/api/mcp/client/${s.id}`;
      const { status, message } = await s.admin.expect(200, "POST", `${path}/reconnect`);
      expect({ status, message }).toEqual({
        status: "success",
        message: "Its tools are read with the token of the first caller who lists them.",
      });
      for (const [route, code, answered] of [
        ["refresh-tools", "caller_token_required", 409],
        ["initiate-verification", "caller_token_required", 409],
        ["reauthorize", "unsupported", 400],
        ["reregister", "client_given", 409],
      ] as const) {
        const { error } = await s.admin.expect(answered, "POST", `${path}/${route}`);
        expect(error.code, route).toBe(code);
      }
      expect(s.exchange.forms).toEqual([]);
      const faults: [Record<string, unknown>, string][] = [
        [{ token_url: null }, "token_url_required"],
        [{ client_id: null, client_secret: null }, "client_id_required"],
        [{ assertion: "x" }, "unsupported_field"],
        [{ idp: { token_url: "https://idp.example/t", client_id: "x" } }, "unsupported_field"],
        [{ authorize_url: "https://idp.example/a" }, "unsupported_field"],
        [{ grant_type: "client_credentials" }, "unsupported_field"],
        [{ subject_token_type: "refresh_token" }, "unsupported_field"],
        [{ grant_type: "jwt_bearer" }, "scopes_required"],
        [{ grant_type: "jwt_bearer", scopes: ["x"], client_secret: null }, "client_secret_required"],
        [{ grant_type: "jwt_bearer", scopes: ["x"], audience: "y" }, "unsupported_field"],
      ];
      for (const [oauth, code] of faults) {
        const body = { ...definition(s.upstream, s.exchange, oauth), name: "other" };
        const { error } = await s.admin.expect(400, "POST", "/api/mcp/client", {
          connection_type: "http",
          ...body,
        });
        expect(error.code, JSON.stringify(oauth)).toBe(code);
      }
    });
  },
  ["sqlite"],
);
