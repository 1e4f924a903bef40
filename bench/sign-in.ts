import { request } from "undici";
import type { Gateway } from "./gateway.ts";

/** The account the gateway starts with. */
export const account = { email: "bench@example.com", password: "a password only for the benchmark" };

/** Well below what one address may guess. */
const ROUNDS = 6;

/** Attack case AD-05: how much longer the slower of two refusals takes, of a wrong password and of an unknown account. */
export async function signInRatio(gateway: Gateway): Promise<number> {
  let [known, unknown] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  for (let round = 0; round < ROUNDS; round += 1) {
    known = Math.min(known, await refusalMs(gateway, account.email));
    unknown = Math.min(unknown, await refusalMs(gateway, "nobody@example.com"));
  }
  return Math.max(known, unknown) / Math.min(known, unknown);
}

async function refusalMs({ origin }: Gateway, email: string): Promise<number> {
  const begin = performance.now();
  const { statusCode, body } = await request(`${origin}/api/session/login`, {
    method: "POST",
    headers: { "content-type": "application/json", origin, "sec-fetch-site": "same-origin" },
    body: JSON.stringify({ email, password: "not the password" }),
  });
  await body.dump();
  if (statusCode !== 401) throw new Error(`sign-in answered ${statusCode}`);
  return performance.now() - begin;
}
