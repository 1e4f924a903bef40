/** Why a message of an identity provider does not count; for the log, never for a page. */
export class SamlFault extends Error {}

const MAX_BYTES = 256 * 1024;
const MAX_DEPTH = 32;
const MAX_ELEMENTS = 5000;

export interface XmlElement {
  /** Without its prefix. */
  name: string;
  parent?: XmlElement;
  depth: number;
  /** As they stand in the text, references unresolved. */
  attributes: ReadonlyMap<string, string>;
}

/** A start, end or empty tag. XML names beyond ASCII do not occur in what we read. */
const TAG =
  /<(\/?)((?:[A-Za-z_][\w.-]*:)?[A-Za-z_][\w.-]*)((?:\s+[A-Za-z_][\w.:-]*\s*=\s*(?:"[^"<]*"|'[^'<]*'))*)\s*(\/?)>/y;
const ATTRIBUTE = /\s+([A-Za-z_][\w.:-]*)\s*=\s*(?:"([^"<]*)"|'([^'<]*)')/gy;
const DECLARATION = /^<\?xml[ \t\r\n][^<>?]{0,100}\?>/;
/** Only what every XML parser knows by itself: without a DTD there are no others. */
const FOREIGN_REFERENCE = /&(?!(?:amp|lt|gt|quot|apos|#[0-9]{1,7}|#x[0-9A-Fa-f]{1,6});)/;

/** The XML of a base64 form field. Throws `SamlFault`. */
export function decodeMessage(base64: string): string {
  const text = base64.replaceAll(/[\t\n\r ]/g, "");
  if (text.length > (MAX_BYTES / 3) * 4) throw new SamlFault("the message is too large");
  const bytes = Buffer.from(text, "base64");
  if (bytes.length === 0 || bytes.toString("base64") !== padded(text)) throw new SamlFault("not base64");
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new SamlFault("the message is not UTF-8");
  }
}

function padded(base64: string): string {
  return base64.replace(/=+$/, "").padEnd(Math.ceil(base64.replace(/=+$/, "").length / 4) * 4, "=");
}

/**
 * Every element of a message, in order, before any XML parser sees it. What a SAML message never needs and parsers
 * disagree about is refused: DOCTYPE and entities (expansion, files), comments (text cut at them), CDATA sections and
 * processing instructions; so is what is deep or large. Throws `SamlFault`.
 */
export function outline(xml: string): XmlElement[] {
  if (xml.length > MAX_BYTES) throw new SamlFault("the message is too large");
  const start = DECLARATION.exec(xml)?.[0].length ?? 0;
  if (xml.includes("<!")) throw new SamlFault("a DOCTYPE, comment or CDATA section");
  if (xml.includes("<?", start)) throw new SamlFault("a processing instruction");
  if (FOREIGN_REFERENCE.test(xml)) throw new SamlFault("a reference to an entity");
  return walk(xml, start);
}

function walk(xml: string, start: number): XmlElement[] {
  const elements: XmlElement[] = [];
  const open: { tag: string; element: XmlElement }[] = [];
  for (let at = xml.indexOf("<", start); at >= 0; at = xml.indexOf("<", TAG.lastIndex)) {
    if (open.length === 0 && xml.slice(elements.length === 0 ? start : TAG.lastIndex, at).trim() !== "")
      throw new SamlFault("text outside the root element");
    TAG.lastIndex = at;
    const match = TAG.exec(xml);
    if (!match) throw new SamlFault("not well-formed XML");
    const [, closing, tag = "", attributes = "", empty] = match;
    if (closing) {
      if (open.pop()?.tag !== tag || attributes !== "" || empty) throw new SamlFault("not well-formed XML");
      continue;
    }
    if (open.length === 0 && elements.length > 0) throw new SamlFault("more than one root element");
    const element: XmlElement = {
      name: tag.slice(tag.indexOf(":") + 1),
      parent: open.at(-1)?.element,
      depth: open.length,
      attributes: readAttributes(attributes),
    };
    elements.push(element);
    if (elements.length > MAX_ELEMENTS) throw new SamlFault("too many elements");
    if (!empty && open.push({ tag, element }) > MAX_DEPTH) throw new SamlFault("nested too deeply");
  }
  if (elements.length === 0 || open.length > 0 || xml.slice(TAG.lastIndex).trim() !== "")
    throw new SamlFault("not well-formed XML");
  return elements;
}

function readAttributes(text: string): Map<string, string> {
  const attributes = new Map<string, string>();
  for (const [, name = "", double, single] of text.matchAll(ATTRIBUTE)) {
    if (attributes.has(name)) throw new SamlFault("an attribute is repeated");
    attributes.set(name, double ?? single ?? "");
  }
  return attributes;
}

/** No SHA-1, no canonicalisation that lets comments stay, no transform that selects something else than its element. */
const ALGORITHMS: Readonly<Record<string, readonly string[]>> = {
  SignatureMethod: [
    "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
    "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512",
    "http://www.w3.org/2007/05/xmldsig-more#sha256-rsa-MGF1",
  ],
  DigestMethod: ["http://www.w3.org/2001/04/xmlenc#sha256", "http://www.w3.org/2001/04/xmlenc#sha512"],
  CanonicalizationMethod: ["http://www.w3.org/2001/10/xml-exc-c14n#"],
  Transform: [
    "http://www.w3.org/2000/09/xmldsig#enveloped-signature",
    "http://www.w3.org/2001/10/xml-exc-c14n#",
  ],
};

/**
 * Holds a response to the one shape that is taken, whatever a parser would make of others (signature wrapping): a Response,
 * in it exactly one Assertion and no other at any depth, signed itself; every signature stands directly in what it signs
 * and names it; every ID once; strong algorithms only. Throws `SamlFault`.
 */
export function requireSignedShape(elements: readonly XmlElement[]): void {
  const [root] = elements;
  if (root?.name !== "Response") throw new SamlFault("not a response");
  if (elements.some(({ name, depth }) => name === "Response" && depth > 0))
    throw new SamlFault("a response inside the response");
  if (elements.some(({ name }) => name === "EncryptedAssertion"))
    throw new SamlFault("the assertion is encrypted");
  const assertions = elements.filter(({ name }) => name === "Assertion");
  if (assertions.length !== 1 || assertions[0]!.parent !== root)
    throw new SamlFault(`${assertions.length} assertions, where exactly one is taken`);
  requireUniqueIds(elements);
  const signatures = elements.filter(({ name }) => name === "Signature");
  if (new Set(signatures.map(({ parent }) => parent)).size !== signatures.length)
    throw new SamlFault("two signatures in one element");
  for (const signature of signatures) requireOwnSignature(elements, signature, [root, assertions[0]!]);
  if (!signatures.some(({ parent }) => parent === assertions[0]))
    throw new SamlFault("the assertion is not signed");
}

function requireUniqueIds(elements: readonly XmlElement[]): void {
  const seen = new Set<string>();
  for (const { attributes } of elements)
    for (const [name, value] of attributes) {
      if (!/^(?:[\w.-]+:)?id$/i.test(name)) continue;
      if (seen.has(value)) throw new SamlFault("an ID stands twice");
      seen.add(value);
    }
}

function requireOwnSignature(
  elements: readonly XmlElement[],
  signature: XmlElement,
  signable: readonly XmlElement[],
): void {
  const { parent } = signature;
  if (!parent || !signable.includes(parent)) throw new SamlFault("a signature in an unexpected place");
  const inside = elements.filter((element) => isInside(element, signature));
  if (inside.some(({ name }) => name === "Object")) throw new SamlFault("an object inside a signature");
  const references = inside.filter(({ name }) => name === "Reference");
  if (references.length !== 1 || references[0]!.attributes.get("URI") !== `#${parent.attributes.get("ID")}`)
    throw new SamlFault("a signature of something else than its element");
  for (const { name, attributes } of inside) {
    const allowed = ALGORITHMS[name];
    const algorithm = attributes.get("Algorithm") ?? "";
    if (allowed && !allowed.includes(algorithm)) throw new SamlFault(`${name} ${algorithm.slice(0, 100)}`);
  }
}

function isInside(element: XmlElement, ancestor: XmlElement): boolean {
  for (let at = element.parent; at; at = at.parent) if (at === ancestor) return true;
  return false;
}
