import { exportJWK, generateKeyPair, type JWTPayload, SignJWT } from "jose";
import { enterpriseAuthorizationConfig, machineTrust, workloadIdentityConfig } from "./machine-config.ts";

export const JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer";
export const EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange";
export const ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token";

/** An issuer with one key, and whatever it signs. */
export class Signer {
  readonly issuer: string;
  readonly #alg: string;
  readonly #keys: Awaited<ReturnType<typeof generateKeyPair>>;

  private constructor(issuer: string, alg: string, keys: Awaited<ReturnType<typeof generateKeyPair>>) {
    this.issuer = issuer;
    this.#alg = alg;
    this.#keys = keys;
  }

  static async make(issuer: string, alg = "ES256"): Promise<Signer> {
    return new Signer(issuer, alg, await generateKeyPair(alg, { extractable: true }));
  }

  async jwks(): Promise<{ keys: object[] }> {
    return { keys: [{ ...(await exportJWK(this.#keys.publicKey)), kid: "k1", alg: this.#alg, use: "sig" }] };
  }

  /** `now`: milliseconds. Five minutes, unless `claims` say otherwise. */
  sign(claims: JWTPayload, header: { typ?: string; kid?: string } = {}, now = Date.now()): Promise<string> {
    const iat = Math.floor(now / 1000);
    return new SignJWT({ iss: this.issuer, iat, exp: iat + 300, ...claims })
      .setProtectedHeader({ alg: this.#alg, kid: "k1", ...header })
      .sign(this.#keys.privateKey);
  }
}

/** As the configuration file would say it. */
export function trust(given: { rules?: object[]; issuers?: object[] }) {
  return machineTrust(
    workloadIdentityConfig.parse({ rules: given.rules ?? [] }),
    enterpriseAuthorizationConfig.parse({ issuers: given.issuers ?? [] }),
  );
}
