import type { JWTPayload } from "jose";
import { expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { readJson } from "../../test/support/read.ts";
import { ADMIN_TOKEN, BASE, counts, register, setUp, somebodyWaits, token } from "./issuer.suite.ts";
import { JWT_BEARER, Signer, trust } from "./machine.suite.ts";
import { errorOf, HOUR, isAlive, MINUTE, refused } from "./token.suite.ts";

const IDP = "https://idp.example";
const TYPE = "oauth-id-jag+jwt";

onBothDatabases("enterprise-managed authorization", (open, kind) => {
  /** A gateway that trusts one provider, a client with a secret, and what the provider says of Ada. */
  async function withIssuer(more: object = {}) {
    const idp = await Signer.make(IDP);
    const issuer = { issuer: IDP, jwks: await idp.jwks(), algorithms: ["ES256"], create_accounts: true };
    const gateway = await setUp(open, { machines: trust({ issuers: [{ ...issuer, ...more }] }) });
    const headers = { authorization: `Bearer ${ADMIN_TOKEN}`, "content-type": "application/json" };
    const created = await gateway.call("/api/oauth2/clients", {
      method: "POST",
      headers,
      body: JSON.stringify({ client_name: "Assistant" }),
    });
    const { client_id: clientId, client_secret: secret } = await readJson(created);
    const basic = { authorization: `Basic ${btoa(`${clientId}:${secret}`)}` };
    let serial = 0;
    const jag = (claims: JWTPayload = {}, header: object = {}, now?: number) =>
      idp.sign(
        {
          jti: `jti ${++serial}`,
          sub: "U-ada",
          aud: BASE,
          resource: `${BASE}/mcp`,
          client_id: clientId,
          ...claims,
        },
        { typ: TYPE, ...header },
        now,
      );
    const bear = (assertion: string, fields: Record<string, string> = {}, by: object = basic) =>
      token(gateway, { grant_type: JWT_BEARER, assertion, ...fields }, by);
    return { gateway, idp, clientId, secret, jag, bear };
  }

  it("enterprise-managed authorization §5 gives a client access in a person's name, once for each assertion, without a refresh token", async () => {
    const { gateway, jag, bear, clientId } = await withIssuer();
    const assertion = await jag({ email: "ada@corp.example", scope: "mcp" });
    const answers = await Promise.all([bear(assertion), bear(assertion), bear(assertion)]);
    expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 400, 400]);
    const got = await readJson(answers.find(({ status }) => status === 200)!);
    expect(got).toEqual({
      access_token: expect.any(String),
      token_type: "Bearer",
      expires_in: 3600,
      scope: "mcp",
    });
    const ada = (await gateway.identities.find(IDP, "U-ada"))!;
    expect(ada).toMatchObject({ email: "ada@corp.example", role: "member" });
    expect(await gateway.issuer.authenticate(got.access_token)).toMatchObject({
      ok: true,
      grant: { owner: { mode: "user", id: ada.id }, clientRowId: clientId, resource: `${BASE}/mcp` },
    });
    // The same person by the next one, and nobody else by another subject.
    expect((await bear(await jag())).status).toBe(200);
    expect((await bear(await jag({ sub: "U-bob" }))).status).toBe(200);
    expect((await gateway.identities.find(IDP, "U-bob"))!.id).not.toBe(ada.id);
    await gateway.users.update(ada.id, { isActive: false });
    expect(await errorOf(await bear(await jag()))).toEqual(refused);
    expect(await isAlive(gateway, got.access_token)).toBe(false);
    // ID-28 what was said of somebody before they were deleted does not bring them back; what is said after does.
    const early = await jag({}, {}, gateway.world.now().getTime() - MINUTE);
    await gateway.users.delete(ada.id);
    expect(await errorOf(await bear(early))).toEqual(refused);
    expect(await gateway.identities.find(IDP, "U-ada")).toBeUndefined();
    // The provider is not trusted any more: what it gave ends with the next start.
    Object.assign(gateway.machines, { issuers: [] });
    await gateway.issuer.endUntrusted();
    expect(await counts(gateway)).toMatchObject({ grants: 0, tokens: 0 });
  });

  it("ID-28 an ID-JAG that meets the deletion of its person leaves nothing of theirs; what it made is audited with its request", async () => {
    const { gateway, jag, bear } = await withIssuer();
    gateway.users.listeners.push({
      deleted: (tx, user) => gateway.issuer.revokeGrantsOf(tx, { owner: { mode: "user", id: user.id } }),
    });
    const [first, second] = [await jag(), await jag({}, {}, gateway.world.now().getTime() - MINUTE)];
    expect((await bear(first)).status).toBe(200);
    const lines = await gateway.database.db.selectFrom("audit").select(["event", "request_id"]).execute();
    for (const event of ["user.created", "identity.linked", "grant.created"])
      expect(lines).toContainEqual({ event, request_id: expect.stringMatching(/^req_/) });
    const ada = (await gateway.identities.find(IDP, "U-ada"))!;
    const begun = Promise.withResolvers<void>();
    let isFirst = true;
    const deleting = gateway.users.delete(ada.id, async (tx) => {
      begun.resolve();
      // SQLite lets the exchange begin when this has ended; where the two block each other, one is done again.
      if (gateway.database.kind === "postgres" && isFirst) await somebodyWaits(tx);
      isFirst = false;
    });
    await begun.promise;
    await Promise.all([bear(second), deleting]);
    expect(await gateway.identities.find(IDP, "U-ada")).toBeUndefined();
    expect(await counts(gateway)).toMatchObject({ grants: 0, tokens: 0 });
  });

  it.runIf(kind === "sqlite")(
    "RFC8725-3.11 ID-15 ID-16 refuses every ID-JAG that is not exactly for us, for this client, and now",
    async () => {
      const { gateway, idp, jag, bear, clientId } = await withIssuer();
      const before = await counts(gateway);
      const stranger = await Signer.make(IDP);
      const now = gateway.world.now().getTime();
      const whole = { jti: "x", sub: "U", aud: BASE, resource: `${BASE}/mcp`, client_id: clientId };
      const cases: Record<string, string> = {
        "another audience": await jag({ aud: "https://other.example" }),
        "another server": await jag({ resource: "https://other.example/mcp" }),
        "two servers": await jag({ resource: [`${BASE}/mcp`, "https://other.example/mcp"] }),
        "no server": await jag({ resource: undefined }),
        "another client": await jag({ client_id: "client_other" }),
        "no client": await jag({ client_id: undefined }),
        "no id": await jag({ jti: undefined }),
        "no subject": await jag({ sub: undefined }),
        "no time": await jag({ iat: undefined as never }),
        "no end": await jag({ exp: undefined as never }),
        expired: await jag({}, {}, now - HOUR),
        "old, and valid for long": await jag({ exp: now / 1000 + 3600 }, {}, now - 20 * MINUTE),
        "of tomorrow": await jag({ exp: now / 1000 + 90_000 }, {}, now + 24 * HOUR),
        "a foreign scope": await jag({ scope: "mcp chat.read" }),
        "no scope of ours": await jag({ scope: "offline_access" }),
        "another key": await stranger.sign(whole, { typ: TYPE }),
        "an unknown key": await stranger.sign(whole, { typ: TYPE, kid: "k2" }),
        "another issuer": await (await Signer.make("https://else.example")).sign(whole, { typ: TYPE }),
      };
      for (const [what, assertion] of Object.entries(cases))
        expect(await errorOf(await bear(assertion)), what).toEqual(refused);
      // A workload's token, or the person's ID token, is none (RFC 8725 §3.11).
      for (const header of [{ typ: "JWT" }, {}])
        expect(await errorOf(await bear(await idp.sign(whole, header)))).toEqual(refused);
      expect(await counts(gateway)).toEqual(before);
      expect(await gateway.database.db.selectFrom("spent_assertions").selectAll().execute()).toEqual([]);
    },
  );

  it.runIf(kind === "sqlite")(
    "only clients with a secret bring one, or those that are named; nobody without an account gets in",
    async () => {
      const { gateway, jag, bear, secret } = await withIssuer({ create_accounts: false });
      const { client_id: self } = await readJson(await register(gateway));
      const own = await jag({ client_id: self });
      expect(await errorOf(await bear(own, { client_id: self }, {}))).toEqual([400, "unauthorized_client"]);
      expect(await errorOf(await bear(await jag(), {}, {}))).toEqual([400, "invalid_request"]);
      const wrong = { client_id: self, client_secret: `${secret}x` };
      expect(await errorOf(await bear(own, wrong, {}))).toEqual([401, "invalid_client"]);
      expect(await errorOf(await bear(await jag()))).toEqual(refused);
      expect(await counts(gateway)).toMatchObject({ grants: 0, tokens: 0 });
      const metadata = await readJson(await gateway.call("/.well-known/oauth-authorization-server"));
      expect(metadata.authorization_grant_profiles_supported).toEqual([
        "urn:ietf:params:oauth:grant-profile:id-jag",
      ]);
      expect(metadata.grant_types_supported).not.toContain("urn:ietf:params:oauth:grant-type:token-exchange");
    },
  );

  it.runIf(kind === "sqlite")(
    "a named public client, another subject claim, a virtual MCP, an address asked for beside",
    async () => {
      const probe = await withIssuer();
      const { client_id: self } = await readJson(await register(probe.gateway));
      Object.assign(
        probe.gateway.machines,
        trust({
          issuers: [
            {
              issuer: IDP,
              jwks: await probe.idp.jwks(),
              algorithms: ["ES256"],
              create_accounts: true,
              client_ids: [self],
              subject_claim: "employee",
            },
          ],
        }),
      );
      const { gateway, jag, bear } = probe;
      const claims = { client_id: self, employee: "4711", resource: `${BASE}/mcp/team` };
      const by = { client_id: self };
      const got = await readJson(await bear(await jag(claims), by, {}));
      expect(await gateway.issuer.authenticate(got.access_token)).toMatchObject({
        grant: { resource: `${BASE}/mcp/team` },
      });
      expect((await gateway.identities.find(IDP, "4711"))?.kind).toBe("person");
      const wider = { ...by, resource: `${BASE}/mcp` };
      expect(await errorOf(await bear(await jag(claims), wider, {}))).toEqual([400, "invalid_target"]);
      const nameless = { client_id: self, resource: `${BASE}/mcp` };
      expect(await errorOf(await bear(await jag(nameless), by, {}))).toEqual(refused);
      expect(await errorOf(await bear(await jag()))).toEqual([400, "unauthorized_client"]);
    },
  );
});
