import { expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { readJson } from "../../test/support/read.ts";
import { DEVICE_GRANT } from "./grant-names.ts";
import { BASE, counts, exchange, type Gateway, refresh, register, setUp } from "./issuer.suite.ts";
import { DAY, errorOf, HOUR, isAlive, refused, tokenBench } from "./token.suite.ts";

onBothDatabases("tokens", (open) => {
  const { withCode, withTokens } = tokenBench(open);

  it("refresh rotates; TK-08 a repeat within the grace gets the same successor", async () => {
    const { gateway, clientId, access_token, refresh_token } = await withTokens();
    gateway.world.advance(HOUR);
    const next = await readJson(await refresh(gateway, clientId, refresh_token));
    expect(next.refresh_token).not.toBe(refresh_token);
    expect(next.expires_in).toBe(DAY / 1000);
    gateway.world.advance(29_000);
    const repeated = await readJson(await refresh(gateway, clientId, refresh_token));
    expect([repeated.access_token, repeated.refresh_token]).toEqual([next.access_token, next.refresh_token]);
    gateway.world.advance(DAY);
    expect(await isAlive(gateway, access_token)).toBe(false);
    expect((await refresh(gateway, clientId, next.refresh_token)).status).toBe(200);
  });

  it("TK-07 twenty refreshes at once: one rotation, the same pair for all", async () => {
    const { gateway, clientId, refresh_token } = await withTokens();
    const replica = gateway.database.kind === "postgres" ? await setUp(open, { beside: gateway }) : gateway;
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, n) => refresh(n % 2 ? replica : gateway, clientId, refresh_token)),
    );
    expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200));
    const pairs = new Set((await Promise.all(answers.map(readJson))).map((pair) => pair.refresh_token));
    expect(pairs.size).toBe(1);
    expect(await counts(gateway)).toMatchObject({ tokens: 4 });
  });

  it("TK-07 five clients with one old token, at three replicas and after a restart: all get the same successor", async () => {
    const { gateway, clientId, refresh_token } = await withTokens();
    const isPostgres = gateway.database.kind === "postgres";
    const replica = () => (isPostgres ? setUp(open, { beside: gateway }) : Promise.resolve(gateway));
    const replicas = [gateway, await replica(), await replica()];
    const answers = await Promise.all(
      Array.from({ length: 5 }, (_, n) => refresh(replicas[n % 3]!, clientId, refresh_token)),
    );
    expect(answers.map(({ status }) => status)).toEqual(Array(5).fill(200));
    // What a process knew is gone; the grace is not.
    gateway.world.advance(20_000);
    answers.push(await refresh(await replica(), clientId, refresh_token));
    const pairs = await Promise.all(answers.map(readJson));
    expect(new Set(pairs.map((pair) => pair.refresh_token)).size).toBe(1);
    expect(new Set(pairs.map((pair) => pair.access_token)).size).toBe(1);
    // One of them goes on; what the others hold is the same, and still counts as their own.
    const [{ refresh_token: successor, access_token: access }] = pairs as [Record<string, string>];
    expect((await refresh(replicas[1]!, clientId, successor!)).status).toBe(200);
    expect((await refresh(replicas[2]!, clientId, successor!)).status).toBe(200);
    // From here on the first one is reuse, wherever it is shown.
    expect(await errorOf(await refresh(replicas[2]!, clientId, refresh_token))).toEqual(refused);
    expect(await isAlive(gateway, access!)).toBe(false);
    expect(await counts(gateway)).toMatchObject({ grants: 0, tokens: 0 });
  });

  it("TK-06 reuse after the grace, after the successor was used, or of a token long retired ends the family", async () => {
    const useAfter: ((gateway: Gateway, clientId: string, first: string) => Promise<string>)[] = [
      async (gateway, clientId, first) => {
        const next = await readJson(await refresh(gateway, clientId, first));
        gateway.world.advance(30_001);
        return next.access_token;
      },
      async (gateway, clientId, first) => {
        const second = await readJson(await refresh(gateway, clientId, first));
        return (await readJson(await refresh(gateway, clientId, second.refresh_token))).access_token;
      },
      async (gateway, clientId, first) => {
        let last = { refresh_token: first, access_token: "" };
        for (let n = 0; n < 4; n++)
          last = await readJson(await refresh(gateway, clientId, last.refresh_token));
        gateway.world.advance(HOUR);
        await gateway.issuer.sweep();
        return last.access_token;
      },
    ];
    for (const use of useAfter) {
      const { gateway, clientId, refresh_token } = await withTokens();
      const latest = await use(gateway, clientId, refresh_token);
      expect(await isAlive(gateway, latest)).toBe(true);
      expect(await errorOf(await refresh(gateway, clientId, refresh_token))).toEqual(refused);
      expect(await isAlive(gateway, latest)).toBe(false);
      expect(await counts(gateway)).toMatchObject({ grants: 0, tokens: 0 });
      const events = await gateway.database.db.selectFrom("audit").select("event").execute();
      expect(events.map(({ event }) => event)).toContain("grant.refresh_reused");
    }
  });

  it("AV-04 a store failure at any statement of a rotation loses nothing: the same token works again", async () => {
    const { gateway, clientId, refresh_token } = await withTokens();
    let statement = 0;
    for (; ; statement++) {
      gateway.faults.left = statement;
      const response = await refresh(gateway, clientId, refresh_token);
      gateway.faults.left = undefined;
      if (response.status === 200) break;
      expect(await errorOf(response)).toEqual([500, "server_error"]);
      expect(await counts(gateway)).toMatchObject({ tokens: 2 });
    }
    expect(statement).toBeGreaterThan(4);
  });

  it("TK-09 TK-10 a refresh token serves its own client, scope and resource only", async () => {
    const { gateway, clientId, refresh_token } = await withTokens();
    const { client_id: c2 } = await readJson(await register(gateway));
    expect(await errorOf(await refresh(gateway, c2, refresh_token))).toEqual(refused);
    const ask = async (more: Record<string, string>) =>
      errorOf(await refresh(gateway, clientId, refresh_token, more));
    expect(await ask({ scope: "mcp admin" })).toEqual([400, "invalid_scope"]);
    expect(await ask({ resource: "https://evil.example/mcp" })).toEqual([400, "invalid_target"]);
    const fine = await refresh(gateway, clientId, refresh_token, { scope: "mcp", resource: `${BASE}/mcp` });
    expect(fine.status).toBe(200);
  });

  it("TK-11 a grant ends after 30 days without use, and after 180 days in any case", async () => {
    const { gateway, clientId, ...first } = await withTokens();
    let last = first.refresh_token;
    for (let day = 0; day < 175; day += 25) {
      gateway.world.advance(25 * DAY);
      last = (await readJson(await refresh(gateway, clientId, last))).refresh_token;
    }
    gateway.world.advance(5 * DAY);
    expect(await errorOf(await refresh(gateway, clientId, last))).toEqual(refused);
    await gateway.issuer.sweep();
    expect(await counts(gateway)).toMatchObject({ grants: 0, tokens: 0 });
    const idle = await withTokens();
    idle.gateway.world.advance(30 * DAY);
    expect(await errorOf(await refresh(idle.gateway, idle.clientId, idle.refresh_token))).toEqual(refused);
  });

  it("grant_max_days 0: no refresh token, and metadata does not name one", async () => {
    const { gateway, got } = await withCode({ settings: { grantMaxMs: 0 } });
    const answer = await readJson(await exchange(gateway, got));
    expect(answer.refresh_token).toBeUndefined();
    const metadata = await readJson(await gateway.call("/.well-known/oauth-authorization-server"));
    expect(metadata.grant_types_supported).toEqual(["authorization_code", DEVICE_GRANT]);
    expect(metadata.scopes_supported).toEqual(["mcp"]);
    gateway.world.advance(DAY);
    expect(await isAlive(gateway, answer.access_token)).toBe(false);
  });
});
