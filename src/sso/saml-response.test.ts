import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { rsaCertificate } from "../../test/peers/certificates.ts";
import {
  type Said,
  type SamlIdentityProvider,
  type Signing,
  startSamlProvider,
} from "../../test/peers/saml-provider.ts";
import { testSettings } from "../../test/support/settings.ts";
import { type TestWorld, testWorld } from "../../test/support/world.ts";
import { ssoConfig } from "./config.ts";
import type { SamlProvider } from "./saml-config.ts";
import { serviceProviderMetadata } from "./saml-peer.ts";
import { readResponse } from "./saml-response.ts";
import { SamlFault } from "./saml-xml.ts";

const REQUEST = "_the-request-of-this-browser";
const SHA1 = "http://www.w3.org/2000/09/xmldsig#rsa-sha1";
const EMAIL = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress";
const stranger = rsaCertificate("stranger.example.com");
const rollover = rsaCertificate("next.example.com");

let idp: SamlIdentityProvider;
let world: TestWorld;
let metadata: string;
const settings = testSettings();

function provider(changes: Record<string, unknown> = {}): SamlProvider {
  const entry = {
    id: "corp",
    type: "saml",
    name: "Corp",
    issuer: idp.entityId,
    sso_url: idp.ssoUrl,
    certificates: [idp.certificate.cert, rollover.cert],
    ...changes,
  };
  return ssoConfig.parse({ providers: [entry] }).providers[0] as SamlProvider;
}

beforeAll(async () => {
  world = testWorld();
  idp = await startSamlProvider({ now: () => world.now().getTime() });
  metadata = await serviceProviderMetadata({ world, settings }, provider());
});

afterAll(() => idp.close());

interface Case {
  said?: Partial<Said>;
  signing?: Signing;
  /** What somebody does to the signed message on its way. */
  change?: (xml: string) => string;
  config?: Record<string, unknown>;
  request?: string | undefined;
}

async function read({ said, signing, change, config, ...rest }: Case = {}) {
  const answered = "request" in rest ? rest.request : REQUEST;
  const made = await idp.respond(metadata, { inResponseTo: REQUEST, ...said }, signing);
  const base64 = change
    ? Buffer.from(change(Buffer.from(made, "base64").toString())).toString("base64")
    : made;
  return readResponse({ world, settings }, provider(config), base64, answered);
}

describe("a response that is right", () => {
  it("says who it is, what the provider tells of them and until when it counts", async () => {
    const attributes = { email: "ada@example.com", groups: ["engineers", "a &amp; b"] };
    const said = await read({ said: { attributes, sessionIndex: "_s1", assertionId: "_a1" } });
    expect(said).toMatchObject({ id: "_a1", subject: "persistent-name-of-ada", sessionIndex: "_s1" });
    expect(Object.fromEntries(said.attributes)).toEqual({
      email: ["ada@example.com"],
      groups: ["engineers", "a & b"],
    });
    const now = world.now().getTime();
    expect(said.expiresAt).toBeGreaterThan(now + 5 * 60_000);
    expect(said.expiresAt).toBeLessThanOrEqual(now + 6 * 60_000);
  });

  it("may be signed as a whole too, and with either key of a roll-over", async () => {
    await read({ signing: { what: "both" } });
    await read({ signing: { with: rollover } });
    await read({ signing: { algorithm: "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512" } });
  });

  it("may come up to the clock skew early or late", async () => {
    const now = world.now().getTime();
    await read({ said: { notBefore: new Date(now + 55_000) } });
    await read({ said: { notOnOrAfter: new Date(now - 55_000) } });
  });

  it("names people within their qualifiers: ours and the provider's own say nothing new", async () => {
    const subjectOf = async (qualifiers: string, nameId = "n-1") =>
      (await read({ said: { qualifiers, nameId } })).subject;
    const own = `NameQualifier="${idp.entityId}" SPNameQualifier="http://localhost:8080/login/sso/corp/metadata"`;
    expect(await subjectOf(` ${own}`)).toBe("n-1");
    const other = await subjectOf(' NameQualifier="elsewhere"');
    expect(other).toBe('["n-1","elsewhere",null]');
    expect(await subjectOf("", "[&quot;n-1&quot;,&quot;elsewhere&quot;,null]")).not.toBe(other);
  });
});

/** An attacker's assertion with the real one's words, beside or around what was signed. */
const evil = (xml: string) =>
  (/<saml:Assertion[\s\S]*<\/saml:Assertion>/.exec(xml)?.[0] ?? "")
    .replace(/<ds:Signature[\s\S]*?<\/ds:Signature>/, "")
    .replace("persistent-name-of-ada", "persistent-name-of-eve")
    .replace(/ ID="[^"]*"/, ' ID="_evil"');
const assertionOf = (xml: string) => /<saml:Assertion[\s\S]*<\/saml:Assertion>/.exec(xml)![0];
const signatureOf = (xml: string) => /<ds:Signature[\s\S]*?<\/ds:Signature>/.exec(xml)![0];

const minutes = (count: number) => new Date(world.now().getTime() + count * 60_000);

const because = (why: string, make: () => Case) => ({ why, make });

const refused = {
  "without any signature": because("the assertion is not signed", () => ({ signing: { what: "nothing" } })),
  "signed around an unsigned assertion": because("the assertion is not signed", () => ({
    signing: { what: "response" },
  })),
  "signed by somebody else, whose certificate stands in it": because("Invalid signature", () => ({
    signing: { with: stranger },
  })),
  "signed with SHA-1": because("rsa-sha1", () => ({ signing: { algorithm: SHA1 } })),
  "with a wrong signature around a right one": because("Invalid document signature", () => ({
    signing: { what: "both" },
    change: (xml) => xml.replace('Version="2.0" IssueInstant', 'Version="2.0" Consent="x" IssueInstant'),
  })),
  "changed after it was signed": because("Invalid signature", () => ({
    change: (xml) => xml.replace("persistent-name-of-ada", "persistent-name-of-eve"),
  })),
  "of another issuer": because("another issuer", () => ({ said: { issuer: "https://other.example.com" } })),
  "for another audience": because("audience mismatch", () => ({
    said: { audience: "https://other.example.com" },
  })),
  "for another recipient": because("no subject confirmation", () => ({
    said: { recipient: "https://other.example.com/acs" },
  })),
  "for another destination": because("another destination", () => ({
    said: { destination: "https://other.example.com/acs" },
  })),
  "signed and without a destination": because("another destination", () => ({
    said: { destination: undefined },
    signing: { what: "both" },
  })),
  "to another request": because("another request", () => ({ said: { inResponseTo: "_of-another-browser" } })),
  "whose assertion answers another request": because("subjectInResponseTo", () => ({
    said: { subjectInResponseTo: "_of-another-browser" },
  })),
  "to no request (IdP-initiated)": because("another request", () => ({ said: { inResponseTo: undefined } })),
  "to a request, where none was made": because("another request", () => ({ request: undefined })),
  "that is not valid yet": because("not yet valid", () => ({ said: { notBefore: minutes(2) } })),
  "that has expired": because("No valid subject confirmation", () => ({
    said: { notBefore: minutes(-9), notOnOrAfter: minutes(-2) },
  })),
  "older than an hour, whatever it says": because("No valid subject confirmation", () => ({
    said: { notBefore: minutes(-90), notOnOrAfter: minutes(90) },
  })),
  "that says the sign-in failed": because("status:Responder", () => ({
    said: { status: "urn:oasis:names:tc:SAML:2.0:status:Responder" },
  })),
  "confirmed by another method than bearer": because("no subject confirmation", () => ({
    said: { method: "urn:oasis:names:tc:SAML:2.0:cm:sender-vouches" },
  })),
  "whose NameID is of another format": because("emailAddress", () => ({
    said: { nameIdFormat: EMAIL, nameId: "ada@example.com" },
  })),
  "whose NameID changes every time": because("transient", () => ({
    said: { nameIdFormat: "urn:oasis:names:tc:SAML:2.0:nameid-format:transient" },
  })),
  "with an empty NameID": because("no or great length", () => ({ said: { nameId: "" } })),
  "whose session there is over": because("session there has ended", () => ({
    said: {
      edit: (xml) =>
        xml.replace(
          "<saml:AuthnStatement ",
          `<saml:AuthnStatement SessionNotOnOrAfter="${minutes(-2).toISOString()}" `,
        ),
    },
  })),
  "without an authentication": because("no authentication statement", () => ({
    said: { edit: (xml) => xml.replace(/<saml:AuthnStatement[\s\S]*<\/saml:AuthnStatement>/, "") },
  })),
  "with two assertions, both signed": because("2 assertions", () => ({
    said: { edit: (xml) => xml.replace(assertionOf(xml), assertionOf(xml) + evil(xml)) },
  })),
  "wrapped: a foreign assertion before the signed one": because("2 assertions", () => ({
    change: (xml) => xml.replace(assertionOf(xml), evil(xml) + assertionOf(xml)),
  })),
  "wrapped: the signed assertion inside a foreign one": because("2 assertions", () => ({
    change: (xml) =>
      xml.replace(
        assertionOf(xml),
        evil(xml).replace("</saml:Assertion>", `${assertionOf(xml)}</saml:Assertion>`),
      ),
  })),
  "wrapped: the signed assertion in an Object of the signature of a foreign one": because(
    "2 assertions",
    () => ({
      change: (xml) => {
        const signed = assertionOf(xml).replace(signatureOf(xml), "");
        const signature = signatureOf(xml).replace(
          "</ds:Signature>",
          `<ds:Object>${signed}</ds:Object></ds:Signature>`,
        );
        return xml.replace(
          assertionOf(xml),
          evil(xml).replace("<saml:Subject>", `${signature}<saml:Subject>`),
        );
      },
    }),
  ),
  "wrapped: the signed assertion in Extensions, with its ID on a foreign one": because(
    "2 assertions",
    () => ({
      change: (xml) => {
        const id = / ID="([^"]*)"/.exec(assertionOf(xml))![1];
        const foreign = evil(xml).replace("_evil", id!);
        const hidden = `<samlp:Extensions>${assertionOf(xml)}</samlp:Extensions>`;
        return xml
          .replace(assertionOf(xml), "")
          .replace("<samlp:Status>", `${hidden}${foreign}<samlp:Status>`);
      },
    }),
  ),
  "wrapped: the whole signed response inside another": because("a response inside", () => ({
    signing: { what: "both" },
    change: (xml) =>
      xml.replace("<samlp:Status>", `<samlp:Extensions>${xml}</samlp:Extensions><samlp:Status>`),
  })),
  "with a signature that signs nothing in particular": because("something else than its element", () => ({
    change: (xml) => xml.replace(/ URI="#[^"]*"/, ' URI=""'),
  })),
  "with a comment in the NameID": because("comment", () => ({
    said: { nameId: "persistent-name-of-ada.of-eve" },
    change: (xml) => xml.replace("of-ada.of-eve", "of-ada<!---->.of-eve"),
  })),
  "canonicalised with its comments": because("WithComments", () => ({
    change: (xml) => xml.replaceAll("xml-exc-c14n#", "xml-exc-c14n#WithComments"),
  })),
  "with a DOCTYPE that expands entities": because("DOCTYPE", () => ({
    change: (xml) =>
      `<!DOCTYPE r [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>${xml.replace("persistent", "&b;")}`,
  })),
  "that reads a file": because("DOCTYPE", () => ({
    change: (xml) => `<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/hostname">]>${xml}`,
  })),
  "with an entity of its own": because("entity", () => ({
    change: (xml) => xml.replace("persistent", "&lol;persistent"),
  })),
  "with a CDATA section": because("CDATA", () => ({
    change: (xml) => xml.replace("persistent-name", "<![CDATA[persistent]]>-name"),
  })),
  "with a processing instruction": because("processing instruction", () => ({
    change: (xml) => xml.replace("<saml:Issuer>", "<?x y?><saml:Issuer>"),
  })),
  "nested ten thousand deep": because("too deeply", () => ({
    change: (xml) =>
      xml.replace("<samlp:Status>", `${"<a>".repeat(10_000)}${"</a>".repeat(10_000)}<samlp:Status>`),
  })),
  "with ten thousand groups": because("too large", () => ({
    said: { attributes: { groups: Array.from({ length: 10_000 }, (_, at) => `group-${at}`) } },
  })),
  "larger than anything real": because("too large", () => ({ change: (xml) => xml + " ".repeat(300_000) })),
  "that is not well-formed": because("well-formed", () => ({
    change: (xml) => xml.replace("</saml:Subject>", ""),
  })),
  "with words after its end": because("well-formed", () => ({ change: (xml) => `${xml}and more` })),
  "that is no XML": because("well-formed", () => ({ change: () => "who are you?" })),
  "that is empty": because("base64", () => ({ change: () => "" })),
  "that is a log-out request": because("not a response", () => ({
    change: (xml) => xml.replaceAll("samlp:Response", "samlp:LogoutRequest"),
  })),
};

describe("a response is refused", () => {
  it.each(Object.entries(refused))("%s (ID-29)", async (_, { why, make }) => {
    const fault = await read(make()).catch((error: unknown) => error);
    expect(fault).toBeInstanceOf(SamlFault);
    expect((fault as SamlFault).message).toContain(why);
  });

  it("that is no base64", async () => {
    const at = { world, settings };
    await expect(readResponse(at, provider(), "<not base64>", REQUEST)).rejects.toBeInstanceOf(SamlFault);
  });

  it("after its provider's certificate was taken out", async () => {
    await read({ signing: { with: rollover } });
    const config = { certificates: [idp.certificate.cert] };
    await expect(read({ signing: { with: rollover }, config })).rejects.toBeInstanceOf(SamlFault);
  });
});

describe("an answer to no request, where that is allowed", () => {
  it("is taken, and only one to no request", async () => {
    expect(await read({ said: { inResponseTo: undefined }, request: undefined })).toMatchObject({
      subject: "persistent-name-of-ada",
    });
  });
});
