import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";
import { isIP } from "node:net";

/** A certificate with its key, made on the spot: nothing secret in the repository and no tool on the machine needed. */
export interface Certificate {
  cert: string;
  key: string;
}

export interface Authority extends Certificate {
  issue(names: string[], validity?: Validity): Certificate;
}

interface Validity {
  notBefore?: Date;
  notAfter?: Date;
}

interface Names {
  subject: string;
  issuer: string;
  /** Host names and IPv4 addresses; absent: an authority. */
  hosts?: string[];
}

const ECDSA_SHA256 = der(0x30, oid("2a8648ce3d040302"));

/** A certificate authority for one test. */
export function certificateAuthority(
  subject = `Test CA ${randomBytes(4).toString("hex")}`,
  validity: Validity = {},
): Authority {
  const own = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const issue = (
    names: Names,
    publicKey: KeyObject,
    privateKey: KeyObject,
    valid: Validity,
  ): Certificate => ({
    cert: certificate(names, publicKey, own.privateKey, valid),
    key: privateKey.export({ format: "pem", type: "pkcs8" }).toString(),
  });
  return {
    ...issue({ subject, issuer: subject }, own.publicKey, own.privateKey, validity),
    issue(hosts, valid = {}) {
      const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
      return issue({ subject: hosts[0] ?? "nobody", issuer: subject, hosts }, publicKey, privateKey, valid);
    },
  };
}

/** RFC 5280 §4.1, in DER (X.690). */
function certificate(names: Names, publicKey: KeyObject, issuerKey: KeyObject, validity: Validity): string {
  const { notBefore = new Date("2000-01-01T00:00:00Z"), notAfter = new Date("2120-01-01T00:00:00Z") } =
    validity;
  const spki = publicKey.export({ format: "der", type: "spki" });
  const body = der(
    0x30,
    der(0xa0, der(0x02, Buffer.of(2))),
    der(0x02, Buffer.concat([Buffer.of(1), createHash("sha256").update(spki).digest().subarray(0, 8)])),
    ECDSA_SHA256,
    name(names.issuer),
    der(0x30, time(notBefore), time(notAfter)),
    name(names.subject),
    spki,
    der(0xa3, der(0x30, ...extensions(names.hosts))),
  );
  const signature = sign("sha256", body, issuerKey);
  const whole = der(0x30, body, ECDSA_SHA256, der(0x03, Buffer.of(0), signature));
  const lines = whole.toString("base64").match(/.{1,64}/g)!;
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
}

function extensions(hosts: string[] | undefined): Buffer[] {
  const isAuthority = der(0x01, Buffer.of(0xff));
  // Critical; basicConstraints is 2.5.29.19, subjectAltName 2.5.29.17.
  if (!hosts)
    return [der(0x30, oid("551d13"), der(0x01, Buffer.of(0xff)), der(0x04, der(0x30, isAuthority)))];
  const alternatives = hosts.map((host) =>
    isIP(host) === 4 ? der(0x87, Buffer.from(host.split(".").map(Number))) : der(0x82, Buffer.from(host)),
  );
  return [der(0x30, oid("551d11"), der(0x04, der(0x30, ...alternatives)))];
}

function name(commonName: string): Buffer {
  return der(0x30, der(0x31, der(0x30, oid("550403"), der(0x0c, Buffer.from(commonName)))));
}

/** Years from 2050 on are GeneralizedTime, those before UTCTime (RFC 5280 §4.1.2.5). */
function time(date: Date): Buffer {
  const text = `${date.toISOString().replaceAll(/[-:T]|\.\d+/g, "")}`;
  return date.getUTCFullYear() < 2050 ? der(0x17, Buffer.from(text.slice(2))) : der(0x18, Buffer.from(text));
}

function oid(hex: string): Buffer {
  return der(0x06, Buffer.from(hex, "hex"));
}

function der(tag: number, ...parts: Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const size = content.length.toString(16);
  const long = Buffer.from(size.padStart(size.length + (size.length % 2), "0"), "hex");
  const length = content.length < 0x80 ? Buffer.of(content.length) : Buffer.of(0x80 | long.length, ...long);
  return Buffer.concat([Buffer.of(tag), length, content]);
}

/** A certificate of an RSA key, as SAML providers sign with. */
export function rsaCertificate(subject: string, bits = 2048): Certificate {
  const issuer = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: bits });
  return {
    cert: certificate({ subject, issuer: subject, hosts: [subject] }, publicKey, issuer.privateKey, {}),
    key: privateKey.export({ format: "pem", type: "pkcs8" }).toString(),
  };
}
