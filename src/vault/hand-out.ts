import { type Hidden, type ProofKey, proveWith, type World } from "../base/index.ts";
import type { Warm } from "./cache.ts";
import type { Credential, Opened } from "./credential.ts";

/** What a caller gets to see of an opened credential: how to authorize a request with it, never the secret. */
export function ready({ credential, secret, key }: Warm, world: World): Opened {
  if (key && secret.kind === "oauth") return bound(credential, secret.accessToken, key, world);
  return {
    outcome: "ready",
    credential,
    authorize: (headers) => {
      if (secret.kind === "oauth") headers.authorization = `Bearer ${secret.accessToken.reveal()}`;
      else
        for (const [name, value] of Object.entries(secret.headers))
          headers[name.toLowerCase()] = value.reveal();
    },
  };
}

/** RFC 9449 §7: a token that is bound to a key. The proof is made when the request is sent, for what it is then. */
function bound(credential: Credential, accessToken: Hidden, key: ProofKey, world: World): Opened {
  return {
    outcome: "ready",
    credential,
    authorize: (headers) => {
      const token = accessToken.reveal();
      headers.authorization = `DPoP ${token}`;
      proveWith(headers, {
        prove: (request) => key.proof(world, { ...request, token }),
        heed: (origin, nonce) => key.heed(origin, nonce),
      });
    },
  };
}
