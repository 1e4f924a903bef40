import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { startFakeProvider } from "../../test/profiles/fake-provider.ts";
import { testWorld } from "../../test/support/world.ts";
import type { Json, JsonObject } from "../base/index.ts";
import { authorizationUrl } from "../connect/round-trip.ts";
import type { NewSecret } from "../vault/index.ts";
import { callProvider } from "../vault/provider-call.ts";
import { checkDefinition, definitionBody, Profiles, plainTokenAnswer, shippedProfiles } from "./index.ts";
import { closing, exchange, type Fixture, person, start } from "./profiles.suite.ts";

describe("profiles", () => {
  it("one more needs no code: a made-up provider, loaded from a folder, with every peculiarity at once", async () => {
    const bench = await start(madeUpFixture, load(madeUp));
    const { oauth, upstream, fake, database, vault, outbox } = bench;
    const authorization = await oauth.prepare(upstream);
    const url = new URL(authorizationUrl(authorization, "state-1", "v".repeat(43)));
    expect(url.searchParams.get("scopes_wanted")).toBe("one,two,always");
    expect(url.searchParams.get("colour")).toBe("blue");
    expect(url.searchParams.has("resource")).toBe(false);
    fake.answers["POST https://login.madeup.example/t"] = {
      body: { fine: true, inner: { access_token: "access-1", token_type: "odd", scope: "one,two" } },
    };
    const redeemed = await exchange(bench, authorization);
    if (redeemed?.outcome !== "token") throw new Error(JSON.stringify(redeemed));
    expect(redeemed.token.scopes).toEqual(["one", "two"]);
    const secret: NewSecret = { kind: "oauth", ...redeemed.token, oauthConfigId: authorization.configId };
    const stored = await database.transaction((tx) =>
      vault.put(tx, { owner: person, upstreamId: upstream.id, account: "", secret }),
    );
    await database.transaction((tx) => vault.revoke(tx, stored!.id, "test"));
    fake.answers["DELETE https://login.madeup.example/grants/access-1"] = { status: 204 };
    await outbox.run(database);
    expect(fake.seen.at(-1)).toMatchObject({ method: "DELETE" });
  });

  it.each([
    [
      "Slack's 200 that says no",
      "slack.com",
      undefined,
      { body: { ok: false, error: "x" } },
      true,
      "refused",
    ],
    ["an answer that is no JSON", "slack.com", undefined, {}, true, "refused"],
    ["a provider that is down", "slack.com", undefined, { status: 503 }, false, "status_503"],
    ["a provider that asks to wait", "slack.com", undefined, { status: 429 }, false, "status_429"],
    ["no refresh token to end", "app.hubspot.com", undefined, {}, true, "nothing_to_revoke"],
    ["a refresh token that would leave the path", "app.hubspot.com", "../a?b", {}, true, "refused"],
  ])("revocation: %s", async (_, host, refreshToken, answer, done, outcome) => {
    const fake = await startFakeProvider();
    closing.push(fake.close);
    const { revocation } = shippedProfiles().factsOf({ issuer: `https://${host}` })!;
    if (revocation?.kind !== "request") throw new Error("not a request");
    fake.answers[`POST ${revocation.url}`] = answer;
    const tokens = { clientId: "client-1", accessToken: "access-1", refreshToken };
    const world = testWorld(fake.outbound);
    expect(await callProvider({ world }, revocation, tokens)).toEqual({ done, outcome });
    if (refreshToken) expect(fake.seen[0]!.url).toBe(revocation.url.replace("{refresh_token}", "..%2Fa%3Fb"));
  });

  it("what the administrator gave goes before the profile", async () => {
    const oauth_config = {
      ...madeUpFixture.oauth_config,
      scopes: ["mine"],
      resource: "https://api.example/",
      revocation_url: "https://other.example/revoke",
    };
    const { oauth, upstream } = await start({ ...madeUpFixture, oauth_config }, load(madeUp));
    expect(await oauth.prepare(upstream)).toMatchObject({
      scopes: ["mine"],
      resource: "https://api.example/",
      server: {
        token_endpoint: "https://login.madeup.example/t",
        revocation_endpoint: "https://other.example/revoke",
      },
    });
  });

  it.each([
    ["another host that only looks like it", "https://madeup.example.evil.example"],
    ["a host that ends alike", "https://notmadeup.example"],
    ["another path", "https://login.madeup.example/tenant"],
    ["plain http", "http://login.madeup.example"],
  ])("UP-08 is not recognised: %s", (_, issuer) => {
    expect(load(madeUp).factsOf({ issuer })).toBeUndefined();
  });

  it("UP-08 named for a server it does not know, it gives no address of another host", () => {
    const facts = load(madeUp).factsOf({ issuer: "https://self.example/base" }, "madeup");
    expect(facts?.endpoints).toEqual({ authorization_endpoint: "https://self.example/base/a" });
    expect(facts?.revocation).toBeUndefined();
    expect(facts?.authorize).toEqual({ colour: "blue" });
  });

  it("UP-08 metadata that leads elsewhere than the profile says is refused as before", async () => {
    const metadata = {
      at: "https://login.madeup.example/.well-known/oauth-authorization-server",
      document: {
        issuer: "https://login.madeup.example",
        authorization_endpoint: "https://login.madeup.example/a",
        token_endpoint: "https://evil.example/t",
      },
    };
    const { oauth, upstream } = await start({ ...madeUpFixture, metadata }, load(madeUp));
    await expect(oauth.prepare(upstream)).rejects.toMatchObject({ code: "oauth_endpoint_foreign" });
  });

  it.each([
    ["an endpoint without https", { endpoints: { token_endpoint: "http://login.madeup.example/t" } }],
    ["a parameter of ours", { authorize: { code_challenge_method: "plain" } }],
    ["scopes in a parameter of ours", { scope: { parameter: "state" } }],
    ["every host with an address elsewhere", { issuers: ["https://*/x"] }],
    ["a star inside a name", { issuers: ["https://log*.madeup.example"] }],
    ["every host of a top-level domain", { issuers: ["https://*.example"] }],
    ["an unknown member", { script: "1" }],
  ])("a profile cannot say: %s", (_, change) => {
    const server = { ...madeUp.servers[0], ...change };
    expect(() => load({ ...madeUp, servers: [server] })).toThrow();
  });

  it("says where a client is registered when the provider registers none by itself", async () => {
    const { oauth, upstream } = await start({ ...madeUpFixture, oauth_config: {} }, load(madeUp));
    await expect(oauth.prepare(upstream)).rejects.toMatchObject({
      code: "client_registration_required",
      message: expect.stringContaining(
        "Made up at https://login.madeup.example/apps with the redirect URI and",
      ),
    });
    const shared = await start({ ...madeUpFixture, oauth_config: { redirect: "shared" } }, load(madeUp));
    await expect(shared.oauth.prepare(shared.upstream)).rejects.toMatchObject({
      message: expect.stringContaining("the redirect URI http://localhost:8080/api/oauth/callback and"),
    });
  });

  it("UP-19 an answer in the provider's form that is odd gives an error or nothing, never a poisoned token", () => {
    const rules = {
      at: "inner",
      success: { member: "fine", is: true },
      errors: { gone: "invalid_grant" },
      account: [["inner", "id"]],
    };
    const answer = (value: JsonObject) => plainTokenAnswer(rules, value);
    const outer = { access_token: "outer" };
    expect(answer({ ...outer, fine: false, error: "gone" })).toEqual({ body: { error: "invalid_grant" } });
    expect(answer({ ...outer, fine: "true" }).body).toEqual({ error: "server_error" });
    expect(answer({ ...outer }).body).toEqual({ error: "server_error" });
    expect(answer({ fine: true, error: { code: "1" } }).body).toEqual({ error: "server_error" });
    const without: Json[] = ["text", ["list"], null, {}, { id: "only" }];
    for (const inner of without)
      expect(answer({ fine: true, ...outer, inner }).body.access_token).toBe("outer");
    expect(answer({ fine: true, inner: { access_token: "mine", id: 7 } })).toMatchObject({
      body: { access_token: "mine" },
      account: "7",
    });
    const long = { access_token: "mine", id: "x".repeat(300) };
    expect(answer({ fine: true, inner: long }).account).toBeUndefined();
  });

  it("a bot's token is not taken for the person's (Slack)", () => {
    const { token } = shippedProfiles().factsOf({ issuer: "https://slack.com" })!;
    const bot = { ok: true, access_token: "xoxb-1", token_type: "bot", authed_user: { id: "U1" } };
    expect(plainTokenAnswer(token, bot).body.token_type).toBe("bot");
  });

  it("a name that no profile has is refused", () => {
    const body = {
      name: "up",
      connection_string: "https://up.example/mcp",
      auth_type: "per_user_oauth" as const,
    };
    expect(definitionBody.safeParse({ ...body, oauth_config: { profile: "nobody" } }).success).toBe(false);
    const named = definitionBody.parse({ ...body, oauth_config: { profile: "gitlab" } });
    expect(checkDefinition(named).oauth?.profile).toBe("gitlab");
  });
});

const madeUp = {
  provider: "madeup",
  name: "Made up",
  version: 1,
  date: "2026-11-22",
  servers: [
    {
      about: "everything odd",
      issuers: ["https://login.madeup.example"],
      endpoints: {
        authorization_endpoint: "{issuer}/a",
        token_endpoint: "https://login.madeup.example/t",
      },
      pkce: "unannounced",
      resource: "omit",
      scope: { separator: ",", parameter: "scopes_wanted", add: ["always"] },
      authorize: { colour: "blue" },
      token: {
        at: "inner",
        success: { member: "fine", is: true },
        bearer_types: ["odd"],
        scope_separator: ",",
      },
      revocation: {
        kind: "request",
        method: "DELETE",
        url: "https://login.madeup.example/grants/{token}",
        authentication: "client_secret_basic",
      },
    },
  ],
  administrator: { register_at: "https://login.madeup.example/apps" },
  sources: ["https://madeup.example/docs"],
};

const madeUpFixture = {
  upstream: "https://mcp.madeup.example/mcp",
  protected_resource: {
    resource: "https://mcp.madeup.example/mcp",
    authorization_servers: ["https://login.madeup.example"],
    scopes_supported: ["one", "two"],
  },
  metadata: null,
  registration: null,
  oauth_config: { client_id: "client-1", client_secret: "secret-1" },
} as unknown as Fixture;

function load(profile: object): Profiles {
  const folder = mkdtempSync(join(tmpdir(), "postern-profiles-"));
  try {
    writeFileSync(join(folder, "madeup.json"), JSON.stringify(profile));
    return Profiles.load(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
