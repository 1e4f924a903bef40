import { createHmac, generateKeyPairSync, sign } from "node:crypto";
import { afterEach, describe, expect, it } from "vitest";
import type { ScriptedProvider } from "../../test/peers/scripted-provider.ts";
import { Closing, codeOn, inMemory, LANDING, signIn, startPair } from "./sso.suite.ts";

const closing = new Closing();
afterEach(() => closing.close());
const start = (more?: Record<string, unknown>, alg?: string) =>
  startPair(inMemory(closing), closing, more, alg);

const NOTHING = [0, 0, 0, 0];
const REFUSED = [403, "sso_answer_refused"];
const MINUTE = 60;
const seconds = () => Math.floor(Date.now() / 1000);
const base64 = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");

/** What one thing wrong with an answer is, and what it is refused with. */
const wrong: [what: string, change: (provider: ScriptedProvider) => void, expected?: [number, string]][] = [
  ["another nonce", (p) => Object.assign(p.claims, { nonce: "of-another-sign-in" })],
  ["no nonce", (p) => Object.assign(p.claims, { nonce: undefined })],
  ["another audience", (p) => Object.assign(p.claims, { aud: "another-client" })],
  ["two audiences and no azp", (p) => Object.assign(p.claims, { aud: ["gateway-client", "another"] })],
  ["another azp", (p) => Object.assign(p.claims, { azp: "another-client" })],
  ["another issuer", (p) => Object.assign(p.claims, { iss: "https://evil.example" })],
  ["its own issuer with a slash", (p) => Object.assign(p.claims, { iss: `${p.issuer}/` })],
  ["an old iat", (p) => Object.assign(p.claims, { iat: seconds() - 60 * MINUTE })],
  ["an iat to come", (p) => Object.assign(p.claims, { iat: seconds() + 10 * MINUTE })],
  ["expired", (p) => Object.assign(p.claims, { exp: seconds() - 5 * MINUTE })],
  ["not yet valid", (p) => Object.assign(p.claims, { nbf: seconds() + 10 * MINUTE })],
  ["no exp", (p) => Object.assign(p.claims, { exp: undefined })],
  ["no sub", (p) => Object.assign(p.claims, { sub: undefined })],
  ["an empty sub", (p) => Object.assign(p.claims, { sub: "" })],
  ["a sub of 300 characters", (p) => Object.assign(p.claims, { sub: "s".repeat(300) })],
  ["a NUL in the sub", (p) => Object.assign(p.claims, { sub: "ada\0" })],
  [
    "10 000 groups",
    (p) => Object.assign(p.claims, { groups: Array.from({ length: 10_000 }, (_, n) => `g${n}`) }),
  ],
  ["no ID token", (p) => Object.assign(p, { idToken: () => undefined })],
  ["an unsigned one", (p) => Object.assign(p, { idToken: unsigned("none") })],
  ["an unsigned one, spelt otherwise", (p) => Object.assign(p, { idToken: unsigned("nOnE") })],
  ["signed with the public key as a secret", (p) => Object.assign(p, { idToken: withPublicKey(p) })],
  ["signed with the client secret", (p) => Object.assign(p, { idToken: hmac("the-clients-own-secret") })],
  ["one bit of it changed", (p) => Object.assign(p, { idToken: bent })],
  ["a key of somebody's own in the header", (p) => Object.assign(p, { idToken: ownKey(p) })],
  ["a JWE", (p) => Object.assign(p, { idToken: () => "a.b.c.d.e" })],
  ["no token at all", (p) => Object.assign(p, { idToken: () => "no token" })],
  ["another user's userinfo", (p) => userinfo(p, { sub: "sub-mallory", email: "m@example.com" })],
  [
    "a metadata document of another issuer",
    (p) => metadata(p, { issuer: "https://evil.example" }),
    unusable(),
  ],
  [
    "an authorization endpoint that is no address",
    (p) => metadata(p, { authorization_endpoint: "javascript:alert(1)" }),
    unusable(),
  ],
  [
    "a metadata document that is no JSON",
    (p) => answer(p, "/.well-known/openid-configuration", 200, "<html>"),
    unusable(),
  ],
  [
    "an error at the token endpoint",
    (p) => answer(p, "/token", 400, '{"error":"invalid_grant"}'),
    [502, "sso_failed"],
  ],
  ["a page at the token endpoint", (p) => answer(p, "/token", 200, "<html>")],
  [
    "an error answer",
    (p) => redirectWith(p, { error: "server_error", error_description: "<i>!" }),
    [502, "sso_failed"],
  ],
  ["a refusal", (p) => redirectWith(p, { error: "access_denied" }), [403, "sso_declined"]],
  ["another provider's iss", (p) => redirectWith(p, { iss: "https://evil.example" })],
  ["no code", (p) => redirectWith(p, { code: "" }), [400, "sso_answer_unknown"]],
  ["a code that was used", (p) => redirectWith(p, { code: "spent-before" }), [502, "sso_failed"]],
];

describe("ID-29 ID-15 an answer that is wrong in one thing signs nobody in", () => {
  it.each(wrong)("%s", async (_what, change, expected = REFUSED as [number, string]) => {
    const { provider, browser, base, count, audited, lines } = await start({
      claims: { groups: "groups", role: "role" },
    });
    const requestsBefore = provider.requests.length;
    change(provider);
    const tab = browser();
    const page = await signIn(tab, base);
    expect(codeOn(page)).toEqual(expected);
    // What the provider wrote is on no page.
    expect(page.html).not.toMatch(/<i>|<b>|evil\.example|invalid_grant/);
    expect(await count()).toEqual(NOTHING);
    const requestId = /quote <code>([^<]+)</.exec(page.html)?.[1];
    expect(lines.filter((line) => line.request_id === requestId)).toHaveLength(1);
    const told = (await audited()).filter(({ event }) => event === "session.refused");
    expect(told.map(({ detail }) => detail.code)).toEqual(
      expected[1] === "sso_unavailable" ? [] : [expected[1]],
    );
    expect(provider.requests.length).toBeGreaterThan(requestsBefore);
    const cookies = tab.cookies.header(new URL(base), { crossSite: false, safe: true }) ?? "";
    expect(cookies).not.toContain("postern-session");
  });

  it("a role that only userinfo tells is none", async () => {
    const { provider, browser, base, users } = await start({
      claims: { role: "role" },
      roles: { boss: "admin" },
    });
    userinfo(provider, { sub: "sub-ada", email: "ada@example.com", name: "Ada", role: "boss" });
    expect((await signIn(browser(), base)).html).toContain("Ada (ada@example.com)");
    expect((await users.list({ limit: 1, offset: 0 })).users[0]!.role).toBe("member");
  });

  it("userinfo is asked only for what the ID token does not say", async () => {
    const { provider, browser, base } = await start({ claims: { groups: "groups" } });
    userinfo(provider, { sub: "sub-ada", groups: [] });
    provider.claims = { sub: "sub-ada", email: "ada@example.com", name: "Ada", groups: [] };
    expect((await signIn(browser(), base)).url.pathname).toBe(LANDING);
    expect(provider.requests).not.toContain("GET /userinfo");
  });
});

describe("the keys of a provider", () => {
  it("ID-16 a new one is fetched; a token that names an unknown one costs at most one fetch, and none of its own choosing", async () => {
    const { provider, browser, base } = await start();
    const fetches = () => provider.requests.filter((one) => one === "GET /jwks").length;
    await signIn(browser(), base);
    await provider.tokens.addKey();
    provider.tokens.published.shift();
    expect(fetches()).toBe(1);
    // Between two fetches is a pause; the provider published its new key before it used it.
    for (const kid of ["../../dev/null", "' or '1'='1", "https://evil.example/k"]) {
      provider.signing = {
        header: { kid, jku: `${provider.issuer}/canary`, x5u: `${provider.issuer}/canary` },
      };
      expect((await signIn(browser(), base)).status).toBeGreaterThanOrEqual(400);
    }
    expect(fetches()).toBeLessThanOrEqual(2);
    expect(provider.requests).not.toContain("GET /canary");
  });

  it("that answers with too much keeps the others working, and says so in a moment", async () => {
    const { provider, browser, base, count } = await start();
    provider.answers.set("/jwks", (_request, response) => {
      response.writeHead(200, { "content-type": "application/json" });
      response.end(`{"keys":[${'{"kty":"oct"},'.repeat(100_000)}{}]}`);
    });
    expect(codeOn(await signIn(browser(), base))).toEqual([503, "issuer_keys_unavailable"]);
    expect(await count()).toEqual(NOTHING);
  });

  it("that never answers refuses within its time", async () => {
    const { provider, browser, base, count } = await start();
    provider.answers.set("/jwks", () => {});
    expect(codeOn(await signIn(browser(), base))).toEqual([503, "issuer_keys_unavailable"]);
    expect(await count()).toEqual(NOTHING);
  });

  it("every kind of key that counts does: RSA, elliptic curves, Edwards curves", async () => {
    for (const alg of ["RS256", "PS256", "EdDSA"]) {
      const { provider, browser, base } = await start({}, alg);
      provider.editMetadata = (document) =>
        Object.assign(document, { id_token_signing_alg_values_supported: [alg] });
      expect((await signIn(browser(), base)).url.pathname, alg).toBe(LANDING);
    }
  });
});

describe("the round trip", () => {
  it("CB-24 started in one browser it cannot be finished in another, and stays unclaimed", async () => {
    const { provider, browser, base, count } = await start();
    const [victim, attacker] = [browser(), browser()];
    const left = await attacker.submit(
      `${base}/login/sso/corp`,
      { return_to: LANDING },
      { from: `${base}/login`, stopAt: `${base}/login/sso/corp/callback` },
    );
    expect(codeOn(await victim.get(left.stoppedAt!))).toEqual([403, "sso_other_browser"]);
    expect(await count()).toEqual(NOTHING);
    expect(provider.requests).not.toContain("POST /token");
    // The one who left may still come back.
    expect((await attacker.get(left.stoppedAt!)).url.pathname).toBe(LANDING);
    expect(codeOn(await attacker.get(left.stoppedAt!))).toEqual([410, "sso_answer_spent"]);
  });

  it("CB-24 the button works from our own page only; HEAD and prefetch claim nothing", async () => {
    const { browser, base, count } = await start();
    const evil = { from: "https://evil.example/" };
    const crossed = await browser().submit(`${base}/login/sso/corp`, { return_to: "/" }, evil);
    expect(codeOn(crossed)).toEqual([403, "cross_site_request"]);
    const tab = browser();
    const left = await tab.submit(
      `${base}/login/sso/corp`,
      { return_to: LANDING },
      { from: `${base}/login`, stopAt: `${base}/login/sso/corp/callback` },
    );
    expect((await fetch(left.stoppedAt!, { method: "HEAD" })).status).toBe(204);
    expect((await fetch(left.stoppedAt!, { headers: { "sec-purpose": "prefetch" } })).status).toBe(204);
    expect(await count()).toEqual(NOTHING);
    expect((await tab.get(left.stoppedAt!)).url.pathname).toBe(LANDING);
  });

  it("without state, with somebody's own, too late, or at another provider's address it is nothing", async () => {
    const { browser, base, world } = await start();
    const at = `${base}/login/sso/corp/callback`;
    expect(codeOn(await browser().get(`${at}?code=x`))).toEqual([400, "sso_answer_unknown"]);
    expect(codeOn(await browser().get(`${at}?code=x&state=made-up-by-me`))).toEqual([
      400,
      "sso_answer_unknown",
    ]);
    expect(codeOn(await browser().get(`${base}/login/sso/nobody/callback?state=s`))).toEqual([
      404,
      "sso_provider_unknown",
    ]);
    const tab = browser();
    const options = { from: `${base}/login`, stopAt: at };
    const left = await tab.submit(`${base}/login/sso/corp`, { return_to: "/" }, options);
    world.advance(11 * 60_000);
    expect(codeOn(await tab.get(left.stoppedAt!))).toEqual([410, "sso_answer_spent"]);
  });

  it("goes on to an address of ours only, and comes back to the configured one (AD-16)", async () => {
    const { provider, browser, base } = await start();
    const spoofed = { "x-forwarded-host": "evil.example", forwarded: "host=evil.example" };
    const page = await browser().submit(
      `${base}/login/sso/corp`,
      { return_to: "https://evil.example/" },
      { from: `${base}/login`, headers: spoofed },
    );
    expect(page.url.href).toBe(`${base}/`);
    expect(provider.lastAuthorize.get("redirect_uri")).toBe(`${base}/login/sso/corp/callback`);
    const wrongHost = await fetch(`${base}/api/session/providers`, { headers: { host: "evil.example" } });
    expect([200, 421]).toContain(wrongHost.status);
  });

  it("endpoints that moved while the browser was away get no code; the next sign-in uses the new ones", async () => {
    const { provider, browser, base, world } = await start();
    const tab = browser();
    const options = { from: `${base}/login`, stopAt: `${base}/login/sso/corp/callback` };
    const left = await tab.submit(`${base}/login/sso/corp`, { return_to: LANDING }, options);
    provider.editMetadata = (document) =>
      Object.assign(document, { token_endpoint: `${provider.issuer}/token2` });
    world.advance(9 * 60_000);
    const other = await browser().submit(`${base}/login/sso/corp`, { return_to: LANDING }, options);
    expect(other.stoppedAt).toBeDefined();
    world.advance(30_000);
    expect((await tab.get(left.stoppedAt!)).url.pathname).toBe(LANDING);
    const again = await tab.submit(`${base}/login/sso/corp`, { return_to: LANDING }, options);
    world.advance(2 * 60_000);
    expect(codeOn(await tab.get(again.stoppedAt!))).toEqual([502, "sso_failed"]);
    expect(provider.requests).not.toContain("POST /token2");
  });

  it("a provider that is away refuses, and what it last published counts for a day", async () => {
    const { provider, browser, base, world } = await start();
    await signIn(browser(), base);
    answer(provider, "/.well-known/openid-configuration", 500, "");
    world.advance(60 * 60_000);
    expect((await signIn(browser(), base)).url.pathname).toBe(LANDING);
    world.advance(24 * 60 * 60_000);
    expect(codeOn(await signIn(browser(), base))).toEqual(unusable());
  });
});

describe("who may come in", () => {
  it.each([
    [{ required_claims: { hd: ["example.com"] } }, { hd: "example.com" }, { hd: "evil.example" }],
    [{ required_claims: { email_verified: ["true"] } }, { email_verified: true }, {}],
    [{ required_claims: { tid: ["t-1", "t-2"] } }, { tid: "t-2" }, {}],
    [
      { required_claims: { "https://x.example/teams": ["a"] } },
      { "https://x.example/teams": ["b", "a"] },
      { "https://x.example/teams": ["b"] },
    ],
    [{ email_domains: ["EXAMPLE.com"] }, {}, { email: "ada@sub.example.com" }],
    [{ email_domains: ["example.com"] }, { email_verified: true }, { email_verified: false }],
    [{ email_domains: ["example.com"] }, {}, { email: "ada@evil.example@example.com" }],
  ])("%j", async (conditions, right, other) => {
    const { provider, browser, base, count } = await start(conditions);
    const ada = { sub: "sub-ada", email: "ada@example.com", name: "Ada" };
    provider.claims = { ...ada, ...other };
    expect(codeOn(await signIn(browser(), base))).toEqual([403, "sso_not_admitted"]);
    expect(await count()).toEqual(NOTHING);
    provider.claims = { ...ada, ...right };
    expect((await signIn(browser(), base)).url.pathname).toBe(LANDING);
  });

  it("a client with a key proves itself by a signed assertion, one without anything by PKCE alone", async () => {
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const pem = privateKey.export({ format: "pem", type: "pkcs8" }).toString();
    const keyed = await start({ client_secret: undefined, private_key: pem, private_key_id: "k1" });
    expect((await signIn(keyed.browser(), keyed.base)).url.pathname).toBe(LANDING);
    const { body } = keyed.provider.lastTokenRequest;
    expect(body.get("client_assertion_type")).toContain("jwt-bearer");
    const open = await start({ client_secret: undefined });
    expect((await signIn(open.browser(), open.base)).url.pathname).toBe(LANDING);
    expect(open.provider.lastTokenRequest.authorization).toBeUndefined();
  });

  it("names with hidden characters and values that are no text do no harm", async () => {
    const { provider, browser, base } = await start({ claims: { groups: "groups", role: "role" } });
    const odd = [null, 7, {}, ["x"], "a\0b", "\ud800"];
    provider.claims = { sub: "sub-ada", name: "A\u202eda\u0007", email: 7, groups: odd, role: { a: 1 } };
    expect((await signIn(browser(), base)).html).toContain("For Ada (");
  });
});

function unusable(): [number, string] {
  return [503, "sso_unavailable"];
}

function unsigned(alg: string) {
  return (_right: string, claims: Record<string, unknown>) =>
    `${base64({ alg })}.${base64({ ...standard(claims) })}.`;
}

function hmac(secret: string | Buffer) {
  return (_right: string, claims: Record<string, unknown>) => {
    const input = `${base64({ alg: "HS256" })}.${base64(standard(claims))}`;
    return `${input}.${createHmac("sha256", secret).update(input).digest("base64url")}`;
  };
}

function withPublicKey({ tokens }: ScriptedProvider) {
  return hmac(Buffer.from(JSON.stringify(tokens.published[0])));
}

function ownKey({ tokens }: ScriptedProvider) {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const jwk = publicKey.export({ format: "jwk" });
  return (_right: string, claims: Record<string, unknown>) => {
    const header = { alg: "ES256", kid: tokens.published[0]!.kid, jwk };
    const input = `${base64(header)}.${base64(standard(claims))}`;
    return `${input}.${sign("sha256", Buffer.from(input), { key: privateKey, dsaEncoding: "ieee-p1363" }).toString("base64url")}`;
  };
}

function bent(right: string): string {
  const at = right.length - 10;
  return right.slice(0, at) + (right[at] === "A" ? "B" : "A") + right.slice(at + 1);
}

/** With what signing would have added. */
function standard(claims: Record<string, unknown>): Record<string, unknown> {
  return { iat: seconds(), exp: seconds() + 300, ...claims };
}

function userinfo(provider: ScriptedProvider, said: Record<string, unknown>): void {
  provider.claims = { sub: "sub-ada" };
  provider.userinfo = said;
}

function metadata(provider: ScriptedProvider, changes: Record<string, unknown>): void {
  provider.editMetadata = (document) => Object.assign(document, changes);
}

function answer(provider: ScriptedProvider, path: string, status: number, body: string): void {
  provider.answers.set(path, (_request, response) => {
    response.writeHead(status, { "content-type": "application/json" }).end(body);
  });
}

function redirectWith(provider: ScriptedProvider, parameters: Record<string, string>): void {
  provider.editRedirect = (url) => {
    if (parameters.error !== undefined) url.searchParams.delete("code");
    for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
  };
}
