import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { type Bundle, bundle } from "./bundle.ts";
import { House } from "./house.ts";
import { codeOf, Member, type Tokens } from "./member.ts";
import { Web } from "./web.ts";

const HOUR_MS = 60 * 60_000;
const PATIENCE_MS = 120_000;
let program: Bundle;

beforeAll(async () => {
  program = await bundle(`${import.meta.dirname}/gateway-child.ts`);
}, PATIENCE_MS);

afterAll(() => program?.remove());

/** The provider has replaced the token and has not answered yet. */
async function refreshHeld(house: House): Promise<() => void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  house.provider.held = () => promise;
  await house.gateway.advance(HOUR_MS);
  return resolve;
}

async function arrived(house: House, before: number): Promise<void> {
  await expect.poll(() => house.provider.tokenCalls).toBeGreaterThan(before);
}

async function stillWorks(house: House, member: Member, tokens: Tokens): Promise<void> {
  house.provider.held = undefined;
  await house.gateway.start();
  expect(await member.call(tokens)).toEqual({ text: "ada" });
  expect(house.provider.of("ada")).toHaveLength(1);
}

test.each(["sqlite", "postgres"] as const)(
  "AV-21 a stop finishes what is in progress on %s",
  {
    timeout: PATIENCE_MS,
  },
  async (kind) => {
    // It ends a family whose replaced token comes back: an answer that is lost is a sign-in.
    const house = await House.open({ program, kind, shape: "strict", postgres: inject("postgresUrl") });
    try {
      const member = await Member.withKey(house, "ada");
      const tokens = await member.consent(true);
      await withSubmit(house, member, tokens);
      await withoutCaller(house, member, tokens);
    } finally {
      await house.close();
    }
  },
);

/** A refresh that a call waits for, and a submit. */
async function withSubmit(house: House, member: Member, tokens: Tokens): Promise<void> {
  const release = await refreshHeld(house);
  const other = await Member.withKey(house, "bea");
  const consent = await other.begin();
  await other.identify(consent);
  const before = house.provider.tokenCalls;
  const call = member.call(tokens);
  await arrived(house, before);
  // Refused as the listener closed, or done; never something between.
  const submitted = other.submit(consent).then(codeOf, () => undefined);
  await house.gateway.stop();
  release();
  expect(await call).toEqual({ text: "ada" });
  await house.gateway.gone();
  expect(house.gateway.exitCode).toBe(0);
  const answered = await submitted;
  await stillWorks(house, member, tokens);
  const redeemed = await other.redeem(answered ?? codeOf(await other.submit(consent)), consent);
  expect(redeemed.status).toBe(200);
}

/** A refresh whose caller has gone: nothing holds the listener up, and what the provider says must be stored. */
async function withoutCaller(house: House, member: Member, tokens: Tokens): Promise<void> {
  const release = await refreshHeld(house);
  const before = house.provider.tokenCalls;
  const impatient = new Web(house.base);
  const call = member.call(tokens, "guarded-whoami", impatient).catch(() => undefined);
  await arrived(house, before);
  await impatient.close();
  await call;
  await house.gateway.stop();
  expect(await house.gateway.gone(300)).toBe(false);
  release();
  await house.gateway.gone();
  expect(house.gateway.exitCode).toBe(0);
  await stillWorks(house, member, tokens);
}
