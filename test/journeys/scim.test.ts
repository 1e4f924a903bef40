import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { loadConfig } from "../../src/config.ts";
import { signInOrigins, ssoConfig } from "../../src/sso/index.ts";
import { Browser } from "../peers/browser.ts";
import { claimShapes } from "../peers/claim-shapes.ts";
import { freePort } from "../peers/free-port.ts";
import { startAuthorizationServer } from "../peers/identity-provider.ts";
import { marked } from "../support/marked.ts";
import { Management } from "./steps/management.ts";
import { journeys, type Stage } from "./steps/stage.ts";

const clientSecret = marked("what-the-gateway-shows-the-provider");
const USER = "urn:ietf:params:scim:schemas:core:2.0:User";

/** A company whose directory provisions and whose provider signs in; `linked`: `scim.identity` names the provider. */
async function openCompany(stage: Stage, linked: boolean) {
  const port = await freePort();
  const issuer = `http://127.0.0.1:${port}`;
  const provider = { id: "okta", type: "oidc", name: "Okta", issuer, client_id: "gateway" };
  const gateway = await stage.gateway([new URL(issuer).host], (config) => {
    config.sso = ssoConfig.parse({ providers: [{ ...provider, client_secret: clientSecret }] });
    config.settings.signInOrigins = signInOrigins(config.sso);
    if (linked) config.scimIdentity = { provider: "sso:okta", issuer, attribute: "externalId" };
  });
  const redirect = `${gateway.baseUrl}/login/sso/okta/callback`;
  const client = { client_id: "gateway", client_secret: clientSecret, redirect_uris: [redirect] };
  const grace = { name: "Grace", email: "grace@example.com", groups: [], roles: [] };
  const people = claimShapes.okta(new Map([["1002", grace]]));
  const server = stage.keep(await startAuthorizationServer({ port, people, clients: [client] }));
  const admin = new Management(gateway.baseUrl, gateway.adminToken);
  const token = async (...scopes: string[]) => {
    const made = await admin.expect(200, "POST", "/api/tokens", { name: "directory", scopes });
    return new Management(gateway.baseUrl, made.token.value);
  };
  const signIn = async () => {
    server.accountForNextLogin = "1002";
    const tab = stage.keep(new Browser());
    await tab.get(`${gateway.baseUrl}/login?return_to=%2Faccount%2Fidentities`);
    return tab.submitForm((form) => form.action.endsWith("/login/sso/okta"));
  };
  const body = { schemas: [USER], userName: "grace@example.com", externalId: "1002", displayName: "Grace" };
  return { gateway, admin, token, signIn, body };
}

journeys("a directory and a sign-in provider", (stage) => {
  test("ID-18 the account that the directory made is the one that the first sign-in finds", async () => {
    const { admin, token, signIn, body } = await openCompany(stage, true);
    const directory = await token("write:scim");
    const { id } = await directory.expect(201, "POST", "/scim/v2/Users", body);
    expect((await signIn()).html).toContain("grace@example.com");
    const { users } = await admin.expect(200, "GET", "/api/users");
    expect(users.map((user: { id: string }) => user.id)).toEqual([id]);
    await directory.expect(200, "PATCH", `/scim/v2/Users/${id}`, {
      Operations: [{ op: "replace", path: "active", value: false }],
    });
    expect((await signIn()).html).toContain("(account_disabled)");
  });

  test("without that rule an address brings nobody into an account", async () => {
    const { token, signIn, body } = await openCompany(stage, false);
    await (await token("write:scim")).expect(201, "POST", "/scim/v2/Users", body);
    const refused = await signIn();
    expect([refused.status, refused.html]).toEqual([
      409,
      expect.stringContaining("(email_of_another_account)"),
    ]);
  });

  test("a token for the directory does that and nothing else", async () => {
    const { gateway, admin, token, body } = await openCompany(stage, false);
    const [reads, writes] = [await token("read:scim"), await token("write:scim")];
    const { id } = await writes.expect(201, "POST", "/scim/v2/Users", body);
    await reads.expect(200, "GET", `/scim/v2/Users/${id}`);
    const refused = await reads.send("DELETE", `/scim/v2/Users/${id}`);
    expect([refused.status, refused.body.status, refused.body.detail]).toEqual([
      403,
      "403",
      expect.stringContaining("write:scim"),
    ]);
    for (const one of [reads, writes]) expect((await one.send("GET", "/api/users")).status).toBe(403);
    const { virtual_key: key } = await admin.expect(200, "POST", "/api/governance/virtual-keys", {
      name: "k",
    });
    expect((await new Management(gateway.baseUrl, key.value).send("GET", "/scim/v2/Users")).status).toBe(403);
    expect((await new Management(gateway.baseUrl, "").send("GET", "/scim/v2/Users")).status).toBe(401);
  });
});

test("a rule that names no provider stops the start", async () => {
  const folder = await mkdtemp(join(tmpdir(), "postern-scim-"));
  const file = join(folder, "config.json");
  const sso = {
    providers: [{ id: "okta", type: "oidc", name: "O", issuer: "https://o.example", client_id: "c" }],
  };
  const load = async (provider: string) => {
    const content = { sso, scim: { identity: { provider, attribute: "userName" } } };
    await writeFile(file, JSON.stringify(content));
    const key = Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("base64");
    return loadConfig({ environment: { POSTERN_ENCRYPTION_KEY: key }, file }).scimIdentity;
  };
  try {
    await expect(load("entra")).rejects.toThrow("scim.identity.provider names no provider");
    expect(await load("okta")).toEqual({
      provider: "sso:okta",
      issuer: "https://o.example",
      attribute: "userName",
    });
  } finally {
    await rm(folder, { recursive: true });
  }
});
