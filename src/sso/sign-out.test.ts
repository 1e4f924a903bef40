import { afterEach, describe, expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { Hidden } from "../base/index.ts";
import { Closing, inMemory, LANDING, type Pair, signIn, startPair } from "./sso.suite.ts";

const closing = new Closing();
afterEach(() => closing.close());

/** As a provider sends it: no browser, no cookie. */
async function say({ base }: Pair, token: string): Promise<[number, string | undefined]> {
  const body = new URLSearchParams({ logout_token: token });
  const answer = await fetch(`${base}/login/sso/corp/backchannel-logout`, { method: "POST", body });
  const text = await answer.text();
  return [answer.status, text === "" ? undefined : (JSON.parse(text) as { error: string }).error];
}

onBothDatabases("back-channel log-out", (open) => {
  it("ends the session it names, or all of the person, at this provider only; once", async () => {
    const gateway = await startPair(open, closing);
    const { provider, base, browser, audited } = gateway;
    const [one, two] = [browser(), browser()];
    for (const [tab, sid] of [
      [one, "sid-1"],
      [two, "sid-2"],
    ] as const) {
      provider.claims = { sub: "sub-ada", email: "ada@example.com", name: "Ada", sid };
      await signIn(tab, base);
    }
    const isIn = async (tab: typeof one) => (await tab.get(base + LANDING)).url.pathname === LANDING;
    const first = await provider.logoutToken({ sub: "sub-ada", sid: "sid-1" });
    expect(await say(gateway, first)).toEqual([200, undefined]);
    expect([await isIn(one), await isIn(two)]).toEqual([false, true]);
    expect(await say(gateway, first)).toEqual([400, "invalid_request"]);
    expect(await say(gateway, await provider.logoutToken({ sub: "somebody-else" }))).toEqual([
      200,
      undefined,
    ]);
    expect(await isIn(two)).toBe(true);
    expect(await say(gateway, await provider.logoutToken({ sub: "sub-ada" }))).toEqual([200, undefined]);
    expect(await isIn(two)).toBe(false);
    const ended = (await audited()).filter(({ event }) => event === "session.ended");
    expect(ended).toHaveLength(2);
  });
});

describe("a logout token", () => {
  it("that is not one, or not for us, ends nothing", async () => {
    const gateway = await startPair(inMemory(closing), closing);
    const { provider, base, browser } = gateway;
    const tab = browser();
    provider.claims = { sub: "sub-ada", name: "Ada", email: "ada@example.com", sid: "sid-1" };
    await signIn(tab, base);
    const sub = "sub-ada";
    const foreign = await provider.tokens.addKey(undefined, { publish: false });
    const idToken = await provider.tokens.sign({ aud: "gateway-client", sub, nonce: "n", jti: "j" });
    for (const token of [
      await provider.logoutToken({ sub, nonce: "n" }),
      await provider.logoutToken({ sub, events: {} }),
      await provider.logoutToken({
        sub,
        events: { "http://schemas.openid.net/event/backchannel-logout": 1 },
      }),
      await provider.logoutToken({ sub, jti: undefined }),
      await provider.logoutToken({ sub, aud: "another" }),
      await provider.logoutToken({ sub, iss: "https://evil.example" }),
      await provider.logoutToken({ sub, exp: 1 }),
      await provider.logoutToken({ sub, iat: Math.floor(Date.now() / 1000) - 3600 }),
      await provider.logoutToken({}),
      await provider.logoutToken({ sub }, { header: { typ: "JWT" } }),
      await provider.logoutToken({ sub }, { key: foreign }),
      idToken,
      "no token",
    ])
      expect(await say(gateway, token)).toEqual([400, "invalid_request"]);
    const nobody = await fetch(`${base}/login/sso/nobody/backchannel-logout`, {
      method: "POST",
      body: new URLSearchParams({ logout_token: idToken }),
    });
    expect(nobody.status).toBe(404);
    expect((await tab.get(base + LANDING)).url.pathname).toBe(LANDING);
  });
});

describe("signing out here", () => {
  it("goes on to the provider with what it wants to see (RP-Initiated Logout §2), and not where it has no such place", async () => {
    const gateway = await startPair(inMemory(closing), closing);
    const { sso, base, provider, world } = gateway;
    const ended = { userId: "u", provider: "sso:corp", idToken: new Hidden("an.id.token") };
    const url = (await sso.afterSignOut(ended))!;
    expect(url.origin + url.pathname).toBe(`${provider.issuer}/end-session`);
    expect(Object.fromEntries(url.searchParams)).toEqual({
      id_token_hint: "an.id.token",
      client_id: "gateway-client",
      post_logout_redirect_uri: `${base}/login/sso/corp/signed-out`,
    });
    expect(await (await fetch(url.searchParams.get("post_logout_redirect_uri")!)).text()).toContain(
      "signed out",
    );
    // A hint too long for an address is left out.
    const long = await sso.afterSignOut({ ...ended, idToken: new Hidden("x".repeat(5_000)) });
    expect(long!.searchParams.has("id_token_hint")).toBe(false);
    expect(await sso.afterSignOut({ userId: "u" })).toBeUndefined();
    expect(await sso.afterSignOut({ userId: "u", provider: "sso:gone" })).toBeUndefined();
    provider.editMetadata = (document) => delete document.end_session_endpoint;
    world.advance(11 * 60_000);
    expect(await sso.afterSignOut(ended)).toBeUndefined();
  });

  it("works when the provider is away", async () => {
    const gateway = await startPair(inMemory(closing), closing);
    await gateway.provider.close();
    expect(await gateway.sso.afterSignOut({ userId: "u", provider: "sso:corp" })).toBeUndefined();
  });
});
