import { describe, expect, it } from "vitest";
import type { SeenRequest } from "../../test/profiles/fake-provider.ts";
import { authorizationUrl } from "../connect/round-trip.ts";
import type { NewSecret, Token } from "../vault/index.ts";
import { shippedProfiles } from "./index.ts";
import {
  type Bench,
  type ExpectedToken,
  exchange,
  type Fixture,
  fixtures,
  person,
  start,
} from "./profiles.suite.ts";

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
});
