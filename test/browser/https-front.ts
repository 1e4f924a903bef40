import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, connect, type Socket } from "node:net";
import { createServer } from "node:tls";

/** `https` in front of a server that speaks plain HTTP on loopback, as a reverse proxy is in front of a gateway. */
export interface HttpsFront {
  /** `https://127.0.0.1:<port>`, without a slash at the end. */
  origin: string;
  /** Sends every connection from now on to this port of 127.0.0.1. */
  leadTo(port: number): void;
  close(): Promise<void>;
}

/** The certificate is made for the occasion and trusted by nobody: the browser must be told to ignore that. */
export async function startHttpsFront(): Promise<HttpsFront> {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const open = new Set<Socket>();
  let target = 0;
  const server = createServer(
    {
      key: pem("PRIVATE KEY", privateKey.export({ type: "pkcs8", format: "der" })),
      cert: selfSigned(privateKey, publicKey),
    },
    (socket) => {
      const behind = connect(target, "127.0.0.1");
      for (const [one, other] of [
        [socket, behind],
        [behind, socket],
      ] as const) {
        open.add(one);
        one.on("error", () => other.destroy());
        one.on("close", () => {
          open.delete(one);
          other.destroy();
        });
        one.pipe(other);
      }
    },
  );
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    origin: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    leadTo: (port) => {
      target = port;
    },
    close: async () => {
      for (const socket of open) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

/** The smallest certificate there is: X.509 version 1 (RFC 5280 §4.1), without any extension. */
function selfSigned(privateKey: KeyObject, publicKey: KeyObject): string {
  const ecdsaWithSha256 = der(0x30, Buffer.from("06082a8648ce3d040302", "hex"));
  const commonName = der(0x30, Buffer.from("0603550403", "hex"), der(0x0c, Buffer.from("postern test")));
  const name = der(0x30, der(0x31, commonName));
  const validity = der(
    0x30,
    der(0x17, Buffer.from("200101000000Z")),
    der(0x17, Buffer.from("491231235959Z")),
  );
  const key = publicKey.export({ type: "spki", format: "der" });
  const body = der(0x30, der(0x02, Buffer.from([1])), ecdsaWithSha256, name, validity, name, key);
  const signature = sign("sha256", body, privateKey);
  return pem("CERTIFICATE", der(0x30, body, ecdsaWithSha256, der(0x03, Buffer.from([0]), signature)));
}

function der(tag: number, ...parts: Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  const size = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 255];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}

function pem(label: string, content: Buffer): string {
  const lines = content.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}
