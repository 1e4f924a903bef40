import { expect, it } from "vitest";
import { startLoopbackServer } from "../../test/peers/loopback-server.ts";
import { onBothDatabases } from "../../test/support/databases.ts";
import { readJson } from "../../test/support/read.ts";
import { openOutbound } from "../base/index.ts";
import {
  addKey,
  BASE,
  consented,
  exchange,
  REDIRECT,
  refresh,
  register,
  setUp,
  startConsent,
  Tab,
} from "./issuer.suite.ts";

onBothDatabases("registration and metadata", (open) => {
  const errorOf = async (response: Response) => [response.status, (await readJson(response)).error];

  it("RG-04 RG-08 RG-09 registers what counts, stores nothing, gives no secret", async () => {
    const gateway = await setUp(open);
    const metadata = {
      client_name: "C1",
      redirect_uris: [REDIRECT],
      client_id: "mine",
      client_secret: "s",
      trusted: true,
      grant_types: ["client_credentials"],
      token_endpoint_auth_method: "client_secret_post",
      jwks_uri: "http://127.0.0.1:1/",
    };
    const response = await register(gateway, metadata);
    expect(response.status).toBe(201);
    expect(response.headers.get("cache-control")).toBe("no-store");
    const body = await readJson(response);
    expect(body).toEqual({
      client_id: expect.stringMatching(/^pstc_[\w-]+$/),
      client_id_issued_at: Math.floor(gateway.world.now().getTime() / 1000),
      client_name: "C1",
      redirect_uris: [REDIRECT],
      grant_types: ["authorization_code", "refresh_token"],
      response_types: ["code"],
      token_endpoint_auth_method: "none",
    });
    expect((await readJson(await register(gateway, metadata))).client_id).not.toBe(body.client_id);
    expect(await gateway.database.db.selectFrom("clients").selectAll().execute()).toEqual([]);
  });

  it("RG-01 RG-03 refuses bad metadata as a whole", async () => {
    const gateway = await setUp(open);
    const uri = [400, "invalid_redirect_uri"];
    for (const redirect_uris of [
      undefined,
      [],
      "https://a.example/cb",
      {},
      [1],
      [["https://a.example"]],
      [REDIRECT, "javascript:x"],
    ]) {
      expect(await errorOf(await register(gateway, { redirect_uris }))).toEqual(uri);
    }
    const many = Array.from({ length: 1000 }, (_, n) => `https://a.example/${n}`);
    expect(await errorOf(await register(gateway, { redirect_uris: many }))).toEqual([
      400,
      "invalid_client_metadata",
    ]);
    const named = (client_name: unknown) => register(gateway, { redirect_uris: [REDIRECT], client_name });
    expect(await errorOf(await named("x".repeat(20_000)))).toEqual([400, "invalid_client_metadata"]);
    expect(await errorOf(await named(7))).toEqual([400, "invalid_client_metadata"]);
    expect((await named("x".repeat(5_000))).status).toBe(201);
    const raw = (body: string | Uint8Array<ArrayBuffer>, type = "application/json") =>
      gateway.call("/api/oauth/per-user/register", {
        method: "POST",
        headers: { "content-type": type },
        body,
      });
    const good = JSON.stringify({ redirect_uris: [REDIRECT] });
    expect((await raw(good, "text/plain")).status).toBe(415);
    expect((await raw("")).status).toBe(400);
    expect((await raw("[]")).status).toBe(400);
    expect((await raw("[".repeat(100_000))).status).toBe(400);
    expect((await raw(`{"redirect_uris":[],${good.slice(1)}`)).status).toBe(400);
    expect((await raw(new Uint8Array([0x22, 0xff, 0x22]))).status).toBe(400);
    expect((await raw(" ".repeat(5 * 1024 * 1024))).status).toBe(413);
  });

  it("a client keeps its id when the encryption key is gone, once somebody approved it", async () => {
    const gateway = await setUp(open);
    const key = await addKey(gateway);
    const { clientId } = await consented(gateway, key.value);
    const { Seal } = await import("../base/index.ts");
    const later = new Seal([gateway.world.random(32)], gateway.world.random);
    const url = gateway.database.kind === "postgres" ? gateway.url : undefined;
    if (url === undefined) return;
    const rotated = await setUp(open, { beside: { ...gateway, seal: later } });
    expect(await startConsent(rotated, { clientId })).toMatchObject({ clientId });
  });

  it("AZ-22 the documents agree at every path that clients probe", async () => {
    const gateway = await setUp(open);
    const server = await readJson(await gateway.call("/.well-known/oauth-authorization-server"));
    expect(server).toMatchObject({
      issuer: BASE,
      authorization_endpoint: `${BASE}/api/oauth/per-user/authorize`,
      code_challenge_methods_supported: ["S256"],
      authorization_response_iss_parameter_supported: true,
      client_id_metadata_document_supported: true,
      scopes_supported: ["mcp", "offline_access"],
    });
    for (const path of [
      "/.well-known/oauth-authorization-server/mcp",
      "/.well-known/oauth-authorization-server/mcp/team",
      "/.well-known/openid-configuration",
      "/.well-known/openid-configuration/mcp",
      "/.well-known/openid-configuration/mcp/team",
      "/mcp/.well-known/openid-configuration",
      "/mcp/team/.well-known/openid-configuration",
    ]) {
      const response = await gateway.call(path, { headers: { origin: "https://web.example" } });
      expect([path, response.headers.get("access-control-allow-origin")]).toEqual([path, "*"]);
      expect(await readJson(response)).toEqual(server);
    }
    for (const suffix of ["", "/mcp", "/mcp/team"]) {
      const document = await readJson(await gateway.call(`/.well-known/oauth-protected-resource${suffix}`));
      expect(document).toMatchObject({
        resource: `${BASE}${suffix || "/mcp"}`,
        authorization_servers: [BASE],
        scopes_supported: ["mcp"],
      });
    }
  });

  it("AZ-20 at an alias the resource names it and the issuer stays; other hosts are refused", async () => {
    const gateway = await setUp(open, { settings: { aliases: ["https://gw.example"] } });
    const at = (origin: string) => gateway.call(`${origin}/.well-known/oauth-protected-resource/mcp`);
    for (const origin of ["https://gw.example", "http://127.0.0.1:8080"]) {
      expect(await readJson(await at(origin))).toMatchObject({
        resource: `${origin}/mcp`,
        authorization_servers: [BASE],
      });
    }
    // Behind a proxy that ends TLS.
    expect(await readJson(await at("http://gw.example"))).toMatchObject({
      resource: "https://gw.example/mcp",
    });
    expect((await at("https://evil.example")).status).toBe(421);
    const started = await startConsent(gateway, { more: { resource: "http://127.0.0.1:8080/mcp" } });
    expect(started.flowId).toMatch(/^flow_/);
    expect(new Tab(gateway).cookies.size).toBe(0);
  });

  it("CB-18 RG-17 a client document: shown with its host, granted as it was read, refreshed without its host", async () => {
    let redirectUris = ["http://localhost/callback"];
    const { origin, port, close, server } = await startLoopbackServer();
    const clientId = `${origin}/client.json`;
    server.on("request", (_request, response) => {
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify({ client_id: clientId, client_name: "Desk", redirect_uris: redirectUris }));
    });
    const outbound = openOutbound({ allow: { admin: [], stranger: [`127.0.0.1:${port}`] } });
    try {
      const gateway = await setUp(open, { outbound });
      const key = await addKey(gateway);
      const redirectUri = "http://localhost:51004/callback";
      const started = await startConsent(gateway, { clientId, redirectUri });
      const page = await (await started.tab.get(`/oauth/consent?flow_id=${started.flowId}`)).text();
      expect(page).toContain(`<dd>127.0.0.1:${port}</dd>`);
      expect(page).toContain("An application on <strong>this computer</strong>");
      redirectUris = ["https://evil.example/cb"];
      gateway.world.advance(60 * 60_000 * 0.2);
      const { location, code } = await consented(gateway, key.value, started);
      expect(location.href.startsWith(`${redirectUri}?code=`)).toBe(true);
      await close();
      const answer = await readJson(
        await exchange(gateway, { ...started, code }, { redirect_uri: redirectUri }),
      );
      gateway.world.advance(25 * 60 * 60_000);
      expect((await refresh(gateway, clientId, answer.refresh_token)).status).toBe(200);
      expect((await refresh(gateway, `${clientId}/`, answer.refresh_token)).status).toBe(401);
    } finally {
      await close();
      await outbound.close();
    }
  });
});
