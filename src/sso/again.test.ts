import { inflateRawSync } from "node:zlib";
import { afterEach, expect, it } from "vitest";
import { rsaCertificate } from "../../test/peers/certificates.ts";
import { testSettings } from "../../test/support/settings.ts";
import { testWorld } from "../../test/support/world.ts";
import { signInPage } from "../identity/sign-in-pages.ts";
import { ssoConfig } from "./config.ts";
import type { SamlProvider } from "./saml-config.ts";
import { authnRequestUrl } from "./saml-peer.ts";
import { Closing, inMemory, LANDING, startPair } from "./sso.suite.ts";

const closing = new Closing();
afterEach(() => closing.close());

it("who is somebody else than before says so to the sign-in page, and the provider asks them (OIDC Core §3.1.2.1)", async () => {
  const options = { returnTo: "/", providers: [{ id: "corp", name: "Corp" }], local: true, passkeys: false };
  expect(await (await signInPage({ ...options, again: true })).text()).toContain('name="again" value="1"');
  expect(await (await signInPage(options)).text()).not.toContain('name="again"');
  const { provider, base, browser } = await startPair(inMemory(closing), closing);
  const leave = async (more: Record<string, string>) => {
    const page = await browser().submit(
      `${base}/login/sso/corp`,
      { return_to: LANDING, ...more },
      { from: `${base}/login`, stopAt: provider.issuer },
    );
    return page.stoppedAt!.searchParams.get("prompt");
  };
  expect(await leave({ again: "1" })).toBe("login");
  expect(await leave({})).toBeNull();
});

it("the same with SAML (Core §3.4.1)", async () => {
  const entry = {
    id: "corp",
    type: "saml",
    name: "Corp",
    issuer: "https://idp.example/metadata",
    sso_url: "https://idp.example/sso",
    certificates: [rsaCertificate("idp.example").cert],
  };
  const provider = ssoConfig.parse({ providers: [entry] }).providers[0] as SamlProvider;
  const parts = { world: testWorld(), settings: testSettings() };
  const request = async (again?: boolean) => {
    const url = new URL(await authnRequestUrl(parts, provider, { id: "_1", relayState: "r", again }));
    return inflateRawSync(Buffer.from(url.searchParams.get("SAMLRequest")!, "base64")).toString();
  };
  expect(await request(true)).toContain('ForceAuthn="true"');
  expect(await request()).not.toContain("ForceAuthn");
});
