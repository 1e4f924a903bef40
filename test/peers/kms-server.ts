import { createCipheriv, createDecipheriv, createHash, createHmac, randomBytes } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { text } from "node:stream/consumers";
import { startLoopbackServer } from "./loopback-server.ts";

export const region = "eu-central-1";
export const credentials = {
  AWS_ACCESS_KEY_ID: "AKIDEXAMPLE",
  AWS_SECRET_ACCESS_KEY: "a secret of the tests",
};
export const keyArn = `arn:aws:kms:${region}:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab`;

export interface KmsServer {
  address: string;
  /** The name of an error that it answers with instead; `silence`: nothing at all. */
  instead: { status: number; error: string } | "silence" | undefined;
  asked: { action: string; context: Record<string, string> }[];
  close(): Promise<void>;
}

/**
 * AWS KMS as far as Encrypt and Decrypt go: AWS JSON 1.1, the signature (SigV4) really checked, and the encryption context
 * authenticated with the ciphertext. https://docs.aws.amazon.com/kms/latest/APIReference/
 */
export async function startKmsServer(): Promise<KmsServer> {
  const key = randomBytes(32);
  const server: KmsServer = { address: "", instead: undefined, asked: [], close: async () => {} };
  const { origin, close } = await startLoopbackServer((req, res) => void serve(server, key, req, res));
  server.address = origin;
  server.close = close;
  return server;
}

async function serve(
  server: KmsServer,
  key: Buffer,
  req: IncomingMessage,
  res: ServerResponse,
): Promise<void> {
  const body = await text(req);
  if (server.instead === "silence") return;
  const [status, answer] = server.instead
    ? [server.instead.status, { __type: server.instead.error, message: `it repeats ${body}` }]
    : answerTo(server, key, req, body);
  res.writeHead(status, { "content-type": "application/x-amz-json-1.1" }).end(JSON.stringify(answer));
}

interface Asked {
  KeyId?: string;
  Plaintext?: string;
  CiphertextBlob?: string;
  EncryptionContext?: Record<string, string>;
}

function answerTo(server: KmsServer, key: Buffer, req: IncomingMessage, body: string): [number, object] {
  if (!isSigned(req, body)) return [400, { __type: "InvalidSignatureException" }];
  const action = /^TrentService\.(Encrypt|Decrypt)$/.exec(req.headers["x-amz-target"]?.toString() ?? "")?.[1];
  if (req.method !== "POST" || !action) return [400, { __type: "ValidationException" }];
  const asked = JSON.parse(body) as Asked;
  const context = asked.EncryptionContext ?? {};
  server.asked.push({ action, context });
  if (asked.KeyId !== keyArn) return [400, { __type: "NotFoundException" }];
  const bound = Buffer.from(JSON.stringify(Object.entries(context).toSorted()));
  if (action === "Encrypt") {
    const nonce = randomBytes(12);
    const cipher = createCipheriv("aes-256-gcm", key, nonce).setAAD(bound);
    const sealed = [nonce, cipher.update(asked.Plaintext!, "base64"), cipher.final(), cipher.getAuthTag()];
    return [200, { CiphertextBlob: Buffer.concat(sealed).toString("base64"), KeyId: keyArn }];
  }
  try {
    const bytes = Buffer.from(asked.CiphertextBlob!, "base64");
    const decipher = createDecipheriv("aes-256-gcm", key, bytes.subarray(0, 12)).setAAD(bound);
    decipher.setAuthTag(bytes.subarray(-16));
    const plain = Buffer.concat([decipher.update(bytes.subarray(12, -16)), decipher.final()]);
    return [200, { Plaintext: plain.toString("base64"), KeyId: keyArn }];
  } catch {
    return [400, { __type: "InvalidCiphertextException" }];
  }
}

const hmac = (key: Uint8Array | string, value: string) => createHmac("sha256", key).update(value).digest();
const hash = (value: string) => createHash("sha256").update(value).digest("hex");

/** https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html */
function isSigned(req: IncomingMessage, body: string): boolean {
  const given =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/kms\/aws4_request, ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]+)$/.exec(
      req.headers.authorization ?? "",
    );
  if (!given) return false;
  const [, id, day, where, names, signature] = given as unknown as string[];
  if (id !== credentials.AWS_ACCESS_KEY_ID || where !== region) return false;
  const headers = names!.split(";").map((name) => `${name}:${String(req.headers[name]).trim()}\n`);
  const canonical = [req.method, req.url, "", headers.join(""), names, hash(body)].join("\n");
  const scope = `${day}/${where}/kms/aws4_request`;
  const signed = ["AWS4-HMAC-SHA256", req.headers["x-amz-date"], scope, hash(canonical)].join("\n");
  const secret = `AWS4${credentials.AWS_SECRET_ACCESS_KEY}`;
  const key = [day!, where!, "kms", "aws4_request"].reduce<Uint8Array | string>(
    (last, part) => hmac(last, part),
    secret,
  );
  return hmac(key, signed).toString("hex") === signature;
}
