import { createHmac } from "node:crypto";
import fc from "fast-check";
import { expect, it } from "vitest";
import { KeyedHash } from "./index.ts";

it("is HMAC-SHA-256 over purpose and value", () => {
  const purpose = fc.string({ unit: fc.constantFrom(..."abc_") });
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), purpose, fc.string(), (key, word, value) => {
      const expected = createHmac("sha256", key).update(word).update("\0").update(value).digest("base64url");
      expect(new KeyedHash(key).of(word, value)).toBe(expected);
    }),
  );
});
