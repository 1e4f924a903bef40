import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { type SeenRequest, startFakeProvider } from "../../test/profiles/fake-provider.ts";
import { testSettings } from "../../test/support/settings.ts";
import { testWorld } from "../../test/support/world.ts";
import { Audit } from "../audit/index.ts";
import { type Json, type JsonObject, type Owner, openLog, Seal } from "../base/index.ts";
import { redeem } from "../connect/exchange.ts";
import { authorizationUrl } from "../connect/round-trip.ts";
import { Flows, Outbox, openDatabase } from "../db/index.ts";
import { type NewSecret, type Token, Vault } from "../vault/index.ts";
import { callProvider } from "../vault/provider-call.ts";
import {
  checkDefinition,
  type DefinitionBody,
  definitionBody,
  Profiles,
  plainTokenAnswer,
  shippedProfiles,
  type UpstreamAuthorization,
  UpstreamOAuth,
  Upstreams,
} from "./index.ts";

const FIXTURES = join(import.meta.dirname, "../../test/profiles");

interface ExpectedToken {
  access_token: string;
  refresh_token?: string;
  expires_in?: number;
  scopes?: string[];
  subject?: string;
}

/** An answer of a real provider in its documented form, and what must come of it. */
interface Fixture {
  provider: string;
  upstream: string;
  protected_resource: object;
  metadata: { at: string; document: object } | null;
  registration: { at: string; answer: object } | null;
  oauth_config: NonNullable<DefinitionBody["oauth_config"]>;
  authorize: { url: string; parameters: Record<string, string>; resource: boolean };
  code: { at: string; client: string; answer: object; token: ExpectedToken };
  failure: { answer: { status: number; body: object }; error: string | null };
  refresh: { at: string; answer: object; token: ExpectedToken } | null;
  revoke:
    | null
    | { kind: "rfc7009"; at: string; client: string }
    | {
        kind: "request";
        method: string;
        at: string;
        authorization?: string;
        json?: object;
        form?: Record<string, string>;
        status: number;
        answer?: object;
      };
}

const fixtures = readdirSync(FIXTURES)
  .filter((file) => file.endsWith(".json"))
  .map((file) => [
    file.replace(".json", ""),
    JSON.parse(readFileSync(join(FIXTURES, file), "utf8")) as Fixture,
  ]) as [string, Fixture][];

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const person: Owner = { mode: "user", id: "u1" };

async function start(fixture: Fixture, profiles?: Profiles) {
  const fake = await startFakeProvider();
  closing.push(fake.close);
  const { upstream: address, metadata, registration } = fixture;
  const { origin, pathname } = new URL(address);
  const prm = `${origin}/.well-known/oauth-protected-resource${pathname === "/" ? "" : pathname}`;
  fake.answers[`POST ${new URL(address).href}`] = {
    status: 401,
    headers: { "www-authenticate": `Bearer resource_metadata="${prm}"` },
  };
  fake.answers[`GET ${prm}`] = { body: fixture.protected_resource };
  if (metadata) fake.answers[`GET ${metadata.at}`] = { body: metadata.document };
  if (registration) fake.answers[`POST ${registration.at}`] = { status: 201, body: registration.answer };
  const world = testWorld(fake.outbound);
  const database = await openDatabase("sqlite::memory:", openLog("silent"));
  closing.push(() => database.close());
  const seal = new Seal([world.random(32)], world.random);
  const settings = testSettings();
  const parts = { world, database, seal, settings };
  const upstreams = new Upstreams(parts);
  const oauth = new UpstreamOAuth({ ...parts, profiles });
  const outbox = new Outbox(world, seal);
  const audit = new Audit({ database, world });
  const vault = new Vault({ world, database, seal, flows: new Flows(world, seal), outbox, audit, oauth });
  const body = {
    name: "up",
    connection_string: address,
    auth_type: "per_user_oauth" as const,
    oauth_config: fixture.oauth_config,
  };
  const upstream = await upstreams.create(checkDefinition(body), "api");
  return { ...parts, fake, oauth, outbox, vault, upstream, upstreams };
}
type Bench = Awaited<ReturnType<typeof start>>;

function exchange({ world }: Bench, authorization: UpstreamAuthorization) {
  const trip = {
    config_id: authorization.configId,
    issuer: authorization.issuer,
    token_endpoint: authorization.server.token_endpoint!,
    redirect_uri: authorization.redirectUri,
    iss_promised: false,
  };
  const parameters = new URLSearchParams({ code: "code-1", state: "state-1" });
  return redeem({ world }, authorization, trip, { parameters, verifier: "v".repeat(43) });
}

function plain(token: Token, now: number): ExpectedToken {
  const { accessToken, refreshToken, expiresAt, scopes, subject } = token;
  const values = {
    access_token: accessToken.reveal(),
    refresh_token: refreshToken?.reveal(),
    expires_in: expiresAt && (expiresAt - now) / 1000,
    scopes,
    subject,
  };
  return Object.fromEntries(
    Object.entries(values).filter(([, value]) => value !== undefined),
  ) as unknown as ExpectedToken;
}

/** How the gateway proved itself in a request to the token or revocation endpoint. */
function clientOf({ headers, body }: SeenRequest): string {
  const form = new URLSearchParams(body);
  if (headers.authorization !== undefined) return "client_secret_basic";
  return form.get("client_secret") === "secret-1" ? "client_secret_post" : "none";
}

async function connectAndRefresh(bench: Bench, token: Token, configId: string, issuer: string) {
  const { vault, database, world, upstream } = bench;
  const secret: NewSecret = { kind: "oauth", ...token, oauthConfigId: configId, issuer };
  const stored = await database.transaction((tx) =>
    vault.put(tx, { owner: person, upstreamId: upstream.id, account: "", secret }),
  );
  return async () => {
    const opened = await vault.open(person, upstream);
    if (opened.outcome === "ready") await vault.markRejected(opened.credential);
    const generation = opened.outcome === "ready" ? opened.credential.generation : undefined;
    const again = await vault.open(person, upstream, "", { notGeneration: generation });
    if (again.outcome !== "ready") throw new Error(again.outcome);
    const headers: Record<string, string> = {};
    again.authorize(headers);
    const { expiresAt } = again.credential;
    return {
      id: stored!.id,
      authorization: headers.authorization,
      seconds: expiresAt && (expiresAt - world.now().getTime()) / 1000,
    };
  };
}

describe.each(fixtures)("%s", (_, fixture) => {
  it("is discovered, authorized, redeemed, refreshed, refused and revoked in its own way", async () => {
    const bench = await start(fixture);
    const { fake, oauth, upstream, vault, database, outbox, world } = bench;

    const authorization = await oauth.prepare(upstream);
    expect(authorization.facts?.provider).toBe(fixture.provider);
    expect(await oauth.recorded(upstream)).toMatchObject({ facts: { provider: fixture.provider } });

    const url = new URL(authorizationUrl(authorization, "state-1", "v".repeat(43)));
    expect(url.origin + url.pathname).toBe(fixture.authorize.url);
    const { redirect_uri, code_challenge, resource, ...others } = Object.fromEntries(url.searchParams);
    expect(others).toEqual({
      response_type: "code",
      client_id: "client-1",
      state: "state-1",
      code_challenge_method: "S256",
      ...fixture.authorize.parameters,
    });
    expect(redirect_uri).toBe(authorization.redirectUri);
    expect(code_challenge).toMatch(/^[\w-]{43}$/);
    expect(resource !== undefined).toBe(fixture.authorize.resource);

    fake.answers[`POST ${fixture.code.at}`] = fixture.failure.answer;
    const { error } = fixture.failure;
    expect(await exchange(bench, authorization)).toMatchObject(
      error === null ? { outcome: "unavailable" } : { outcome: "refused", error },
    );

    fake.answers[`POST ${fixture.code.at}`] = { body: fixture.code.answer };
    const redeemed = await exchange(bench, authorization);
    if (redeemed?.outcome !== "token") throw new Error(JSON.stringify(redeemed));
    expect(plain(redeemed.token, world.now().getTime())).toEqual(fixture.code.token);
    const asked = fake.seen.at(-1)!;
    expect(clientOf(asked)).toBe(fixture.code.client);
    expect(new URLSearchParams(asked.body).has("resource")).toBe(fixture.authorize.resource);
    expect(new URLSearchParams(asked.body).get("code_verifier")).toBe("v".repeat(43));

    const { configId, issuer } = authorization;
    const refreshed = await connectAndRefresh(bench, redeemed.token, configId, issuer);
    if (fixture.refresh) {
      fake.answers[`POST ${fixture.refresh.at}`] = { body: fixture.refresh.answer };
      const now = await refreshed();
      expect(now.authorization).toBe(`Bearer ${fixture.refresh.token.access_token}`);
      expect(now.seconds).toBe(fixture.refresh.token.expires_in);
      const request = fake.seen.at(-1)!;
      expect(request.url).toBe(fixture.refresh.at);
      expect(new URLSearchParams(request.body).get("refresh_token")).toBe("refresh-1");
      expect(new URLSearchParams(request.body).has("resource")).toBe(fixture.authorize.resource);
      expect(clientOf(request)).toBe(fixture.code.client);
    }

    const before = fake.seen.length;
    if (fixture.revoke?.kind === "rfc7009") fake.answers[`POST ${fixture.revoke.at}`] = {};
    if (fixture.revoke?.kind === "request") {
      const { method, at, status, answer } = fixture.revoke;
      fake.answers[`${method} ${at}`] = { status, body: answer };
    }
    const row = await database.db.selectFrom("credentials").select("id").executeTakeFirstOrThrow();
    await database.transaction((tx) => vault.revoke(tx, row.id, "test"));
    await outbox.run(database);
    expectRevocation(fake.seen.slice(before), fixture);
    const told = await database.db
      .selectFrom("audit")
      .select("event")
      .where("event", "like", "credential.provider%")
      .execute();
    expect(told).toEqual([
      { event: fixture.revoke ? "credential.provider_told" : "credential.provider_not_told" },
    ]);
  });
});

function expectRevocation(requests: SeenRequest[], { revoke, refresh, code }: Fixture): void {
  if (!revoke) {
    expect(requests).toEqual([]);
    return;
  }
  const first = requests[0]!;
  expect(first.url).toBe(revoke.at);
  if (revoke.kind === "rfc7009") {
    const { refresh_token } = refresh?.token ?? code.token;
    expect(new URLSearchParams(first.body).get("token")).toBe(refresh_token);
    expect(clientOf(first)).toBe(revoke.client);
    return;
  }
  expect(requests).toHaveLength(1);
  expect(first.method).toBe(revoke.method);
  expect(first.headers.authorization).toBe(revoke.authorization);
  if (revoke.json) expect(JSON.parse(first.body)).toEqual(revoke.json);
  if (revoke.form) expect(Object.fromEntries(new URLSearchParams(first.body))).toEqual(revoke.form);
}

describe("profiles", () => {
  it("there are at least 20, and each has a fixture", () => {
    const providers = shippedProfiles().all.map(({ provider }) => provider);
    expect(providers.length).toBeGreaterThanOrEqual(20);
    expect(
      providers.filter((provider) => !fixtures.some(([, fixture]) => fixture.provider === provider)),
    ).toEqual([]);
  });

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
