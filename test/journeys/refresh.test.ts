import { expect, test } from "vitest";
import { linkOf, textOf } from "./steps/mcp-client.ts";
import { assertPage } from "./steps/person.ts";
import { journeys } from "./steps/stage.ts";

const whoami = { name: "protected-whoami" };
const HOUR_MS = 60 * 60_000;

journeys("an expiring token", (stage) => {
  test("is refreshed before use, once, however many calls wait", async () => {
    const { gateway, guarded, person } = await stage.household({ accessTokenTtl: HOUR_MS / 1000 });
    const { provider, upstream } = guarded;
    const signedIn = await stage.signIn(gateway, person);
    const { client } = signedIn;
    const second = await stage.client(gateway, signedIn);
    assertPage(await person.connect(linkOf(await client.callTool(whoami), "protected")));
    expect(textOf(await client.callTool(whoami))).toBe("alice");
    const old = upstream.calls("tools/call").at(-1)?.headers.authorization;
    upstream.forgetRequests();
    provider.forgetRequests();

    stage.advance(HOUR_MS - 30_000);
    const held = provider.holdNextToken();
    const calls = Array.from({ length: 20 }, (_, index) =>
      (index % 2 === 0 ? client : second).callTool(whoami),
    );
    await held.arrived;
    expect(upstream.calls("tools/call")).toEqual([]);
    held.release();
    for (const result of await Promise.all(calls)) expect(textOf(result)).toBe("alice");

    expect(provider.tokenCalls()).toBe(1);
    expect(provider.tokenCalls("refresh_token")).toBe(1);
    const used = new Set(upstream.calls("tools/call").map((call) => call.headers.authorization));
    expect(used.size).toBe(1);
    expect(used).not.toContain(old);
  });

  test("that the upstream refuses early is refreshed and the call repeated by itself", async () => {
    const { gateway, guarded, person } = await stage.household();
    const { client } = await stage.signIn(gateway, person);
    assertPage(await person.connect(linkOf(await client.callTool(whoami), "protected")));
    await client.callTool(whoami);
    // Later, or the gateway would take the refusal for a lag of a token that is a moment old.
    stage.advance(5 * 60_000);
    guarded.provider.withdrawAccessTokens();
    expect(textOf(await client.callTool(whoami))).toBe("alice");
    expect(guarded.provider.tokenCalls("refresh_token")).toBe(1);
  });

  test("whose grant is gone at the provider asks the person again, and the row stays the same", async () => {
    const { gateway, guarded, person, admin } = await stage.household();
    const { client } = await stage.signIn(gateway, person);
    assertPage(await person.connect(linkOf(await client.callTool(whoami), "protected")));
    const row = await admin.onlySession();
    stage.advance(5 * 60_000);
    guarded.provider.withdrawGrants();
    const link = linkOf(await client.callTool(whoami), "protected");
    expect(await admin.onlySession({ kind: "token" })).toMatchObject({ id: row.id, status: "needs_reauth" });
    assertPage(await person.connect(link));
    expect(textOf(await client.callTool(whoami))).toBe("alice");
    expect(await admin.onlySession()).toMatchObject({
      id: row.id,
      created_at: row.created_at,
      status: "active",
    });
  });
});

journeys(
  "an expiring token with two replicas",
  (stage) => {
    test("is refreshed once between them", async () => {
      const { gateway, guarded, person } = await stage.household({ accessTokenTtl: HOUR_MS / 1000 });
      const replica = await stage.replica(gateway);
      const signedIn = await stage.signIn(gateway, person);
      const { client } = signedIn;
      const there = await stage.client(replica, signedIn);
      assertPage(await person.connect(linkOf(await client.callTool(whoami), "protected")));
      for (const one of [client, there]) expect(textOf(await one.callTool(whoami))).toBe("alice");

      stage.advance(HOUR_MS - 30_000);
      const held = guarded.provider.holdNextToken();
      const calls = [client, there, client, there].map((one) => one.callTool(whoami));
      await held.arrived;
      held.release();
      for (const result of await Promise.all(calls)) expect(textOf(result)).toBe("alice");
      expect(guarded.provider.tokenCalls("refresh_token")).toBe(1);
    });
  },
  ["postgres"],
);
