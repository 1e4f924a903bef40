import { hash, randomUUID } from "node:crypto";
import { calculateJwkThumbprint, decodeProtectedHeader, EmbeddedJWK, type JWK, jwtVerify } from "jose";

/** A request that carries a proof, and the key that its token is bound to. */
export interface ProvenRequest {
  method: string;
  url: string;
  headers: Headers;
  body: string;
  jkt: string | undefined;
}

/** What a resource server checks of a proof: RFC 9449 §4.3 and the DPoP profile for MCP, a nonce where it wants one. */
export class ProofChecker {
  /** Of the proofs that were right. */
  readonly ids: string[] = [];
  /** Undefined: no nonce is wanted. */
  nonce: string | undefined;
  /** What was wrong with the last one that was not right. */
  fault: string | undefined;

  constructor(wantsNonce: boolean) {
    this.nonce = wantsNonce ? randomUUID() : undefined;
  }

  /** `token`: the proof is right. `challenge`: it is not, with what to answer. */
  async check(
    request: ProvenRequest,
  ): Promise<{ token: string; challenge?: undefined } | { challenge: string }> {
    try {
      return { token: await this.#verify(request) };
    } catch (error) {
      this.fault = error instanceof Error ? error.message : String(error);
      const code = this.fault === "nonce" ? "use_dpop_nonce" : "invalid_dpop_proof";
      return { challenge: `DPoP error="${code}", algs="ES256"` };
    }
  }

  async #verify({ method, url, headers, body, jkt }: ProvenRequest): Promise<string> {
    const [scheme, token = ""] = (headers.get("authorization") ?? "").split(" ");
    if (scheme !== "DPoP") throw new Error(`the scheme is ${scheme}`);
    const proof = headers.get("dpop") ?? "";
    const { payload } = await jwtVerify(proof, EmbeddedJWK, { typ: "dpop+jwt", algorithms: ["ES256"] });
    const { jwk } = decodeProtectedHeader(proof) as { jwk: JWK };
    const expected = {
      htm: method,
      htu: url,
      ath: hash("sha256", token, "base64url"),
      content_digest: body === "" ? undefined : `sha-256=:${hash("sha256", body, "base64")}:`,
    };
    for (const [name, value] of Object.entries(expected))
      if (payload[name] !== value) throw new Error(`${name} is ${payload[name]}`);
    if ("d" in jwk || (await calculateJwkThumbprint(jwk)) !== jkt) throw new Error("another key");
    if (!payload.jti || this.ids.includes(payload.jti)) throw new Error("jti was seen before");
    if (payload.nonce !== this.nonce) throw new Error("nonce");
    this.ids.push(payload.jti);
    return token;
  }
}
