import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { json } from "node:stream/consumers";
import { startLoopbackServer } from "./loopback-server.ts";

/** What the transit engine of Vault and OpenBao answers: https://developer.hashicorp.com/vault/api-docs/secret/transit */
export interface TransitServer {
  address: string;
  /** What counts as a token from here on. */
  token: string;
  /** What it does instead of answering properly; undefined: nothing. */
  instead: number | "silence" | undefined;
  /** Versions of the key; the last one encrypts. */
  versions: Buffer[];
  asked: { path: string; namespace: string | undefined }[];
  close(): Promise<void>;
}

/** `transit/postern` in the namespace `team`. It really encrypts, and binds `associated_data` as the real one does. */
export async function startTransitServer(token: string): Promise<TransitServer> {
  const server: TransitServer = {
    address: "",
    token,
    instead: undefined,
    versions: [randomBytes(32)],
    asked: [],
    close: async () => {},
  };
  const { origin, close } = await startLoopbackServer((req, res) => void serve(server, req, res));
  server.address = origin;
  server.close = close;
  return server;
}

async function serve(server: TransitServer, req: IncomingMessage, res: ServerResponse): Promise<void> {
  const namespace = req.headers["x-vault-namespace"]?.toString();
  server.asked.push({ path: req.url ?? "", namespace });
  const body = (await json(req)) as Record<string, string>;
  if (server.instead === "silence") return;
  const [status, answer] = server.instead ? [server.instead, {}] : answerTo(server, req, body);
  res.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(answer));
}

function answerTo(
  server: TransitServer,
  { method, url, headers }: IncomingMessage,
  body: Record<string, string>,
): [number, object] {
  if (headers["x-vault-token"] !== server.token) return [403, { errors: ["permission denied"] }];
  if (headers["x-vault-namespace"] !== "team") return [404, { errors: ["no handler for route"] }];
  const [, operation, key] = /^\/v1\/transit\/(encrypt|decrypt)\/([^/]+)$/.exec(url ?? "") ?? [];
  if (method !== "POST" || headers["x-vault-request"] !== "true" || !operation) return [404, { errors: [] }];
  if (key !== "postern") return [400, { errors: ["encryption key not found"] }];
  const bound = Buffer.from(body.associated_data ?? "", "base64");
  try {
    const data =
      operation === "encrypt"
        ? encrypt(server, body.plaintext!, bound)
        : decrypt(server, body.ciphertext!, bound);
    return [200, { request_id: "1", data }];
  } catch {
    return [400, { errors: ["cipher: message authentication failed"] }];
  }
}

function encrypt({ versions }: TransitServer, plaintext: string, bound: Buffer): object {
  const nonce = randomBytes(12);
  const cipher = createCipheriv("aes-256-gcm", versions.at(-1)!, nonce).setAAD(bound);
  const body = [cipher.update(plaintext, "base64"), cipher.final(), cipher.getAuthTag()];
  const text = Buffer.concat([nonce, ...body]).toString("base64");
  return { ciphertext: `vault:v${versions.length}:${text}`, key_version: versions.length };
}

function decrypt({ versions }: TransitServer, ciphertext: string, bound: Buffer): object {
  const [, version, text] = /^vault:v(\d+):(.+)$/.exec(ciphertext)!;
  const bytes = Buffer.from(text!, "base64");
  const key = versions[Number(version) - 1]!;
  const decipher = createDecipheriv("aes-256-gcm", key, bytes.subarray(0, 12)).setAAD(bound);
  decipher.setAuthTag(bytes.subarray(-16));
  const plaintext = Buffer.concat([decipher.update(bytes.subarray(12, -16)), decipher.final()]);
  return { plaintext: plaintext.toString("base64") };
}
