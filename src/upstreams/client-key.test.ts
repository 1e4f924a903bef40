import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { jwtVerify } from "jose";
import { describe, expect, it } from "vitest";
import { Hidden } from "../base/index.ts";
import { checkPrivateKey } from "./client-key.ts";
import { clientAuthentication } from "./registration.ts";

const server = { issuer: "https://as.example" };
const pem = (key: KeyObject) => key.export({ format: "pem", type: "pkcs8" }) as string;

async function prove(privateKey: string, keyId?: string): Promise<URLSearchParams> {
  const body = new URLSearchParams();
  const proof = { privateKey: new Hidden(privateKey), privateKeyId: keyId };
  await clientAuthentication("private_key_jwt", proof)(server, { client_id: "robot" }, body, new Headers());
  return body;
}

const pairs = {
  RS256: generateKeyPairSync("rsa", { modulusLength: 2048 }),
  ES256: generateKeyPairSync("ec", { namedCurve: "P-256" }),
  ES384: generateKeyPairSync("ec", { namedCurve: "P-384" }),
  Ed25519: generateKeyPairSync("ed25519"),
};

describe("a key that signs client assertions", () => {
  it.each(Object.entries(pairs))("RFC 7523: %s, as PEM and as JWK, fresh each time", async (alg, pair) => {
    for (const text of [pem(pair.privateKey), JSON.stringify(pair.privateKey.export({ format: "jwk" }))]) {
      checkPrivateKey(text);
      const ids = new Set<unknown>();
      for (let round = 0; round < 2; round++) {
        const body = await prove(text, "one");
        expect(body.get("client_assertion_type")).toBe(
          "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        );
        const { payload, protectedHeader } = await jwtVerify(body.get("client_assertion")!, pair.publicKey, {
          audience: server.issuer,
          issuer: "robot",
          subject: "robot",
        });
        expect(protectedHeader).toMatchObject({ alg, kid: "one" });
        expect(payload.exp! - payload.iat!).toBeLessThanOrEqual(60);
        ids.add(payload.jti);
      }
      expect(ids.size).toBe(2);
    }
  });

  it("takes kid and padding from the JWK", async () => {
    const jwk = { ...pairs.RS256.privateKey.export({ format: "jwk" }), kid: "two", alg: "PS384" };
    const assertion = (await prove(JSON.stringify(jwk))).get("client_assertion")!;
    const { protectedHeader } = await jwtVerify(assertion, pairs.RS256.publicKey);
    expect(protectedHeader).toEqual({ alg: "PS384", kid: "two" });
  });

  it.each([
    ["nothing", ""],
    ["text", "a secret"],
    ["a public key", pairs.ES256.publicKey.export({ format: "pem", type: "spki" }) as string],
    ["a public JWK", JSON.stringify(pairs.ES256.publicKey.export({ format: "jwk" }))],
    ["a short key", pem(generateKeyPairSync("rsa", { modulusLength: 1024 }).privateKey)],
    ["a key for agreement", pem(generateKeyPairSync("x25519").privateKey)],
    ["a curve of other people", pem(generateKeyPairSync("ec", { namedCurve: "secp256k1" }).privateKey)],
    [
      "an encrypted key",
      pairs.ES256.privateKey.export({
        format: "pem",
        type: "pkcs8",
        cipher: "aes-256-cbc",
        passphrase: "x",
      }) as string,
    ],
  ])("refuses %s with invalid_private_key and repeats none of it", (_what, text) => {
    try {
      checkPrivateKey(text);
      expect.unreachable();
    } catch (error) {
      expect(error).toMatchObject({ code: "invalid_private_key", param: "oauth_config.private_key" });
      if (text !== "") expect(String(error)).not.toContain(text);
    }
  });
});
