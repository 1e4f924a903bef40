import type { IncomingMessage, ServerResponse } from "node:http";
import { type CryptoKey, exportJWK, generateKeyPair, type JWK, SignJWT } from "jose";
import { startLoopbackServer } from "./loopback-server.ts";

export interface SigningKey {
  kid: string;
  alg: string;
  privateKey: CryptoKey;
  publicKey: CryptoKey;
  jwk: JWK;
}

/** Somebody who signs tokens and publishes the keys at `/jwks`. What it publishes, and how it answers, changes as told. */
export interface TokenIssuer {
  /** Its `iss`. */
  issuer: string;
  jwksUrl: string;
  /** `host:port`, to be allowed as a private address. */
  hostPort: string;
  /** How often the keys were asked for. */
  fetches(): number;
  /** Signs with `key`, by default the newest one. Without `exp` in the claims: for five minutes from `now`. */
  sign(claims: Record<string, unknown>, how?: SigningOptions): Promise<string>;
  /** A further key; published from now on unless told otherwise. */
  addKey(alg?: string, options?: { publish?: boolean }): Promise<SigningKey>;
  keys: SigningKey[];
  published: JWK[];
  /** How `/jwks` answers instead; undefined: with what is published. */
  answer: ((request: IncomingMessage, response: ServerResponse) => void) | undefined;
  close(): Promise<void>;
}

export interface SigningOptions {
  key?: SigningKey;
  header?: Record<string, unknown>;
  /** Times of the token count from here; default: the real time. */
  now?: Date;
  /** False: no `exp` unless the claims have one. */
  expires?: boolean;
}

let made = 0;

export async function startTokenIssuer(alg = "ES256"): Promise<TokenIssuer> {
  let fetches = 0;
  const server = await startLoopbackServer((request, response) => {
    fetches++;
    if (issuer.answer) return issuer.answer(request, response);
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify({ keys: issuer.published }));
  });
  const issuer: TokenIssuer = {
    issuer: server.origin,
    jwksUrl: `${server.origin}/jwks`,
    hostPort: `127.0.0.1:${server.port}`,
    fetches: () => fetches,
    sign: (claims, how = {}) => sign(issuer, claims, how),
    addKey: async (other = alg, { publish = true } = {}) => {
      const key = await makeKey(other);
      issuer.keys.push(key);
      if (publish) issuer.published.push(key.jwk);
      return key;
    },
    keys: [],
    published: [],
    answer: undefined,
    close: server.close,
  };
  await issuer.addKey();
  return issuer;
}

async function makeKey(alg: string): Promise<SigningKey> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  const kid = `key-${++made}`;
  return { kid, alg, privateKey, publicKey, jwk: { ...(await exportJWK(publicKey)), kid, alg, use: "sig" } };
}

function sign(issuer: TokenIssuer, claims: Record<string, unknown>, how: SigningOptions): Promise<string> {
  const key = how.key ?? issuer.keys.at(-1)!;
  const now = Math.floor((how.now ?? new Date()).getTime() / 1000);
  const times = how.expires === false ? { iat: now } : { iat: now, exp: now + 300 };
  return new SignJWT({ iss: issuer.issuer, ...times, ...claims })
    .setProtectedHeader({ alg: key.alg, kid: key.kid, ...how.header })
    .sign(key.privateKey);
}
