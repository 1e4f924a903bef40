import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { Seal, type SealContext } from "./seal.ts";

const keys = [randomBytes(32), randomBytes(32)] as [Buffer, Buffer];
const seal = new Seal([keys[0]], randomBytes);
const context: SealContext = ["task", "user", "u1"];

describe("sealAlike", () => {
  it("gives the same value for the same plaintext in the same context, on any replica", () => {
    const once = seal.sealAlike("one", context);
    expect(new Seal([keys[0]], randomBytes).sealAlike("one", context).equals(once)).toBe(true);
    expect(seal.openText(once, context)).toBe("one");
    // What `seal` makes differs each time.
    expect(seal.seal("one", context).equals(seal.seal("one", context))).toBe(false);
  });

  it("uses no nonce for two plaintexts, nor for one in two contexts or under two keys", () => {
    const nonce = (value: Buffer) => value.subarray(9, 21).toString("hex");
    const values = [
      seal.sealAlike("one", context),
      seal.sealAlike("two", context),
      seal.sealAlike("one", ["task", "user", "u2"]),
      seal.sealAlike("one", ["task", "useru", "1"]),
      new Seal([keys[1]], randomBytes).sealAlike("one", context),
    ];
    expect(new Set(values.map(nonce)).size).toBe(values.length);
  });

  it("opens nowhere else", () => {
    const value = seal.sealAlike("one", context);
    expect(() => seal.open(value, ["task", "user", "u2"])).toThrow("does not open");
    expect(() => seal.open(value, ["task_cursor", "user", "u1"])).toThrow("does not open");
  });
});
