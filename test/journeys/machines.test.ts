import { CrossAppAccessProvider, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { expect, test } from "vitest";
import {
  enterpriseAuthorizationConfig,
  machineTrust,
  workloadIdentityConfig,
} from "../../src/issuer/index.ts";
import { startScriptedUpstream } from "../peers/scripted-upstream.ts";
import { startTokenIssuer } from "../peers/token-issuer.ts";
import { Management } from "./steps/management.ts";
import { newClient, openWithBearer, statusFor } from "./steps/mcp-client.ts";
import { journeys, type Stage } from "./steps/stage.ts";

const TOKEN = "/api/oauth/per-user/token";
const tool = { name: "office-echo", arguments: { text: "hello" } };

/** A gateway that trusts an issuer for jobs and for people, and an upstream that everybody may use. */
async function openOffice(stage: Stage) {
  const issuer = stage.keep(await startTokenIssuer());
  const upstream = stage.keep(await startScriptedUpstream());
  const trusted = { issuer: issuer.issuer, jwks_url: issuer.jwksUrl, algorithms: ["ES256"] };
  const rule = {
    ...trusted,
    name: "shop deploys",
    claims: { repository: "acme/shop", ref: "refs/heads/*" },
    service_account: "deployer",
  };
  const gateway = await stage.gateway([issuer.hostPort, new URL(upstream.url).host], (config) => {
    config.machines = machineTrust(
      workloadIdentityConfig.parse({ rules: [rule] }),
      enterpriseAuthorizationConfig.parse({ issuers: [{ ...trusted, create_accounts: true }] }),
    );
  });
  const admin = new Management(gateway.baseUrl, gateway.adminToken);
  const { mcp_client_id: id } = await admin.createUpstream({
    name: "office",
    connection_string: upstream.url,
    auth_type: "none",
    allow_on_all_virtual_keys: true,
  });
  await admin.refreshTools(id);
  return { issuer, upstream, gateway, admin };
}

journeys("machines", (stage) => {
  test("a CI job calls a tool with its own token and no stored secret; it ends with its account", async () => {
    const { issuer, gateway, admin } = await openOffice(stage);
    const { service_account } = await admin.expect(200, "POST", "/api/service-accounts", {
      name: "deployer",
    });
    const assertion = await issuer.sign({
      sub: "repo:acme/shop:ref:refs/heads/main",
      aud: gateway.baseUrl,
      repository: "acme/shop",
      ref: "refs/heads/main",
    });
    const grant_type = "urn:ietf:params:oauth:grant-type:jwt-bearer";
    const answer = await fetch(gateway.baseUrl + TOKEN, {
      method: "POST",
      body: new URLSearchParams({ grant_type, assertion, resource: `${gateway.baseUrl}/mcp` }),
    });
    expect(answer.status).toBe(200);
    const { access_token: token } = (await answer.json()) as { access_token: string };
    const job = stage.keep(await openWithBearer(gateway.baseUrl, token));
    expect((await job.listTools()).tools.map(({ name }) => name)).toContain(tool.name);
    expect((await job.callTool(tool)).isError).not.toBe(true);
    const { sessions } = await admin.expect(200, "GET", "/api/oauth2/sessions?q=shop");
    expect(sessions).toMatchObject([{ bf_sub_display: "deployer", bf_mode: "user" }]);
    await admin.expect(204, "DELETE", `/api/service-accounts/${service_account.id}`);
    await expect.poll(() => statusFor(gateway.baseUrl, token)).toBe(401);
  });

  test("the official client comes in a person's name by the company's ID-JAG", async () => {
    const { issuer, gateway, admin } = await openOffice(stage);
    const registered = await admin.expect(201, "POST", "/api/oauth2/clients", { client_name: "Assistant" });
    const asked: string[] = [];
    const provider = new CrossAppAccessProvider({
      clientId: registered.client_id,
      clientSecret: registered.client_secret,
      expectedIssuer: gateway.baseUrl,
      assertion: ({ authorizationServerUrl, resourceUrl }) => {
        asked.push(authorizationServerUrl, resourceUrl);
        const claims = {
          jti: `jag ${asked.length}`,
          sub: "U-ada",
          email: "ada@corp.example",
          aud: authorizationServerUrl,
          resource: resourceUrl,
          client_id: registered.client_id,
        };
        return issuer.sign(claims, { header: { typ: "oauth-id-jag+jwt" } });
      },
    });
    const client = stage.keep(newClient());
    const url = new URL("/mcp", gateway.baseUrl);
    await client.connect(new StreamableHTTPClientTransport(url, { authProvider: provider }));
    expect((await client.callTool(tool)).isError).not.toBe(true);
    expect(asked[1]).toBe(url.href);
    const { sessions } = await admin.expect(200, "GET", "/api/oauth2/sessions");
    expect(sessions).toMatchObject([{ client_name: "Assistant", bf_mode: "user" }]);
  });
});
