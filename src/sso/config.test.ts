import { generateKeyPairSync } from "node:crypto";
import { describe, expect, it } from "vitest";
import { marked } from "../../test/support/marked.ts";
import { ssoConfig } from "./index.ts";

const google = {
  id: "google",
  type: "oidc",
  name: "Google",
  issuer: "https://accounts.google.com",
  client_id: "1234.apps.googleusercontent.com",
  client_secret: marked("a-client-secret"),
};
const okta = { ...google, id: "okta", name: "Okta", issuer: "https://acme.okta.com" };

const faultOf = (value: unknown) => {
  const read = ssoConfig.safeParse(value);
  return read.success ? undefined : read.error.issues[0]!.message;
};

describe("sso in the configuration file", () => {
  it("is none unless said, and several providers stand side by side", () => {
    expect(ssoConfig.parse({})).toEqual({ localSignIn: true, providers: [] });
    const { providers } = ssoConfig.parse({ providers: [google, { ...okta, scopes: ["email", "openid"] }] });
    expect(providers.map((one) => one.type === "oidc" && one.scopes)).toEqual([
      ["openid", "email", "profile"],
      ["openid", "email"],
    ]);
    // A secret is never printed with the rest.
    expect(JSON.stringify(providers)).not.toContain(google.client_secret);
    expect(JSON.stringify(providers)).toContain("[hidden]");
  });

  it("says what is wrong with an entry", () => {
    const key = generateKeyPairSync("ed25519").publicKey.export({ format: "pem", type: "spki" }).toString();
    for (const [entry, fault] of [
      [{ ...google, issuer: "accounts.google.com" }, /issuer must be the provider's address/],
      [{ ...google, issuer: "https://a.example/?x=1" }, /issuer must be/],
      [{ ...google, client_id: undefined }, /needs client_id/],
      [{ ...google, private_key: key }, /client_secret or private_key, not both/],
      [{ ...google, client_secret: undefined, private_key: key }, /not one to sign with/],
      [{ ...google, id: "Corp ID" }, /small letters/],
      [{ ...google, email_domains: ["@example.com"] }, /is not a domain/],
      [{ ...google, required_claims: { hd: [] } }, /Too small/],
      [{ ...google, roles: { boss: "owner" } }, /Invalid option/],
      [{ ...google, clientid: "x" }, /Unrecognized key/],
      [{ ...google, type: "ldap" }, /Invalid option/],
      [{ ...google, sso_url: "https://x.example" }, /has no meaning for a provider of type oidc/],
    ] as const)
      expect(faultOf({ providers: [entry] }), JSON.stringify(fault.source)).toMatch(fault);
    expect(faultOf({ providers: [google, { ...okta, id: "google" }] })).toBe(
      "two providers have the id google",
    );
    expect(faultOf({ providers: [google, { ...okta, issuer: google.issuer }] })).toMatch(/the issuer https/);
    expect(faultOf({ local_sign_in: false })).toMatch(/there is no provider/);
  });
});
