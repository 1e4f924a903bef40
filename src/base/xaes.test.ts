import { createCipheriv, createSecretKey } from "node:crypto";
import { expect, it } from "vitest";
import { ValueKeys } from "./xaes.ts";

function xaes(key: Buffer, aad: string): string {
  const values = new ValueKeys(createSecretKey(key));
  const derived = values.of(Buffer.from("ABCDEFGHIJKLMNOPQRSTUVWX"));
  const cipher = createCipheriv("aes-256-gcm", derived.key, derived.nonce).setAAD(Buffer.from(aad));
  const body = [cipher.update("XAES-256-GCM"), cipher.final(), cipher.getAuthTag()];
  return Buffer.concat(body).toString("hex");
}

it("gives the test vectors of XAES-256-GCM, for both values of the top bit", () => {
  expect(xaes(Buffer.alloc(32, 1), "")).toBe("ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271");
  expect(xaes(Buffer.alloc(32, 3), "c2sp.org/XAES-256-GCM")).toBe(
    "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d",
  );
});
