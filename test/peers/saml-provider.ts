import { randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import * as samlify from "samlify";
import { type Certificate, rsaCertificate } from "./certificates.ts";
import { startLoopbackServer } from "./loopback-server.ts";

// The library wants a schema validator; what it builds here is only read by the gateway.
samlify.setSchemaValidator({ validate: async () => "" });

export interface SamlPerson {
  nameId: string;
  /** Default: persistent. */
  format?: string;
  attributes?: Readonly<Record<string, string | readonly string[]>>;
}

/** What a response says; every field can be made wrong. */
export interface Said {
  issuer: string;
  audience: string;
  destination: string | undefined;
  recipient: string;
  inResponseTo: string | undefined;
  subjectInResponseTo: string | undefined;
  assertionId: string;
  notBefore: Date;
  notOnOrAfter: Date;
  status: string;
  method: string;
  nameId: string;
  nameIdFormat: string;
  /** Further attributes of NameID, as they stand in the tag. */
  qualifiers: string;
  sessionIndex: string;
  attributes: Readonly<Record<string, string | readonly string[]>>;
  /** The finished XML before it is signed. */
  edit(xml: string): string;
}

export interface Signing {
  /** Default: the assertion. */
  what?: "assertion" | "both" | "response" | "nothing";
  with?: Certificate;
  algorithm?: string;
  /** For the gateway's metadata certificate. */
  encrypt?: boolean;
}

export interface SamlIdentityProvider {
  origin: string;
  entityId: string;
  ssoUrl: string;
  certificate: Certificate;
  /** Who is signed in there; undefined: nobody, and the provider says so. */
  person: SamlPerson | undefined;
  /** Replaces fields of what is said next. */
  say: Partial<Said>;
  signing: Signing;
  /** Fields of the requests that came, the last one last. */
  requests: { id: string; relayState: string; xml: string; signed: boolean }[];
  /** A response in base64, to whom the metadata describes. */
  respond(metadata: string, said?: Partial<Said>, signing?: Signing): Promise<string>;
  close(): Promise<void>;
}

const PERSISTENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent";
const FIVE_MINUTES = 5 * 60_000;

/** A SAML 2.0 identity provider made of `samlify`. Its page at `sso_url` has one form, which posts the response back. */
export async function startSamlProvider(options: { now?: () => number } = {}): Promise<SamlIdentityProvider> {
  const { now = Date.now } = options;
  const server = await startLoopbackServer();
  const certificate = rsaCertificate("saml.example.com");
  const provider: SamlIdentityProvider = {
    origin: server.origin,
    entityId: `${server.origin}/entity`,
    ssoUrl: `${server.origin}/sso`,
    certificate,
    person: { nameId: "persistent-name-of-ada" },
    say: {},
    signing: {},
    requests: [],
    respond: (metadata, said = {}, signing = {}) =>
      respond(provider, metadata, { ...defaults(provider, metadata, now()), ...said }, signing),
    close: server.close,
  };
  server.server.on("request", (request, response) => {
    signInPage(provider, request, response).catch((error: unknown) => {
      response.writeHead(500).end(String(error));
    });
  });
  return provider;
}

function entityOf(provider: SamlIdentityProvider, signing: Signing = {}) {
  const { cert, key } = signing.with ?? provider.certificate;
  return samlify.IdentityProvider({
    entityID: provider.entityId,
    privateKey: key,
    signingCert: cert.replaceAll(/-----[A-Z ]+-----|\s/g, ""),
    requestSignatureAlgorithm: signing.algorithm ?? "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
    isAssertionEncrypted: signing.encrypt ?? false,
    ...{ dataEncryptionAlgorithm: "http://www.w3.org/2009/xmlenc11#aes256-gcm" },
    singleSignOnService: [
      { Binding: "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect", Location: provider.ssoUrl },
    ],
    singleLogoutService: [
      { Binding: "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect", Location: `${provider.origin}/slo` },
    ],
  });
}

/** The gateway asks for signed assertions in its metadata; what a test wants signed is written over that. */
function gatewayOf(metadata: string, what: Signing["what"] = "assertion") {
  const assertions = what === "assertion" || what === "both";
  return samlify.ServiceProvider({
    metadata: metadata.replace(/WantAssertionsSigned="true"/, `WantAssertionsSigned="${assertions}"`),
    wantMessageSigned: what === "both" || what === "response",
  });
}

function defaults(provider: SamlIdentityProvider, metadata: string, now: number): Said {
  const gateway = gatewayOf(metadata);
  const acs = String(gateway.entityMeta.getAssertionConsumerService("post"));
  const { person = { nameId: "" } } = provider;
  return {
    issuer: provider.entityId,
    audience: gateway.entityMeta.getEntityID(),
    destination: acs,
    recipient: acs,
    inResponseTo: undefined,
    subjectInResponseTo: undefined,
    assertionId: `_${randomUUID()}`,
    notBefore: new Date(now - 1000),
    notOnOrAfter: new Date(now + FIVE_MINUTES),
    status: "urn:oasis:names:tc:SAML:2.0:status:Success",
    method: "urn:oasis:names:tc:SAML:2.0:cm:bearer",
    nameId: person.nameId,
    nameIdFormat: person.format ?? PERSISTENT,
    qualifiers: "",
    sessionIndex: `_${randomUUID()}`,
    attributes: person.attributes ?? {},
    edit: (xml) => xml,
  };
}

async function respond(
  provider: SamlIdentityProvider,
  metadata: string,
  said: Said,
  signing: Signing,
): Promise<string> {
  const xml = said.edit(responseXml(said));
  if (signing.what === "nothing") return Buffer.from(xml).toString("base64");
  const { context } = await entityOf(provider, signing).createLoginResponse(
    gatewayOf(metadata, signing.what),
    { extract: {} },
    "post",
    {},
    { customTagReplacement: () => ({ id: said.assertionId, context: xml }), encryptThenSign: true },
  );
  return context;
}

/** Core §3.3.3 with one assertion of §2.3.3. */
export function responseXml(said: Said): string {
  const at = said.notBefore.toISOString();
  const until = said.notOnOrAfter.toISOString();
  const answers = (id: string | undefined) => (id === undefined ? "" : ` InResponseTo="${id}"`);
  const destination = said.destination === undefined ? "" : ` Destination="${said.destination}"`;
  return [
    `<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="_${randomUUID()}" Version="2.0" IssueInstant="${at}"${destination}${answers(said.inResponseTo)}>`,
    `<saml:Issuer>${said.issuer}</saml:Issuer>`,
    `<samlp:Status><samlp:StatusCode Value="${said.status}"/></samlp:Status>`,
    `<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="${said.assertionId}" Version="2.0" IssueInstant="${at}">`,
    `<saml:Issuer>${said.issuer}</saml:Issuer>`,
    `<saml:Subject><saml:NameID Format="${said.nameIdFormat}"${said.qualifiers}>${said.nameId}</saml:NameID>`,
    `<saml:SubjectConfirmation Method="${said.method}"><saml:SubjectConfirmationData NotOnOrAfter="${until}" Recipient="${said.recipient}"${answers(said.subjectInResponseTo ?? said.inResponseTo)}/></saml:SubjectConfirmation></saml:Subject>`,
    `<saml:Conditions NotBefore="${at}" NotOnOrAfter="${until}"><saml:AudienceRestriction><saml:Audience>${said.audience}</saml:Audience></saml:AudienceRestriction></saml:Conditions>`,
    `<saml:AuthnStatement AuthnInstant="${at}" SessionIndex="${said.sessionIndex}"><saml:AuthnContext><saml:AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:Password</saml:AuthnContextClassRef></saml:AuthnContext></saml:AuthnStatement>`,
    attributeXml(said.attributes),
    "</saml:Assertion></samlp:Response>",
  ].join("");
}

function attributeXml(attributes: Said["attributes"]): string {
  const names = Object.keys(attributes);
  if (names.length === 0) return "";
  const one = (name: string) =>
    `<saml:Attribute Name="${name}">${[attributes[name]!]
      .flat()
      .map((value) => `<saml:AttributeValue>${value}</saml:AttributeValue>`)
      .join("")}</saml:Attribute>`;
  return `<saml:AttributeStatement>${names.map(one).join("")}</saml:AttributeStatement>`;
}

/** Reads the AuthnRequest as it came and shows a page whose button posts the answer to the address it named. */
async function signInPage(
  provider: SamlIdentityProvider,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const url = new URL(request.url ?? "/", provider.origin);
  const query = Object.fromEntries(url.searchParams);
  if (url.pathname !== "/sso" || !query.SAMLRequest) {
    response.writeHead(404).end();
    return;
  }
  const { extract, samlContent } = await entityOf(provider).parseLoginRequest(
    samlify.ServiceProvider({ entityID: "anybody" }),
    "redirect",
    { query },
  );
  const said = extract.request as { id: string; assertionConsumerServiceUrl: string };
  const relayState = query.RelayState ?? "";
  provider.requests.push({
    id: said.id,
    relayState,
    xml: samlContent,
    signed: query.Signature !== undefined,
  });
  const gateway = said.assertionConsumerServiceUrl.replace(/acs$/, "metadata");
  const metadata = await (await fetch(gateway)).text();
  const status = provider.person ? {} : { status: "urn:oasis:names:tc:SAML:2.0:status:Responder" };
  const answer = await provider.respond(
    metadata,
    { inResponseTo: said.id, ...status, ...provider.say },
    provider.signing,
  );
  response.writeHead(200, { "content-type": "text/html; charset=utf-8" });
  response.end(`<!doctype html><title>Sign in</title><h1>Sign in</h1>
<form method="post" action="${said.assertionConsumerServiceUrl}">
<input type="hidden" name="SAMLResponse" value="${answer}">
<input type="hidden" name="RelayState" value="${relayState}">
<button type="submit">Continue</button></form>`);
}
