import { createHmac } from "node:crypto";
import { CompactEncrypt, exportJWK, exportSPKI, generateKeyPair } from "jose";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { startTokenIssuer, type TokenIssuer } from "../../test/peers/token-issuer.ts";
import { type TestWorld, testWorld } from "../../test/support/world.ts";
import { Hidden, openOutbound } from "../base/index.ts";
import { type JwtExpectation, JwtVerifier, type TrustedIssuer } from "./index.ts";

const audience = "https://gateway.example/mcp";
const closing: (() => Promise<unknown>)[] = [];
let issuer: TokenIssuer;
let world: TestWorld;
let verifier: JwtVerifier;
let trusted: TrustedIssuer;

beforeEach(async () => {
  issuer = await startTokenIssuer("ES256");
  const outbound = openOutbound({ allow: { admin: [issuer.hostPort], stranger: [] } });
  closing.push(
    () => issuer.close(),
    () => outbound.close(),
  );
  world = testWorld(outbound);
  verifier = new JwtVerifier({ world });
  trusted = {
    issuer: issuer.issuer,
    keys: { jwksUrl: issuer.jwksUrl },
    algorithms: ["ES256", "RS256"],
    clockSkewMs: 30_000,
  };
});
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const token = (claims: Record<string, unknown> = {}, how: Parameters<TokenIssuer["sign"]>[1] = {}) =>
  issuer.sign({ aud: audience, sub: "someone", ...claims }, { now: world.now(), ...how });

const verdict = async (value: string, expected: Partial<JwtExpectation> = {}, by = trusted) => {
  const answer = await verifier.verify(by, value, { audience, ...expected });
  return answer.ok ? "ok" : answer.reason;
};

const part = (value: unknown) =>
  Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");

describe("who is believed", () => {
  it("gives the claims and the header of a token that is right", async () => {
    const answer = await verifier.verify(trusted, await token({ groups: ["a"] }), { audience });
    expect(answer).toMatchObject({
      ok: true,
      claims: { sub: "someone", groups: ["a"] },
      header: { alg: "ES256" },
    });
  });

  it("takes keys from a set in the configuration, a PEM key, or a shared secret", async () => {
    const keys = [
      { jwks: { keys: issuer.published } },
      { publicKey: await exportSPKI(issuer.keys[0]!.publicKey) },
    ];
    for (const given of keys)
      expect(await verdict(await token(), {}, { ...trusted, keys: given })).toBe("ok");
    const secret = "a-secret-of-two-for-this-issuer-0123456789";
    const own = { ...trusted, keys: { secret: new Hidden(secret) }, algorithms: ["HS256"] };
    expect(await verdict(hmac(await claimsOf(), secret), {}, own)).toBe("ok");
    expect(await verdict(hmac(await claimsOf(), `${secret}x`), {}, own)).toMatch(/signature/);
    expect(issuer.fetches()).toBe(0);
  });

  it("refuses what is over, too early, for somebody else, or says too little", async () => {
    const at = Math.floor(world.now().getTime() / 1000);
    expect(await verdict(await token({ exp: at - 31 }))).toBe("expired");
    expect(await verdict(await token({ exp: at - 29 }))).toBe("ok");
    expect(await verdict(await token({ nbf: at + 31 }))).toBe("check_failed_nbf");
    expect(await verdict(await token({ nbf: at + 29 }))).toBe("ok");
    expect(await verdict(await token({}, { expires: false }))).toBe("missing_exp");
    expect(await verdict(await token({ exp: "tomorrow" }))).toBe("invalid_exp");
    expect(await verdict(await token({ aud: "https://other.example" }))).toBe("check_failed_aud");
    expect(await verdict(await token({ aud: ["x", audience] }))).toBe("ok");
    expect(await verdict(await issuer.sign({}, { now: world.now() }))).toBe("missing_aud");
    expect(await verdict(await token(), { audience: [] })).toBe("check_failed_aud");
    expect(await verdict(await token({ iss: "https://other.example" }))).toBe("check_failed_iss");
    expect(await verdict(await token(), { require: ["jti"] })).toBe("missing_jti");
    expect(await verdict(await token({ iat: at - 3700 }), { maxAgeMs: 3_600_000 })).toBe("expired");
  });

  it("keeps tokens of one purpose from being used for another (RFC 8725 §3.11)", async () => {
    const forOther = await token({}, { header: { typ: "oauth-id-jag+jwt" } });
    expect(await verdict(forOther)).toBe("type");
    expect(await verdict(forOther, { type: "oauth-id-jag+jwt" })).toBe("ok");
    expect(await verdict(forOther, { type: "application/oauth-id-jag+jwt" })).toBe("ok");
    expect(await verdict(await token(), { type: "oauth-id-jag+jwt" })).toBe("type");
    expect(await verdict(await token({}, { header: { typ: "at+jwt" } }))).toBe("ok");
    expect(await verdict(await token({}, { header: { typ: "logout+jwt" } }))).toBe("type");
  });
});

describe("ID-15 algorithm confusion", () => {
  it("refuses an unsigned token in every spelling of none", async () => {
    const claims = part(await claimsOf());
    for (const alg of ["none", "None", "nOnE", "NONE", "", null, undefined, 0, ["ES256"]]) {
      const header = part({ alg, kid: issuer.keys[0]!.kid });
      for (const signature of ["", "AA", part("x".repeat(64))])
        expect(await verdict(`${header}.${claims}.${signature}`)).toMatch(/^(no_jws|algorithm)$/);
    }
  });

  it("never uses a public key as a secret, also when the list of algorithms would allow it", async () => {
    const rsa = await issuer.addKey("RS256");
    const pem = await exportSPKI(rsa.publicKey);
    const der = Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ""), "base64");
    const sets = [{ jwksUrl: issuer.jwksUrl }, { publicKey: pem }, { jwks: { keys: issuer.published } }];
    const secrets = [
      pem,
      pem.trim(),
      der,
      JSON.stringify({ keys: issuer.published }),
      JSON.stringify(rsa.jwk),
    ];
    for (const keys of sets)
      for (const algorithms of [["RS256"], ["RS256", "HS256"], ["HS256"]])
        for (const secret of secrets) {
          const forged = hmac(await claimsOf(), secret, { kid: rsa.kid });
          expect(await verdict(forged, {}, { ...trusted, keys, algorithms })).toBe("algorithm");
        }
  });

  it("takes no asymmetric signature where a secret is configured, and no algorithm beyond the issuer's list", async () => {
    const own = { ...trusted, keys: { secret: new Hidden("shared-by-the-two-of-them-9876543210") } };
    expect(await verdict(await token(), {}, own)).toBe("algorithm");
    expect(await verdict(await token(), {}, { ...trusted, algorithms: ["RS256"] })).toBe("algorithm");
    expect(await verdict(await token(), {}, { ...trusted, algorithms: [] })).toBe("algorithm");
  });

  it("refuses a signature of zeros, of another token, and every changed bit", async () => {
    const [header, claims, signature] = (await token()).split(".") as [string, string, string];
    expect(await verdict(`${header}.${claims}.${Buffer.alloc(64).toString("base64url")}`)).toMatch(
      /signature/,
    );
    const other = (await token({ sub: "other" })).split(".")[2];
    expect(await verdict(`${header}.${claims}.${other}`)).toMatch(/signature/);
    const bytes = Buffer.from(signature, "base64url");
    for (let bit = 0; bit < bytes.length * 8; bit += 7) {
      const flipped = Buffer.from(bytes);
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      expect(await verdict(`${header}.${claims}.${flipped.toString("base64url")}`)).toMatch(/signature/);
    }
    for (let at = 0; at < claims.length; at += 5) {
      const changed = `${claims.slice(0, at)}${claims[at] === "A" ? "B" : "A"}${claims.slice(at + 1)}`;
      expect(await verdict(`${header}.${changed}.${signature}`)).not.toBe("ok");
    }
  });

  it("refuses b64:false, crit, a JWE, and any number of parts but three", async () => {
    for (const header of [{ b64: false, crit: ["b64"] }, { b64: false }, { crit: ["x"], x: 1 }, { crit: [] }])
      expect(await verdict(withHeader(await token(), header))).toBe("critical_extension");
    const { publicKey } = await generateKeyPair("RSA-OAEP-256");
    const encrypted = await new CompactEncrypt(Buffer.from(JSON.stringify(await claimsOf())))
      .setProtectedHeader({ alg: "RSA-OAEP-256", enc: "A256GCM" })
      .encrypt(publicKey);
    const good = await token();
    for (const value of [
      encrypted,
      `${good}.a.b.c`,
      `${good}.`,
      `.${good}`,
      good.replace(/\.[^.]*$/, ""),
      "",
      "..",
      "a.b.c",
    ])
      expect(await verdict(value)).toMatch(/^(no_jws|header_malformed)$/);
  });

  it("refuses a token that is too long before it reads anything of it, and headers two readers could read differently", async () => {
    expect(await verdict(await token({ padding: "x".repeat(16_384) }))).toBe("too_long");
    const [, claims, signature] = (await token()).split(".");
    const twice = part('{"alg":"ES256","alg":"none"}');
    expect(await verdict(`${twice}.${claims}.${signature}`)).toBe("header_malformed");
    expect(issuer.fetches()).toBe(0);
  });
});

describe("ID-16 keys are never chosen by the token", () => {
  it("fetches nothing that kid, jku, x5u, jwk or x5c name", async () => {
    let asked = 0;
    const canary = await startTokenIssuer("ES256");
    closing.push(() => canary.close());
    canary.answer = (_, response) => {
      asked++;
      response.end(JSON.stringify({ keys: canary.published }));
    };
    const attacker = canary.keys[0]!;
    const jwk = await exportJWK(attacker.publicKey);
    const headers = [
      { jku: canary.jwksUrl },
      { x5u: canary.jwksUrl },
      { jwk },
      { x5c: ["MIIB"] },
      { kid: canary.jwksUrl },
      { kid: "../../../dev/null" },
      { kid: "' OR '1'='1" },
      { kid: "|id" },
      { kid: "" },
    ];
    for (const header of headers) {
      const own = await token({}, { key: attacker, header });
      expect(await verdict(own)).not.toBe("ok");
      const stolen = await token({}, { key: { ...attacker, kid: issuer.keys[0]!.kid }, header });
      expect(await verdict(stolen)).not.toBe("ok");
    }
    expect(asked).toBe(0);
    expect(issuer.fetches()).toBe(1);
  });

  it("refuses a kid that is a number or 10 KB long without looking for it", async () => {
    for (const kid of [7, "k".repeat(10_240), null, { a: 1 }, ["key-1"]])
      expect(await verdict(withHeader(await token(), { kid }))).toBe("key_id");
    expect(issuer.fetches()).toBe(0);
  });

  it("asks at most once in 30 seconds, however many unknown kids come", async () => {
    expect(await verdict(await token())).toBe("ok");
    world.advance(31_000);
    const good = await token();
    const kids = Array.from({ length: 10_000 }, (_, index) => withHeader(good, { kid: `random-${index}` }));
    for (let at = 0; at < kids.length; at += 500) {
      const answers = await Promise.all(kids.slice(at, at + 500).map((value) => verdict(value)));
      expect(new Set(answers)).toEqual(new Set(["jwks_no_matching_key"]));
    }
    expect(issuer.fetches()).toBe(2);
    world.advance(30_001);
    expect(await verdict(kids[0]!)).toBe("jwks_no_matching_key");
    expect(issuer.fetches()).toBe(3);
  });
});

describe("the issuer's keys", () => {
  it("are fetched once for many at a time, and follow a rotation", async () => {
    const tokens = await Promise.all(Array.from({ length: 20 }, () => token()));
    expect(new Set(await Promise.all(tokens.map((value) => verdict(value))))).toEqual(new Set(["ok"]));
    expect(issuer.fetches()).toBe(1);
    const old = await token();
    await issuer.addKey("ES256");
    issuer.published.shift();
    // Just fetched: the new key is seen at the next turn, the old one counts until then.
    expect(await verdict(await token())).toBe("jwks_no_matching_key");
    expect(await verdict(old)).toBe("ok");
    world.advance(30_001);
    expect(await verdict(await token())).toBe("ok");
    expect(await verdict(old)).toBe("jwks_no_matching_key");
    expect(issuer.fetches()).toBe(2);
  });

  it("stop counting minutes after they are withdrawn, without any new key", async () => {
    const value = await token({ exp: Math.floor(world.now().getTime() / 1000) + 3600 });
    expect(await verdict(value)).toBe("ok");
    issuer.published.length = 0;
    world.advance(5 * 60_000 + 1);
    expect(await verdict(value)).toBe("jwks_no_matching_key");
  });

  it("ID-20 go on counting for a day while the issuer fails, and then nothing does: 503, never a verdict", async () => {
    const value = await token({ exp: Math.floor(world.now().getTime() / 1000) + 200_000 });
    expect(await verdict(value)).toBe("ok");
    issuer.answer = (_, response) => response.writeHead(500).end("no");
    world.advance(6 * 60_000);
    expect(await verdict(value)).toBe("ok");
    await expect(verdict(withHeader(value, { kid: "new-one" }))).rejects.toMatchObject({
      kind: "unavailable",
      code: "issuer_keys_unavailable",
    });
    expect(issuer.fetches()).toBe(2);
    world.advance(25 * 60 * 60_000);
    await expect(verdict(value)).rejects.toMatchObject({ kind: "unavailable" });
    issuer.answer = undefined;
    world.advance(5_000);
    expect(await verdict(value)).toBe("ok");
  });

  it("UP-20 are not had from an answer that is huge, no key set, a redirect, or cut", async () => {
    const answers: NonNullable<TokenIssuer["answer"]>[] = [
      (_, response) => response.end(JSON.stringify({ keys: issuer.published, x: "x".repeat(300_000) })),
      (_, response) => response.end("<html>"),
      (_, response) => response.end(JSON.stringify({ keys: {} })),
      (_, response) => response.end("[]"),
      (_, response) => response.writeHead(302, { location: issuer.jwksUrl }).end(),
      (request) => request.socket.destroy(),
    ];
    for (const answer of answers) {
      issuer.answer = answer;
      await expect(verdict(await token())).rejects.toMatchObject({ kind: "unavailable" });
      world.advance(5_000);
    }
    issuer.answer = undefined;
    expect(await verdict(await token())).toBe("ok");
  });

  it("that hang hold up nobody who is known, and a new one only for as long as a fetch may take", async () => {
    const hung: (() => void)[] = [];
    const asked = Promise.withResolvers<void>();
    issuer.answer = (_, response) => {
      hung.push(() => response.end(JSON.stringify({ keys: issuer.published })));
      asked.resolve();
    };
    const waiting = verdict(await token());
    await asked.promise;
    const second = verdict(await token());
    hung[0]!();
    expect(await Promise.all([waiting, second])).toEqual(["ok", "ok"]);
    expect(hung).toHaveLength(1);
  });

  it("that are secrets or private are not taken from a published set", async () => {
    const secret = "published-secret-is-none-0123456789abcdef";
    const oct = { kty: "oct", k: part(secret), kid: "shared", alg: "HS256" };
    issuer.published.push(oct, { ...(await exportJWK(issuer.keys[0]!.privateKey)), kid: "private" });
    const by = { ...trusted, algorithms: ["HS256", "ES256"] };
    expect(await verdict(hmac(await claimsOf(), secret, { kid: "shared" }), {}, by)).toBe("algorithm");
    expect(await verdict(await token({}, { header: { kid: "private" } }), {}, by)).toBe(
      "jwks_no_matching_key",
    );
    expect(await verdict(await token(), {}, by)).toBe("ok");
  });

  it("may lack ids: each is tried, and a new one is looked for", async () => {
    await issuer.addKey("ES256");
    for (const key of issuer.published) delete key.kid;
    const first = await token({}, { key: issuer.keys[0], header: { kid: undefined } });
    expect(await verdict(first)).toBe("ok");
    expect(await verdict(await token({}, { header: { kid: undefined } }))).toBe("ok");
    const added = await issuer.addKey("ES256");
    delete added.jwk.kid;
    world.advance(30_001);
    expect(await verdict(await token({}, { header: { kid: undefined } }))).toBe("ok");
  });
});

async function claimsOf() {
  const now = Math.floor(world.now().getTime() / 1000);
  return { iss: issuer.issuer, aud: audience, sub: "someone", exp: now + 300 };
}

function hmac(claims: unknown, secret: string | Uint8Array, header: Record<string, unknown> = {}): string {
  const signed = `${part({ alg: "HS256", ...header })}.${part(claims)}`;
  return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
}

/** The token with other members in its header, and the signature it had. */
function withHeader(value: string, members: Record<string, unknown>): string {
  const [header, claims, signature] = value.split(".") as [string, string, string];
  const read = JSON.parse(Buffer.from(header, "base64url").toString());
  return `${part({ ...read, ...members })}.${claims}.${signature}`;
}
