import { expect, test } from "vitest";
import type { JwtIssuer } from "../../src/jwt/index.ts";
import { jwtConfig } from "../../src/jwt/index.ts";
import { type ScriptedUpstream, startScriptedUpstream } from "../peers/scripted-upstream.ts";
import { startTokenIssuer, type TokenIssuer } from "../peers/token-issuer.ts";
import { Management } from "./steps/management.ts";
import { openWithBearer } from "./steps/mcp-client.ts";
import { journeys, type Stage, type TestGateway } from "./steps/stage.ts";

const audience = "https://gateway.example/mcp";

interface Scene {
  gateway: TestGateway;
  admin: Management;
  issuer: TokenIssuer;
  upstream: ScriptedUpstream;
  upstreamId: string;
  key: { id: string; value: string };
  token(claims: Record<string, unknown>, of?: TokenIssuer): Promise<string>;
}

/** A gateway that trusts an issuer, one upstream for everybody, and a key for it. */
async function scene(
  stage: Stage,
  entry: Record<string, unknown> = {},
  more: { issuers?: TokenIssuer[]; enforce?: boolean } = {},
): Promise<Scene> {
  const issuer = stage.keep(await startTokenIssuer());
  const upstream = stage.keep(await startScriptedUpstream());
  const issuers = [issuer, ...(more.issuers ?? [])];
  const allow = [...issuers.map(({ hostPort }) => hostPort), new URL(upstream.url).host];
  const gateway = await stage.gateway(allow, (config) => {
    config.jwtIssuers = issuers.flatMap((one) => trusting(one, entry));
    config.settings.enforceAuthOnInference = more.enforce ?? true;
  });
  const admin = new Management(gateway.baseUrl, gateway.adminToken);
  const { mcp_client_id: upstreamId } = await admin.createUpstream({
    name: "office",
    connection_string: upstream.url,
    auth_type: "none",
    allow_on_all_virtual_keys: true,
  });
  await admin.refreshTools(upstreamId);
  const key = await admin.createKey("robot", []);
  const token = (claims: Record<string, unknown>, of = issuer) =>
    of.sign({ aud: audience, ...claims }, { now: stage.now() });
  return { gateway, admin, issuer, upstream, upstreamId, key, token };
}

function trusting(issuer: TokenIssuer, entry: Record<string, unknown>): readonly JwtIssuer[] {
  const { issuer: name, jwksUrl } = issuer;
  const whole = { issuer: name, audience, jwks_url: jwksUrl, algorithms: ["ES256"], ...entry };
  return jwtConfig.parse({ issuers: [whole] }).issuers;
}

/** One call of the upstream's tool. */
async function call({ gateway }: Scene, headers: Record<string, string>): Promise<Response> {
  const version = "2026-07-28";
  const _meta = {
    "io.modelcontextprotocol/protocolVersion": version,
    "io.modelcontextprotocol/clientInfo": { name: "t", version: "1" },
    "io.modelcontextprotocol/clientCapabilities": {},
  };
  const params = { name: "office-echo", arguments: {}, _meta };
  return fetch(`${gateway.baseUrl}/mcp`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      accept: "application/json, text/event-stream",
      "mcp-protocol-version": version,
      "mcp-method": "tools/call",
      "mcp-name": "office-echo",
      ...headers,
    },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params }),
  });
}

async function outcome(of: Scene, token: string, header = "authorization"): Promise<number | string> {
  const answer = await call(of, { [header]: header === "authorization" ? `Bearer ${token}` : token });
  const body = await answer.json();
  return answer.status === 200 && body.error ? JSON.stringify(body.error) : answer.status;
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

journeys("a JWT", (stage) => {
  test("acts as the virtual key it names, by name or id, in Authorization or x-bf-vk, and with the key's end", async () => {
    const s = await scene(stage);
    const token = await s.token({ sub: "ci", virtual_key: "robot" });
    expect(await outcome(s, token)).toBe(200);
    expect(await outcome(s, await s.token({ virtual_key: s.key.id }), "x-bf-vk")).toBe(200);
    expect(await outcome(s, token, "x-api-key")).toBe(401);
    expect(await outcome(s, await s.token({ virtual_key: "nobody" }))).toBe(401);
    expect(await outcome(s, await s.token({ virtual_key: ["robot"] }))).toBe(401);
    expect(await outcome(s, await s.token({ sub: "robot" }))).toBe(401);
    const own = new Management(s.gateway.baseUrl, token);
    expect((await own.expect(200, "GET", "/api/session")).virtual_key).toMatchObject({ name: "robot" });
    await own.expect(403, "GET", "/api/users");
    // Both at once are two credentials; the same one twice is one.
    expect((await call(s, { ...bearer(token), "x-bf-vk": s.key.value })).status).toBe(400);
    expect((await call(s, { ...bearer(token), "x-bf-vk": token })).status).toBe(200);
    const path = `/api/governance/virtual-keys/${s.key.id}`;
    await s.admin.expect(200, "PUT", path, { is_active: false });
    expect(await outcome(s, token)).toBe(401);
    await s.admin.expect(200, "PUT", path, { is_active: true });
    expect(await outcome(s, token)).toBe(200);
    await s.admin.expect(200, "DELETE", path);
    expect(await outcome(s, token)).toBe(401);
    await s.gateway.runJobs();
    const { events } = await s.admin.expect(200, "GET", "/api/audit?event=call.made");
    expect(events[0].actor).toBe(`vk:${s.key.id}/jwt:${s.issuer.issuer} ci`);
  });

  test("is a person by issuer and claim value, made just in time, and ends with the account at once", async () => {
    const s = await scene(stage, {
      allow: ["user"],
      claims: { groups: "groups", name: "name" },
    });
    await s.admin.expect(200, "POST", "/api/groups", { name: "engineers" });
    const token = await s.token({ sub: "u-1", name: "Uma", groups: ["engineers", "unknown"] });
    expect(await outcome(s, token)).toBe(200);
    const own = new Management(s.gateway.baseUrl, token);
    const { user, kind, is_admin, jwt } = await own.expect(200, "GET", "/api/session");
    expect({ kind, is_admin, jwt, name: user.name }).toEqual({
      kind: "jwt",
      is_admin: false,
      jwt: { issuer: s.issuer.issuer, subject: "u-1" },
      name: "Uma",
    });
    const again = new Management(s.gateway.baseUrl, await s.token({ sub: "u-1" }));
    expect((await again.expect(200, "GET", "/api/session")).user.id).toBe(user.id);
    await own.expect(403, "GET", "/api/users");
    // Nothing that outlives the token is made with it, and nothing that needs a browser is finished.
    await own.expect(403, "POST", "/api/tokens", { name: "x", scopes: ["read"] });
    const path = `/api/users/${user.id}`;
    await s.admin.expect(200, "PUT", path, { is_active: false });
    expect(await outcome(s, token)).toBe(401);
    await own.expect(401, "GET", "/api/session");
    await s.admin.expect(200, "PUT", path, { is_active: true });
    expect(await outcome(s, token)).toBe(200);
    // ID-28: who is deleted does not come back by a token from before, only by what the issuer says of them since.
    const unseen = await s.token({ sub: "u-1", jti: "not shown yet" });
    await s.admin.expect(204, "DELETE", path);
    for (const before of [token, unseen]) expect(await outcome(s, before)).toBe(401);
    stage.advance(2_000);
    const since = new Management(s.gateway.baseUrl, await s.token({ sub: "u-1" }));
    expect((await since.expect(200, "GET", "/api/session")).user.id).not.toBe(user.id);
  });
});

journeys(
  "as whom a JWT counts",
  (stage) => {
    test("administers where allow says so, and nowhere else", async () => {
      const s = await scene(stage, {
        allow: ["vk", "user", "admin"],
        claims: { user: "user_name", role: "realm_access.roles" },
      });
      const roles = (...given: string[]) => ({ realm_access: { roles: given } });
      const admin = await s.token({ sub: "root", ...roles("other", "admin") });
      const own = new Management(s.gateway.baseUrl, admin);
      expect(await own.expect(200, "GET", "/api/session")).toMatchObject({ kind: "jwt", is_admin: true });
      await own.expect(200, "GET", "/api/users");
      await own.expect(200, "POST", "/api/governance/virtual-keys", { name: "by-jwt", mcp_configs: [] });
      const { events } = await own.expect(200, "GET", "/api/audit?event=virtual_key.created&limit=1");
      expect(events[0].actor).toBe(`jwt:${s.issuer.issuer} root`);
      await own.expect(403, "POST", "/api/tokens", { name: "x", scopes: ["read"] });
      expect(await outcome(s, admin)).toBe(401);
      // Contract section 9: a token that maps to two kinds is 401.
      for (const claims of [
        { virtual_key: "robot", user_name: "ann" },
        { virtual_key: "robot", ...roles("admin") },
        { user_name: "ann", ...roles("admin") },
        { virtual_key: "", ...roles("admin") },
        { user_name: 7, virtual_key: "robot" },
        { user_name: "ann\u0000", virtual_key: "robot" },
        roles("Admin", "administrator"),
        { sub: "x" },
      ]) {
        const token = await s.token({ sub: "x", ...claims });
        expect(await outcome(s, token), JSON.stringify(claims)).toBe(401);
        await new Management(s.gateway.baseUrl, token).expect(401, "GET", "/api/session");
      }
    });

    test("ID-18 the same subject of two issuers is two people; of another tenant nobody", async () => {
      const other = stage.keep(await startTokenIssuer());
      const s = await scene(
        stage,
        { allow: ["user"], tenant: "t-1", claims: { tenant: "org_id" } },
        { issuers: [other] },
      );
      const idOf = async (token: string) => {
        const own = new Management(s.gateway.baseUrl, token);
        return (await own.expect(200, "GET", "/api/session")).user.id;
      };
      const claims = { sub: "same", email: "a@example.com", org_id: "t-1" };
      expect(await idOf(await s.token(claims))).not.toBe(await idOf(await s.token(claims, other)));
      for (const org_id of ["t-2", undefined, ["t-1"], "T-1"])
        expect(await outcome(s, await s.token({ sub: "same", org_id }))).toBe(401);
      // Signed by one in the name of the other.
      expect(await outcome(s, await s.token({ ...claims, iss: s.issuer.issuer }, other))).toBe(401);
      expect(await outcome(s, await s.token({ ...claims, iss: "https://unknown.example" }))).toBe(401);
    });

    test("ID-19 what was proved of one token counts for no other, and no longer than it", async () => {
      const s = await scene(stage, { allow: ["user"] });
      const [a, b] = [await s.token({ sub: "a" }), await s.token({ sub: "b" })];
      for (const token of [a, b, a, b]) expect(await outcome(s, token)).toBe(200);
      const changed = `${a.slice(0, -6)}${a.endsWith("AAAAAA") ? "BBBBBB" : "AAAAAA"}`;
      for (const bad of [changed, `${a}A`, `${a.split(".").slice(0, 2).join(".")}.${b.split(".")[2]}`])
        expect(await outcome(s, bad)).toBe(401);
      expect(await outcome(s, a)).toBe(200);
      stage.advance(331_000);
      expect(await outcome(s, a)).toBe(401);
    });

    test("ID-20 refused it is nobody, also where nobody may call; 503 while the keys cannot be had", async () => {
      const s = await scene(stage, {}, { enforce: false });
      const token = await s.token({ virtual_key: "robot" });
      s.issuer.answer = (_, response) => response.writeHead(500).end();
      const answer = await call(s, bearer(token));
      expect(answer.status).toBe(503);
      expect((await answer.json()).error.code).toBe("issuer_keys_unavailable");
      await new Management(s.gateway.baseUrl, token).expect(503, "GET", "/api/session");
      const bad = await call(s, bearer(`${token.slice(0, -8)}AAAAAAAA`));
      expect(bad.status).toBe(503);
      s.issuer.answer = undefined;
      stage.advance(5_000);
      const refused = await call(s, bearer(`${token.slice(0, -8)}AAAAAAAA`));
      expect(refused.status).toBe(401);
      expect(refused.headers.get("www-authenticate")).toBe(
        `Bearer resource_metadata="${s.gateway.baseUrl}/.well-known/oauth-protected-resource/mcp", error="invalid_token"`,
      );
      const session = { "x-bf-mcp-session-id": "s".repeat(40) };
      expect((await call(s, { ...bearer(token), ...session })).status).toBe(400);
      expect(s.upstream.calls("tools/call")).toHaveLength(0);
      expect(await outcome(s, token)).toBe(200);
    });

    test("a session goes on with the next token of the subject, with nobody else's, and its stream ends with the account", async () => {
      const s = await scene(stage, { allow: ["user"] });
      const token = await s.token({ sub: "listener" });
      const client = stage.keep(await openWithBearer(s.gateway.baseUrl, token, { era: "legacy" }));
      const transport = client.transport as unknown as { sessionId: string };
      const listen = (value: string) =>
        fetch(`${s.gateway.baseUrl}/mcp`, {
          headers: {
            ...bearer(value),
            accept: "text/event-stream",
            "mcp-session-id": transport.sessionId,
            "mcp-protocol-version": "2025-11-25",
          },
        });
      const next = await listen(await s.token({ sub: "listener", jti: "next" }));
      expect(next.status).toBe(200);
      expect((await listen(await s.token({ sub: "else" }))).status).toBe(404);
      const { user } = await new Management(s.gateway.baseUrl, token).expect(200, "GET", "/api/session");
      await s.admin.expect(200, "PUT", `/api/users/${user.id}`, { is_active: false });
      await expect(drained(next)).resolves.toBeUndefined();
    });
  },
  ["sqlite"],
);

journeys(
  "a JWT at another replica",
  (stage) => {
    test("ends within a second with the key or the account that was ended here", async () => {
      const s = await scene(stage, { allow: ["vk", "user"], claims: { user: "name_here" } });
      const other = await stage.open({
        ...s.gateway.options,
        port: undefined,
        configure: (config) => {
          s.gateway.options.configure?.(config);
          config.settings.baseUrl = new URL(s.gateway.baseUrl);
          config.settings.aliases = [`http://127.0.0.1:${config.port}`];
        },
      });
      const there = { ...s, gateway: other };
      const [robot, ann] = [await s.token({ virtual_key: "robot" }), await s.token({ name_here: "ann" })];
      await expect.poll(() => outcome(there, robot)).toBe(200);
      expect(await outcome(there, ann)).toBe(200);
      const { user } = await new Management(s.gateway.baseUrl, ann).expect(200, "GET", "/api/session");
      await s.admin.expect(200, "PUT", `/api/governance/virtual-keys/${s.key.id}`, { is_active: false });
      await s.admin.expect(200, "PUT", `/api/users/${user.id}`, { is_active: false });
      for (const token of [robot, ann]) await expect.poll(() => outcome(there, token)).toBe(401);
    });
  },
  ["postgres"],
);

/** Resolves when the stream ends. */
async function drained(response: Response): Promise<void> {
  for await (const _ of response.body!) {
    // What is said until then does not matter.
  }
}
