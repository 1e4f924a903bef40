import type { OpenDatabase } from "../../test/support/databases.ts";
import { readJson } from "../../test/support/read.ts";
import { addKey, consented, exchange, type Gateway, setUp } from "./issuer.suite.ts";

export const MINUTE = 60_000;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;
export const REVOKE = "/api/oauth/per-user/revoke";

/** Ways to a code and to a pair of tokens, at a gateway of its own each. */
export function tokenBench(open: OpenDatabase) {
  async function withCode(changes: Parameters<typeof setUp>[1] = {}) {
    const gateway = await setUp(open, changes);
    const key = await addKey(gateway);
    return { gateway, key, got: await consented(gateway, key.value) };
  }

  async function withTokens(changes: Parameters<typeof setUp>[1] = {}) {
    const { gateway, key, got } = await withCode(changes);
    const answer = await readJson(await exchange(gateway, got));
    return { gateway, key, got, clientId: got.clientId, ...answer } as {
      gateway: Gateway;
      key: { id: string; value: string };
      got: typeof got;
      clientId: string;
      access_token: string;
      refresh_token: string;
    };
  }

  return { withCode, withTokens };
}

export const errorOf = async (response: Response) => [response.status, (await readJson(response)).error];
export const refused = [400, "invalid_grant"];
export const revoke = (gateway: Gateway, fields: Record<string, string>) =>
  gateway.call(REVOKE, { method: "POST", body: new URLSearchParams(fields) });
export const isAlive = async (gateway: Gateway, accessToken: string) =>
  (await gateway.issuer.authenticate(accessToken)).ok;
