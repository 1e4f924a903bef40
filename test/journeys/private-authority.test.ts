import { expect, test } from "vitest";
import { type Authority, certificateAuthority } from "../peers/certificates.ts";
import { type Era, type ScriptedUpstream, startScriptedUpstream } from "../peers/scripted-upstream.ts";
import { eventually } from "./steps/eventually.ts";
import { Management } from "./steps/management.ts";
import { openWithBearer, textOf } from "./steps/mcp-client.ts";
import { journeys } from "./steps/stage.ts";

const TOKEN = "the-gateway-s-own-token";
const echo = { name: "inner-echo", arguments: { a: 1 } };
const oauth_config = {
  grant_type: "client_credentials",
  client_id: "postern",
  client_secret: "client-secret-1",
};

/** An upstream that is its own authorization server and speaks with nobody who shows no certificate of `ca`. */
function startInner(ca: Authority, era: Era): Promise<ScriptedUpstream> {
  const tls = { ...ca.issue(["inner.test"]), ca: ca.cert, requestCert: true, rejectUnauthorized: true };
  return startScriptedUpstream({ era, tls, requireBearer: { token: TOKEN } }).then((upstream) => {
    const { origin } = upstream;
    Object.assign(upstream.documents, {
      "/.well-known/oauth-protected-resource/mcp": {
        resource: upstream.url,
        authorization_servers: [origin],
      },
      "/.well-known/oauth-authorization-server": {
        issuer: origin,
        token_endpoint: `${origin}/token`,
        revocation_endpoint: `${origin}/revoke`,
      },
      "/token": { access_token: TOKEN, token_type: "Bearer", expires_in: 3600 },
      "/revoke": {},
    });
    return upstream;
  });
}

journeys("a server with an authority of its own", (stage) => {
  test.each<Era>(["modern", "legacy"])(
    "is discovered, asked for a token, called and told of its end with the certificate it wants (%s)",
    async (era) => {
      const ca = certificateAuthority();
      const upstream = stage.keep(await startInner(ca, era));
      const gateway = await stage.gateway([new URL(upstream.url).host]);
      const admin = new Management(gateway.baseUrl, gateway.adminToken);
      const { cert, key } = ca.issue(["gateway"]);
      const tls_config = {
        ca_cert_pem: ca.cert,
        client_cert_pem: cert,
        client_key_pem: key,
        server_name: "inner.test",
      };
      const body = {
        name: "inner",
        connection_string: upstream.url,
        auth_type: "oauth",
        oauth_config,
        tools_to_execute: ["*"],
      };
      const refused = await admin.send("POST", "/api/mcp/client", body);
      expect(refused.status).toBe(502);
      expect(JSON.stringify(refused.body)).not.toMatch(/CERT|inner\.test|issuer|signature/);
      expect(upstream.requests).toEqual([]);

      const { mcp_client_id: id } = await admin.createUpstream({ ...body, tls_config });
      const entry = async () => (await admin.expect(200, "GET", "/api/mcp/clients")).clients[0];
      await eventually("its tools are read", async () => (await entry()).state === "healthy");
      expect((await entry()).config.tls_config).toEqual({ ...tls_config, client_key_pem: "********" });
      const { value } = await admin.createKey("Alice", [id]);
      const client = stage.keep(await openWithBearer(gateway.baseUrl, value));
      expect(textOf(await client.callTool(echo))).toBe('{"a":1}');

      const change = (changes: object) =>
        admin.expect(200, "PUT", `/api/mcp/client/${id}`, { oauth_config, ...changes });
      const other = certificateAuthority();
      await change({ tls_config: { ca_cert_pem: other.cert, client_key_pem: key } });
      const calls = upstream.requests.length;
      // The whole of it: nothing of a certificate, a name or an address.
      await expect(client.callTool(echo)).rejects.toThrow(/^inner could not be reached\. Try again later\.$/);
      expect(upstream.requests).toHaveLength(calls);
      await change({ tls_config });
      expect(textOf(await client.callTool(echo))).toBe('{"a":1}');

      await admin.expect(200, "DELETE", `/api/mcp/client/${id}`);
      const isTold = () => upstream.requests.some(({ path }) => path === "/revoke");
      await gateway.runJobs();
      await eventually("the provider is told", isTold);
    },
  );
});
