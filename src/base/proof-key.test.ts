import { hash } from "node:crypto";
import { calculateJwkThumbprint, decodeProtectedHeader, EmbeddedJWK, type JWK, jwtVerify } from "jose";
import { expect, it } from "vitest";
import { startLoopbackServer } from "../../test/peers/loopback-server.ts";
import { testWorld } from "../../test/support/world.ts";
import { oauthOptions, openOutbound, ProofKey, proveWith, proving } from "./index.ts";

const world = testWorld();
const url = new URL("https://mcp.example/mcp?tenant=1");

async function claimsOf(proof: string) {
  const { payload } = await jwtVerify(proof, EmbeddedJWK, { typ: "dpop+jwt", algorithms: ["ES256"] });
  return payload;
}

it("RFC 9449 §4.2: proves one request, fresh each time, and shows only its public half", async () => {
  const key = ProofKey.make();
  const proof = key.proof(world, { method: "POST", url, token: "t0ken", body: "{}" });
  expect(await claimsOf(proof)).toEqual({
    jti: expect.stringMatching(/^[\w-]{22}$/),
    iat: Math.floor(world.now().getTime() / 1000),
    htm: "POST",
    htu: "https://mcp.example/mcp",
    ath: hash("sha256", "t0ken", "base64url"),
    content_digest: `sha-256=:${hash("sha256", "{}", "base64")}:`,
  });
  const { jwk } = decodeProtectedHeader(proof) as { jwk: JWK };
  expect(Object.keys(jwk).sort()).toEqual(["crv", "kty", "x", "y"]);
  expect(await calculateJwkThumbprint(jwk)).toBe(key.thumbprint);
  const again = await claimsOf(key.proof(world, { method: "GET", url }));
  expect(again.jti).not.toBe((await claimsOf(proof)).jti);
  expect(again).not.toHaveProperty("ath");
});

it("is the same key after it was sealed, and hidden until then", async () => {
  const key = ProofKey.make();
  expect(JSON.stringify(key) + String(key.secret)).toBe("{}[hidden]");
  const opened = ProofKey.open(key.secret);
  expect(opened.thumbprint).toBe(key.thumbprint);
  const { jwk } = decodeProtectedHeader(opened.proof(world, { method: "POST", url })) as { jwk: JWK };
  expect(await calculateJwkThumbprint(jwk)).toBe(key.thumbprint);
});

it("keeps the newest nonce of each origin, and none that could break a header", async () => {
  const key = ProofKey.make();
  const nonceAt = async (at: URL) => (await claimsOf(key.proof(world, { method: "POST", url: at }))).nonce;
  key.heed(url.origin, "n1");
  key.heed(url.origin, "n2");
  for (const bad of ["a\r\nb", "", "x".repeat(2000), ["n3"], undefined]) key.heed(url.origin, bad);
  expect(await nonceAt(url)).toBe("n2");
  expect(await nonceAt(new URL("https://other.example/"))).toBeUndefined();
  for (let port = 1; port < 100; port++) key.heed(`https://other.example:${port}`, "n");
  expect(await nonceAt(new URL("https://other.example:99/"))).toBe("n");
});

it("goes with requests as they are sent: method, address and body, and hears the nonce of the answer", async () => {
  const seen: { method?: string; proof: string }[] = [];
  const server = await startLoopbackServer((request, response) => {
    seen.push({ method: request.method, proof: String(request.headers.dpop) });
    response.writeHead(200, { "dpop-nonce": `n${seen.length}` }).end("{}");
  });
  const outbound = openOutbound({ allow: { admin: [`127.0.0.1:${server.port}`], stranger: [] } });
  try {
    const key = ProofKey.make();
    const headers: Record<string, string> = { authorization: "DPoP t" };
    proveWith(headers, {
      prove: (request) => key.proof(world, { ...request, token: "t" }),
      heed: (origin, nonce) => key.heed(origin, nonce),
    });
    const target = new URL("/mcp?x=1", server.origin);
    const first = await outbound.request(target, { method: "POST", headers: { ...headers }, body: "{}" });
    first.body.destroy();
    const second = await outbound.request(target, { method: "GET", headers });
    second.body.destroy();
    const [post, get] = await Promise.all(seen.map(({ proof }) => claimsOf(proof)));
    expect(post).toMatchObject({ htm: "POST", htu: `${server.origin}/mcp` });
    expect(post).toHaveProperty("content_digest");
    expect(get).toMatchObject({ htm: "GET", nonce: "n1" });
    expect(get).not.toHaveProperty("content_digest");
    const plain = await outbound.request(target, { method: "GET", headers: { authorization: "Bearer t" } });
    plain.body.destroy();
    expect(seen[2]?.proof).toBe("undefined");
  } finally {
    await outbound.close();
    await server.close();
  }
});

it.each([
  ["wants its nonce", { error: "use_dpop_nonce" }, 2],
  ["refuses for good", { error: "invalid_grant" }, 1],
])("RFC 9449 §8: a token request is made anew once when the server %s", async (_what, refusal, requests) => {
  const proofs: string[] = [];
  const server = await startLoopbackServer((request, response) => {
    proofs.push(String(request.headers.dpop));
    const headers = { "content-type": "application/json", "dpop-nonce": "server-nonce" };
    response.writeHead(400, headers).end(JSON.stringify(refusal));
  });
  const outbound = openOutbound({ allow: { admin: [`127.0.0.1:${server.port}`], stranger: [] } });
  try {
    const key = ProofKey.make();
    const options = oauthOptions({ ...world, outbound }, server.origin, undefined, key);
    const [fetch] = Object.getOwnPropertySymbols(options).map((symbol) => Reflect.get(options, symbol));
    const send = () => fetch(`${server.origin}/token`, { method: "POST", headers: {}, body: "a=b" });
    const response = await proving(key, send);
    expect(await response.json()).toEqual(refusal);
    expect(proofs).toHaveLength(requests);
    expect((await claimsOf(proofs.at(-1)!)).nonce).toBe(requests === 2 ? "server-nonce" : undefined);
  } finally {
    await outbound.close();
    await server.close();
  }
});
