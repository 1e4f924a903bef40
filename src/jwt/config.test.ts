import { generateKeyPairSync } from "node:crypto";
import { expect, it } from "vitest";
import { jwtConfig } from "./index.ts";

const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
const pem = publicKey.export({ type: "spki", format: "pem" }).toString();
const privatePem = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
const base = { issuer: "https://idp.example", audience: "us" };
const remote = { ...base, jwks_url: "https://idp.example/jwks" };
const sharedSecret = "shared-by-two-and-long-enough-9f31";

const read = (...issuers: unknown[]) => jwtConfig.parse({ issuers }).issuers;

it("says what is wrong with an issuer", () => {
  for (const [issuers, words] of [
    [[base], "exactly one of"],
    [[{ ...remote, public_key: pem }], "exactly one of"],
    [[{ ...remote, secret: sharedSecret }], "exactly one of"],
    [[{ ...base, public_key: privatePem }], "not a public key"],
    [[{ ...base, public_key: "x" }], "not a public key"],
    [[{ ...base, jwks: { keys: [] } }], "not a set of public keys"],
    [[{ ...base, jwks: { keys: [{ kty: "oct", k: "eA" }] } }], "not a set of public keys"],
    [[{ ...base, secret: "short" }], "shorter than 32 bytes"],
    [[{ ...base, secret: sharedSecret, algorithms: ["HS512"] }], "shorter than 64 bytes"],
    [[{ ...remote, algorithms: ["HS256"] }], "does not go with a public key"],
    [[{ ...base, secret: sharedSecret, algorithms: ["RS256"] }], "does not go with a secret"],
    [[{ ...remote, algorithms: ["none"] }], "Invalid option"],
    [[{ ...remote, clock_skew_s: 61 }], "<=60"],
    [[{ ...remote, allow: [] }], ">=1"],
    [[{ ...remote, allow: ["vk", "user"] }], "claims.user"],
    [[{ ...remote, tenant: "t" }], "claims.tenant"],
    [[{ ...remote, claims: { tenant: "org" } }], "claims.tenant"],
    [[remote, { ...base, public_key: pem }], "is there twice"],
    [[{ ...remote, jwks_uri: "x" }], "jwks_uri"],
  ] as const)
    expect(() => read(...issuers), JSON.stringify(issuers)).toThrow(words);
});

it("lets virtual keys in and nobody else unless told, with asymmetric signatures unless there is a secret", () => {
  expect(read(remote)[0]).toMatchObject({
    allow: ["vk"],
    audience: ["us"],
    algorithms: ["RS256", "ES256"],
    clockSkewMs: 30_000,
    claims: { virtualKey: "virtual_key", user: "sub", role: "role" },
    adminRoles: ["admin"],
    createAccounts: true,
  });
  expect(read({ ...base, secret: sharedSecret })[0]!.algorithms).toEqual(["HS256"]);
  expect(JSON.stringify(read({ ...base, secret: sharedSecret }))).not.toContain(sharedSecret);
  expect(read({ ...base, public_key: pem, algorithms: ["ES256"] })[0]!.keys).toEqual({ publicKey: pem });
});
