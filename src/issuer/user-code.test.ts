import { expect, it } from "vitest";
import { testWorld } from "../../test/support/world.ts";
import { newUserCode, readUserCode, shownUserCode, WrongCodes } from "./user-code.ts";

it("RFC8628-6.1 codes are read however they are typed, and every letter of the alphabet comes", () => {
  const world = testWorld();
  const seen = new Set<string>();
  for (let n = 0; n < 200; n++) {
    const code = newUserCode(world);
    expect(code).toMatch(/^[BCDFGHJKLMNPQRSTVWXZ]{8}$/);
    for (const letter of code) seen.add(letter);
    expect(readUserCode(shownUserCode(code))).toBe(code);
    expect(readUserCode(` ${shownUserCode(code).toLowerCase().replace("-", " – ")}\t`)).toBe(code);
  }
  expect(seen.size).toBe(20);
  for (const text of ["", "BCDF", "BCDF-GHJ", "BCDF-GHJK-L", "AEIOUY01", "ﬀ", "İ".repeat(8)])
    expect(readUserCode(text), text).toBeUndefined();
});

it("RFC8628-5.1 a thousand wrong codes from everywhere are enough for ten minutes", () => {
  const world = testWorld();
  const wrong = new WrongCodes(world);
  for (let n = 0; n < 1000; n++) {
    wrong.check();
    wrong.note();
  }
  expect(() => wrong.check()).toThrow(/wrong codes/);
  world.advance(10 * 60_000 - 1);
  expect(() => wrong.check()).toThrow(/wrong codes/);
  world.advance(1);
  wrong.check();
  wrong.note();
  world.advance(9 * 60_000);
  wrong.check();
});
