import { expect, it } from "vitest";
import { testSettings } from "../../test/support/settings.ts";
import { testWorld } from "../../test/support/world.ts";
import { KeyedHash } from "../base/index.ts";
import { RateLimits } from "../http/index.ts";
import { GuessLimits } from "./guess-limits.ts";

const email = "ada@example.com";
const HOUR = 60 * 60_000;

function setUp() {
  const world = testWorld();
  const parts = {
    limits: new RateLimits(world),
    hash: new KeyedHash(world.random(32)),
    settings: testSettings(),
  };
  const guesses = new GuessLimits(parts);
  const own = new Request("http://localhost:8080/login", {
    headers: { cookie: guesses.known(email)[1].split(";")[0]! },
  });
  const strange = new Request("http://localhost:8080/login");
  /** How many of `times` wrong guesses were let through, `address` telling from where. */
  const wrong = (times: number, address: (guess: number) => string, request = strange, at = email) => {
    let through = 0;
    for (let guess = 0; guess < times; guess++) {
      try {
        guesses.password({ email: at, address: address(guess), request });
        through += 1;
      } catch (error) {
        expect(error).toMatchObject({ code: "rate_limited", kind: "too_many" });
      }
    }
    return through;
  };
  return { world, guesses, own, strange, wrong };
}

it("AD-05 a thousand wrong passwords: ten from one address, a hundred from all, and nobody is locked out for ever", () => {
  const { world, own, wrong } = setUp();
  expect(wrong(1000, () => "192.0.2.1")).toBe(10);
  expect(wrong(1000, (guess) => `198.51.100.${guess}`)).toBe(90);
  // Whose account it is signs in all the same, in a browser that was theirs before.
  expect(wrong(1, () => "192.0.2.1", own)).toBe(1);
  // Other accounts are not concerned, whether they exist or not.
  expect(wrong(1, () => "192.0.2.1", undefined, "bob@example.com")).toBe(1);
  world.advance(HOUR);
  expect(wrong(1, () => "192.0.2.1")).toBe(1);
});

it("a browser's cookie is for its person only, and its guesses are limited too", () => {
  const { own, wrong } = setUp();
  expect(wrong(30, () => "192.0.2.1", own)).toBe(20);
  expect(wrong(1000, (guess) => `198.51.100.${guess}`, own, "bob@example.com")).toBe(100);
});

it("who was right has not guessed; wrong codes are counted apart", () => {
  const { guesses, strange } = setUp();
  for (let signIn = 0; signIn < 200; signIn++) {
    guesses.password({ email, address: "192.0.2.1", request: strange })();
    guesses.code({ email, request: strange })();
  }
  for (let guess = 0; guess < 10; guess++) guesses.code({ email, request: strange });
  expect(() => guesses.code({ email, request: strange })).toThrow(/Too many/);
  guesses.password({ email, address: "192.0.2.1", request: strange });
});
