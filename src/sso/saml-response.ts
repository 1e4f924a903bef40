import type { Profile } from "@node-saml/node-saml";
import { NAME_ID_FORMATS, type SamlProvider } from "./saml-config.ts";
import { MAX_ASSERTION_MS, type SamlParts, samlAddresses, samlPeer } from "./saml-peer.ts";
import { decodeMessage, outline, requireSignedShape, SamlFault, type XmlElement } from "./saml-xml.ts";

/** What an identity provider said, every check done but whether it was said before. */
export interface SamlStatement {
  /** The assertion's ID, to be spent. */
  id: string;
  /** When it was made, and when it stops counting, milliseconds since 1970. */
  issuedAt: number;
  expiresAt: number;
  /** The person's lasting name at the provider. */
  subject: string;
  /** For its log-out. */
  sessionIndex?: string;
  /** Attributes by their names, values in order. */
  attributes: ReadonlyMap<string, readonly string[]>;
}

/** An assertion as the library's parser shows it: only what was signed. */
interface Node {
  _?: string;
  $?: Record<string, string | undefined>;
  [child: string]: unknown;
}

const BEARER = "urn:oasis:names:tc:SAML:2.0:cm:bearer";
const SUCCESS = "urn:oasis:names:tc:SAML:2.0:status:Success";
const MAX_SUBJECT = 512;
const MAX_VALUE = 1024;

/**
 * Checks a response (Profiles §4.1.4.3). `request`: the ID of our request, which it must answer; undefined: it must answer
 * none. Throws `SamlFault` for everything that is not right: nobody is told more than that the sign-in did not count.
 */
export async function readResponse(
  parts: SamlParts,
  provider: SamlProvider,
  base64: string,
  request: string | undefined,
): Promise<SamlStatement> {
  const elements = outline(decodeMessage(base64));
  requireEnvelope(elements, samlAddresses(parts, provider).acs, request);
  requireSignedShape(elements);
  const profile = await verified(parts, provider, base64, { elements, request });
  const assertion = (profile.getAssertion?.() as { Assertion?: Node } | undefined)?.Assertion;
  if (!assertion) throw new SamlFault("no assertion");
  return statementOf(parts, provider, assertion, request);
}

/** What stands around the assertion; a signature over it is not needed, so it is never enough. */
function requireEnvelope(elements: readonly XmlElement[], acs: string, request: string | undefined): void {
  const root = elements[0];
  const status = elements.find(({ name, parent }) => name === "StatusCode" && parent?.name === "Status");
  const said = status?.attributes.get("Value");
  if (said !== SUCCESS) {
    const detail = elements.find(({ name, parent }) => name === "StatusCode" && parent === status);
    const why = detail?.attributes.get("Value") ?? said ?? "without a status";
    throw new SamlFault(`the provider answered ${why.slice(0, 100)}`);
  }
  const destination = root?.attributes.get("Destination");
  const isSigned = elements.some(({ name, parent }) => name === "Signature" && parent === root);
  // Bindings §3.5.5.2: in a signed message it has to be there.
  if (destination === undefined ? isSigned : destination !== acs) throw new SamlFault("another destination");
  if (root?.attributes.get("InResponseTo") !== request) throw new SamlFault("an answer to another request");
}

async function verified(
  parts: SamlParts,
  provider: SamlProvider,
  base64: string,
  { elements, request }: { elements: readonly XmlElement[]; request: string | undefined },
): Promise<Profile> {
  // A signature that is there must be right, also where it is not needed.
  const responseSigned = elements.some(({ name, parent }) => name === "Signature" && parent === elements[0]);
  const peer = await samlPeer(parts, provider, { answers: request, responseSigned });
  try {
    const { profile } = await peer.validatePostResponseAsync({ SAMLResponse: base64 });
    if (profile) return profile;
  } catch (error) {
    throw new SamlFault(error instanceof Error ? error.message : "not verified", { cause: error });
  }
  throw new SamlFault("nobody is named");
}

function statementOf(
  parts: SamlParts,
  provider: SamlProvider,
  assertion: Node,
  request: string | undefined,
): SamlStatement {
  const id = assertion.$?.ID;
  const issuedAt = Date.parse(assertion.$?.IssueInstant ?? "");
  if (!id || assertion.$?.Version !== "2.0" || Number.isNaN(issuedAt))
    throw new SamlFault("not an assertion of SAML 2.0");
  if (textOf(only(assertion, "Issuer")) !== provider.issuer) throw new SamlFault("another issuer");
  only(assertion, "Conditions");
  const confirmed = confirmation(parts, provider, only(assertion, "Subject"), request);
  return {
    id,
    issuedAt,
    expiresAt: confirmed + provider.clockSkewMs,
    subject: subjectOf(parts, provider, only(only(assertion, "Subject"), "NameID")),
    sessionIndex: authentication(parts, provider, assertion),
    attributes: attributesOf(assertion),
  };
}

/** Profiles §4.1.4.2: for this address, this request and still. Returns until when, at most an hour from now. */
function confirmation(
  parts: SamlParts,
  provider: SamlProvider,
  subject: Node,
  request: string | undefined,
): number {
  const now = parts.world.now().getTime();
  const { acs } = samlAddresses(parts, provider);
  for (const candidate of list(subject, "SubjectConfirmation")) {
    if (candidate.$?.Method !== BEARER) continue;
    const data = list(candidate, "SubjectConfirmationData")[0]?.$;
    const until = Date.parse(data?.NotOnOrAfter ?? "");
    if (data?.Recipient !== acs || data.InResponseTo !== request || data.NotBefore !== undefined) continue;
    if (until + provider.clockSkewMs > now) return Math.min(until, now + MAX_ASSERTION_MS);
  }
  throw new SamlFault("no subject confirmation for this address, this request and this time");
}

/** Core §2.7.2. */
function authentication(parts: SamlParts, provider: SamlProvider, assertion: Node): string | undefined {
  const [statement] = list(assertion, "AuthnStatement");
  if (!statement) throw new SamlFault("no authentication statement");
  const ends = statement.$?.SessionNotOnOrAfter;
  if (ends !== undefined && !(Date.parse(ends) + provider.clockSkewMs > parts.world.now().getTime()))
    throw new SamlFault("the session there has ended");
  return statement.$?.SessionIndex?.slice(0, MAX_SUBJECT);
}

/**
 * Core §8.3.7: a name counts within its qualifiers, which are the two parties where they are not given. The format is the
 * configured one, so that an address which somebody gets later never meets a name of another kind.
 */
function subjectOf(parts: SamlParts, provider: SamlProvider, nameId: Node): string {
  const value = textOf(nameId);
  const { Format, NameQualifier, SPNameQualifier } = nameId.$ ?? {};
  const format = Format ?? NAME_ID_FORMATS.unspecified;
  if (format !== NAME_ID_FORMATS[provider.nameIdFormat])
    throw new SamlFault(`a NameID of the format ${format.slice(0, 100)}`);
  if (value.trim() === "" || value.length > MAX_SUBJECT)
    throw new SamlFault("a NameID of no or great length");
  const foreign = [
    NameQualifier === provider.issuer ? undefined : NameQualifier,
    SPNameQualifier === samlAddresses(parts, provider).entityId ? undefined : SPNameQualifier,
  ];
  const isPlain = foreign.every((qualifier) => qualifier === undefined);
  // A plain name that looks like a qualified one is written like those, so that it never is one.
  return isPlain && !value.startsWith("[")
    ? value
    : JSON.stringify([value, ...foreign.map((q) => q ?? null)]);
}

function attributesOf(assertion: Node): Map<string, string[]> {
  const attributes = new Map<string, string[]>();
  for (const statement of list(assertion, "AttributeStatement"))
    for (const attribute of list(statement, "Attribute")) {
      const name = attribute.$?.Name;
      if (name === undefined) continue;
      const values = list(attribute, "AttributeValue").map(textOf);
      const kept = values.filter((value) => value !== "" && value.length <= MAX_VALUE);
      attributes.set(name, [...(attributes.get(name) ?? []), ...kept]);
    }
  return attributes;
}

function list(node: Node, child: string): Node[] {
  const found = node[child];
  // An element without attributes and children is a string to the parser.
  return Array.isArray(found)
    ? found.map((one) => (typeof one === "string" ? { _: one } : (one as Node)))
    : [];
}

function only(node: Node, child: string): Node {
  const found = list(node, child);
  if (found.length !== 1) throw new SamlFault(`${found.length} times ${child}, where one is needed`);
  return found[0]!;
}

function textOf(node: Node): string {
  return node._ ?? "";
}
