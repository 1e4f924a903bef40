import { inflateRawSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { rsaCertificate } from "../../test/peers/certificates.ts";
import { testSettings } from "../../test/support/settings.ts";
import { testWorld } from "../../test/support/world.ts";
import { ssoConfig } from "./config.ts";
import type { SamlProvider } from "./saml-config.ts";
import { authnRequestUrl, serviceProviderMetadata } from "./saml-peer.ts";

const theirs = rsaCertificate("id.example.com");
const ours = rsaCertificate("gateway.example.com");
const bare = (pem: string) => pem.replaceAll(/-----[A-Z ]+-----|\s/g, "");
const entry = {
  id: "corp",
  type: "saml",
  name: "Corp",
  issuer: "https://id.example.com/saml",
  sso_url: "https://id.example.com/sso?tenant=7",
  certificates: [theirs.cert, bare(theirs.cert)],
};
const parse = (changes: object) => ssoConfig.safeParse({ providers: [{ ...entry, ...changes }] });
const faultOf = (changes: object) => parse(changes).error?.issues[0]?.message;
const provider = (changes: object = {}) => parse(changes).data!.providers[0] as SamlProvider;
const parts = { world: testWorld(), settings: testSettings() };
const signing = { private_key: ours.key, sp_certificate: ours.cert };

describe("a provider of type saml", () => {
  it("needs its address and certificates that can be trusted; a slip stops the start", () => {
    expect(provider()).toMatchObject({ type: "saml", clockSkewMs: 60_000, allowIdpInitiated: false });
    expect(new Set(provider().certificates).size).toBe(1);
    expect(faultOf({ sso_url: undefined })).toContain("needs sso_url");
    expect(faultOf({ certificates: undefined })).toContain("needs certificates");
    expect(faultOf({ certificates: ["nothing"] })).toContain("is not an X.509 certificate");
    expect(faultOf({ certificates: [rsaCertificate("weak", 1024).cert] })).toContain("2048 bits");
    expect(faultOf({ client_id: "x" })).toContain("has no meaning");
    expect(faultOf({ private_key: ours.key })).toContain("belong together");
    expect(faultOf({ ...signing, private_key: theirs.key })).toContain(
      "is not the RSA key of sp_certificate",
    );
    expect(faultOf({ clock_skew_s: 61 })).toBeDefined();
    expect(JSON.stringify(provider(signing))).not.toContain("PRIVATE KEY");
  });

  it("is asked by redirect, with an ID of ours and without saying how people sign in there", async () => {
    const url = new URL(await authnRequestUrl(parts, provider(), { id: "saml_1", relayState: "state-1" }));
    expect(url.searchParams.get("tenant")).toBe("7");
    expect(url.searchParams.get("RelayState")).toBe("state-1");
    expect(url.searchParams.has("Signature")).toBe(false);
    const xml = inflateRawSync(Buffer.from(url.searchParams.get("SAMLRequest")!, "base64")).toString();
    expect(xml).toContain('ID="saml_1"');
    expect(xml).toContain("nameid-format:persistent");
    expect(xml).not.toContain("RequestedAuthnContext");
  });

  it("reads what we are called and where to post from our metadata; with a key requests are signed", async () => {
    const plain = await serviceProviderMetadata(parts, provider());
    expect(plain).toContain('entityID="http://localhost:8080/login/sso/corp/metadata"');
    expect(plain).toContain('Location="http://localhost:8080/login/sso/corp/acs"');
    expect(plain).toContain('WantAssertionsSigned="true"');
    expect(plain).not.toMatch(/KeyDescriptor|SingleLogoutService/);
    const signed = await serviceProviderMetadata(parts, provider(signing));
    expect(bare(signed)).toContain(bare(ours.cert));
    expect(signed).not.toContain('use="encryption"');
    const url = await authnRequestUrl(parts, provider(signing), { id: "saml_1", relayState: "state-1" });
    expect(new URL(url).searchParams.get("SigAlg")).toContain("rsa-sha256");
  });
});
