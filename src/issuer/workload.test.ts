import { describe, expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { readJson } from "../../test/support/read.ts";
import { openLog } from "../base/index.ts";
import {
  ADMIN_TOKEN,
  addKey,
  BASE,
  counts,
  type Gateway,
  setUp,
  somebodyWaits,
  token,
} from "./issuer.suite.ts";
import { EXCHANGE, ID_TOKEN, JWT_BEARER, Signer, trust } from "./machine.suite.ts";
import { errorOf, HOUR, isAlive, MINUTE, refused } from "./token.suite.ts";
import { matchRule } from "./workload-rules.ts";

const GITHUB = "https://token.actions.example";
const job = {
  sub: "repo:acme/shop:ref:refs/heads/main",
  repository: "acme/shop",
  ref: "refs/heads/main",
  aud: BASE,
};

async function ruleOf(signer: Signer, more: object = {}) {
  return {
    name: "shop deploys",
    issuer: signer.issuer,
    jwks: await signer.jwks(),
    algorithms: ["ES256"],
    claims: { repository: "acme/shop", ref: ["refs/heads/main", "refs/tags/*"] },
    service_account: "deployer",
    ...more,
  };
}

const addAccount = (gateway: Gateway, name = "deployer") =>
  gateway.database.transaction((tx) => gateway.serviceAccounts.insert(tx, { name }));

const bear = (gateway: Pick<Gateway, "call">, assertion: string, more: Record<string, string> = {}) =>
  token(gateway, { grant_type: JWT_BEARER, assertion, ...more });

const exchange = (gateway: Gateway, subject: string, more: Record<string, string> = {}, headers = {}) =>
  token(
    gateway,
    { grant_type: EXCHANGE, subject_token: subject, subject_token_type: ID_TOKEN, ...more },
    headers,
  );

const audit = (gateway: Gateway) =>
  gateway.database.db.selectFrom("audit").select(["event", "actor", "request_id", "detail_json"]).execute();

/** What the operator sees of the next requests, at the level that is usual. */
function listen(gateway: Gateway): Record<string, unknown>[] {
  const lines: Record<string, unknown>[] = [];
  const log = openLog("info", { write: (line) => void lines.push(JSON.parse(line)) });
  Object.assign(gateway.world, { log });
  return lines;
}

onBothDatabases("workload identity", (open, kind) => {
  async function withRule(more: object = {}, signer?: Signer) {
    const ci = signer ?? (await Signer.make(GITHUB));
    const gateway = await setUp(open, { machines: trust({ rules: [await ruleOf(ci, more)] }) });
    const account = await addAccount(gateway);
    return { ci, gateway, account };
  }

  it("RFC8693-2.2 gives a job the identity its rule names, for an hour, without a client and without a refresh token", async () => {
    const { ci, gateway, account } = await withRule();
    const response = await exchange(gateway, await ci.sign(job));
    expect(response.status).toBe(200);
    const got = await readJson(response);
    expect(got).toEqual({
      access_token: expect.any(String),
      token_type: "Bearer",
      expires_in: 3600,
      scope: "mcp",
      issued_token_type: "urn:ietf:params:oauth:token-type:access_token",
    });
    expect(await gateway.issuer.authenticate(got.access_token)).toMatchObject({
      ok: true,
      grant: { owner: { mode: "user", id: account.id }, resource: `${BASE}/mcp` },
    });
    const sessions = await readJson(
      await gateway.call("/api/oauth2/sessions", { headers: { authorization: `Bearer ${ADMIN_TOKEN}` } }),
    );
    expect(sessions.sessions).toMatchObject([
      { bf_mode: "user", bf_sub_display: "deployer", client_name: `shop deploys: ${job.sub}` },
    ]);
    const line = (await audit(gateway)).find(({ event }) => event === "grant.created");
    expect(line).toMatchObject({ actor: `user:${account.id}`, request_id: expect.stringMatching(/^req_/) });
    expect(JSON.parse(line!.detail_json!)).toMatchObject({
      issuer: GITHUB,
      subject: job.sub,
      rule: "shop deploys",
    });
    // The same job may ask again (RFC 7523 §3, point 7).
    const again = await bear(gateway, await ci.sign(job));
    expect(await readJson(again)).not.toHaveProperty("issued_token_type");
    gateway.world.advance(HOUR);
    expect(await isAlive(gateway, got.access_token)).toBe(false);
    await gateway.issuer.sweep();
    expect(await counts(gateway)).toMatchObject({ grants: 0, tokens: 0 });
  });

  it("ends with the account, with its key, and with the rule", async () => {
    const { ci, gateway, account } = await withRule();
    gateway.users.listeners.push({
      deleted: (tx, user) => gateway.issuer.revokeGrantsOf(tx, { owner: { mode: "user", id: user.id } }),
    });
    const first = await readJson(await bear(gateway, await ci.sign(job)));
    expect(await isAlive(gateway, first.access_token)).toBe(true);
    await gateway.serviceAccounts.delete(account.id);
    expect(await isAlive(gateway, first.access_token)).toBe(false);
    expect(await errorOf(await bear(gateway, await ci.sign(job)))).toEqual(refused);
    await addAccount(gateway);
    const second = await readJson(await bear(gateway, await ci.sign(job)));
    // A start with the same rule leaves it alone, one with another ends it.
    await gateway.issuer.endUntrusted();
    expect(await isAlive(gateway, second.access_token)).toBe(true);
    Object.assign(gateway.machines, trust({ rules: [await ruleOf(ci, { lifetime_minutes: 5 })] }));
    await gateway.issuer.endUntrusted();
    expect(await isAlive(gateway, second.access_token)).toBe(false);
    expect((await readJson(await bear(gateway, await ci.sign(job)))).expires_in).toBe(300);
  });

  it("ID-28 a token that meets the deletion of its account makes nothing for who is gone", async () => {
    const { ci, gateway, account } = await withRule();
    const assertion = await ci.sign(job);
    const begun = Promise.withResolvers<void>();
    const deleting = gateway.serviceAccounts.delete(account.id, async (tx) => {
      begun.resolve();
      // SQLite lets the exchange begin when this has ended.
      if (gateway.database.kind === "postgres") await somebodyWaits(tx);
    });
    await begun.promise;
    const answer = await bear(gateway, assertion);
    await deleting;
    expect(await errorOf(answer)).toEqual(refused);
    expect(await counts(gateway)).toMatchObject({ grants: 0, tokens: 0 });
  });

  it("acts as a virtual key where the rule says so, at one virtual MCP only where it says so", async () => {
    const { ci, gateway } = await withRule({
      service_account: undefined,
      virtual_key: "ci",
      virtual_mcp: "tools",
    });
    const key = await addKey(gateway);
    const got = await readJson(await bear(gateway, await ci.sign(job)));
    expect(await gateway.issuer.authenticate(got.access_token)).toMatchObject({
      grant: { owner: { mode: "vk", id: key.id }, virtualKeyId: key.id, resource: `${BASE}/mcp/tools` },
    });
    const wider = await bear(gateway, await ci.sign(job), { resource: `${BASE}/mcp` });
    expect(await errorOf(wider)).toEqual([400, "invalid_target"]);
    await gateway.keys.update(key.id, { isActive: false });
    expect(await isAlive(gateway, got.access_token)).toBe(false);
    expect(await errorOf(await bear(gateway, await ci.sign(job)))).toEqual(refused);
  });

  it("RFC7523-3 counts once where the rule says so, also of many at a time", async () => {
    const { ci, gateway } = await withRule({ single_use: true });
    const assertion = await ci.sign({ ...job, jti: "run 1" });
    const answers = await Promise.all(Array.from({ length: 4 }, () => bear(gateway, assertion)));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(await errorOf(await bear(gateway, await ci.sign(job)))).toEqual(refused);
    expect(await counts(gateway)).toMatchObject({ grants: 1, tokens: 1 });
  });

  it.runIf(kind === "sqlite")(
    "ID-15 ID-16 refuses what is not for us, not theirs, not now, or not that job, and changes nothing",
    async () => {
      const { ci, gateway } = await withRule();
      const stranger = await Signer.make(GITHUB);
      const other = await Signer.make("https://elsewhere.example");
      const now = gateway.world.now().getTime();
      const [head, body] = (await ci.sign(job)).split(".") as [string, string];
      const none = Buffer.from(JSON.stringify({ alg: "none", typ: "JWT" })).toString("base64url");
      const cases: Record<string, string> = {
        "another audience": await ci.sign({ ...job, aud: "https://other.example" }),
        "no audience": await ci.sign({ ...job, aud: undefined }),
        "another repository": await ci.sign({ ...job, repository: "acme/shop-evil" }),
        "a branch": await ci.sign({ ...job, ref: "refs/heads/main2" }),
        "no claim": await ci.sign({ aud: BASE, repository: "acme/shop" }),
        "a list": await ci.sign({ ...job, repository: ["acme/shop"] }),
        expired: await ci.sign(job, {}, now - HOUR),
        "not yet": await ci.sign({ ...job, nbf: now / 1000 + 600 }),
        "no end": await ci.sign({ ...job, exp: undefined as never }),
        "another key": await stranger.sign(job),
        "an unknown key": await stranger.sign(job, { kid: "k9" }),
        "another issuer": await other.sign(job),
        none: `${none}.${body}.`,
        "no signature": `${head}.${body}.`,
        "an ID-JAG": await ci.sign(job, { typ: "oauth-id-jag+jwt" }),
        "an access token": await ci.sign(job, { typ: "at+jwt" }),
        "no JWT": "hello",
      };
      for (const [what, assertion] of Object.entries(cases)) {
        const word = what === "an ID-JAG" ? "invalid_request" : "invalid_grant";
        expect(await errorOf(await bear(gateway, assertion)), what).toEqual([400, word]);
        const exchanged = await errorOf(await exchange(gateway, assertion));
        expect(exchanged, what).toEqual([400, "invalid_grant"]);
      }
      expect(await counts(gateway)).toMatchObject({ grants: 0, clients: 0, tokens: 0, audit: 0 });
    },
  );

  it.runIf(kind === "sqlite")(
    "says once, with the request, why: the nearest rule and what did not fit",
    async () => {
      const { ci, gateway } = await withRule();
      const lines = listen(gateway);
      await bear(gateway, await ci.sign({ ...job, ref: "refs/heads/topic" }));
      await exchange(gateway, await ci.sign({ ...job, aud: "https://other.example" }));
      expect(lines).toMatchObject([
        {
          msg: "assertion.refused",
          reason: "no_rule",
          nearest_rule: "shop deploys",
          claim: "ref",
          value: "refs/heads/topic",
          issuer: GITHUB,
          subject: job.sub,
          request_id: expect.stringMatching(/^req_/),
        },
        { msg: "assertion.refused", reason: "check_failed_aud", rule: "shop deploys" },
      ]);
      expect(lines).toHaveLength(2);
    },
  );

  it.runIf(kind === "sqlite")(
    "ID-20 says 503 where the issuer's keys cannot be had, and changes nothing",
    async () => {
      const jwks_url = "http://127.0.0.1:1/keys";
      const { ci, gateway } = await withRule({ jwks: undefined, jwks_url });
      const response = await bear(gateway, await ci.sign(job));
      expect(await errorOf(response)).toEqual([503, "temporarily_unavailable"]);
      expect(await counts(gateway)).toMatchObject({ grants: 0, tokens: 0 });
    },
  );

  it.runIf(kind === "sqlite")(
    "RFC7521-4.1 refuses what it does not do, web pages, and a client that cannot prove itself",
    async () => {
      const { ci, gateway } = await withRule();
      const subject = await ci.sign(job);
      for (const more of [
        { subject_token_type: "urn:ietf:params:oauth:token-type:saml2" },
        { actor_token: "x" },
        { requested_token_type: "urn:ietf:params:oauth:token-type:refresh_token" },
        { subject_token: "" },
      ] as Record<string, string>[])
        expect(await errorOf(await exchange(gateway, subject, more))).toEqual([400, "invalid_request"]);
      const target = { audience: "https://other.example" };
      expect(await errorOf(await exchange(gateway, subject, target))).toEqual([400, "invalid_target"]);
      const page = await exchange(gateway, subject, {}, { origin: "https://page.example" });
      expect(await errorOf(page)).toEqual([400, "invalid_request"]);
      const secret = { client_id: "client_x", client_secret: "guessed-secret" };
      expect(await errorOf(await exchange(gateway, subject, secret))).toEqual([401, "invalid_client"]);
      expect((await exchange(gateway, subject, { client_id: "anything", audience: BASE })).status).toBe(200);
      const metadata = await readJson(await gateway.call("/.well-known/oauth-authorization-server"));
      expect(metadata.grant_types_supported).toEqual(expect.arrayContaining([JWT_BEARER, EXCHANGE]));
      expect(metadata).not.toHaveProperty("authorization_grant_profiles_supported");
    },
  );

  it.runIf(kind === "sqlite")(
    "takes Kubernetes-like tokens: the token endpoint as audience, one token for many processes",
    async () => {
      const ci = await Signer.make("https://kubernetes.default.svc.cluster.local", "RS256");
      const { gateway } = await withRule(
        { algorithms: ["RS256"], claims: { sub: "system:serviceaccount:build:runner" } },
        ci,
      );
      const claims = {
        sub: "system:serviceaccount:build:runner",
        aud: [`${BASE}/api/oauth/per-user/token`],
        "kubernetes.io": { namespace: "build" },
      };
      const mounted = await ci.sign({ ...claims, jti: "pod" });
      for (let process = 0; process < 3; process++) expect((await bear(gateway, mounted)).status).toBe(200);
      gateway.world.advance(6 * MINUTE);
      expect(await errorOf(await bear(gateway, mounted))).toEqual(refused);
    },
  );
});

describe("rules of workloads", () => {
  const rules = trust({
    rules: [
      { name: "a", claims: { repository: "acme/a", ref: "refs/heads/main" }, virtual_key: "a" },
      { name: "b", claims: { repository: "acme/*", environment: "prod", run: "1" }, virtual_key: "b" },
    ].map((rule) => ({ issuer: GITHUB, jwks: { keys: [] }, ...rule })),
  }).rules;
  const named = (claims: object) => {
    const matched = matchRule(rules, { iss: GITHUB, ...claims } as never);
    return "rule" in matched ? matched.rule.name : [matched.nearest?.name, matched.claim];
  };

  it("take the first that fits, or say which came nearest and by what it failed", () => {
    expect(named({ repository: "acme/a", ref: "refs/heads/main", environment: "prod", run: 1 })).toBe("a");
    expect(named({ repository: "acme/x", environment: "prod", run: 1 })).toBe("b");
    expect(named({ repository: "acme/x", environment: "prod" })).toEqual(["b", "run"]);
    expect(named({ repository: "acmeX/a" })).toEqual(["a", "repository"]);
    expect(named({ iss: "https://else.example" })).toEqual([undefined, undefined]);
    expect(named({ __proto__: null, constructor: "x" })).toEqual(["a", "repository"]);
  });

  it("must say who may come", () => {
    const rule = { name: "a", issuer: GITHUB, jwks: { keys: [] }, virtual_key: "a" };
    expect(() => trust({ rules: [{ ...rule, claims: {} }] })).toThrow(/every token/);
    expect(() => trust({ rules: [{ ...rule, claims: { sub: "*" } }] })).toThrow(/leave the claim out/);
    expect(() => trust({ rules: [{ ...rule, claims: { sub: "a" }, service_account: "b" }] })).toThrow(
      /one of/,
    );
    expect(() => trust({ rules: [{ ...rule, claims: { sub: "a" }, lifetime_minutes: 61 }] })).toThrow();
    expect(() => trust({ rules: [{ ...rule, claims: { sub: "a" }, jwks: {} }] })).toThrow(/Key Set/);
    const plain = { ...rule, jwks: undefined, jwks_url: "http://issuer.example/keys", claims: { sub: "a" } };
    expect(() => trust({ rules: [plain] })).toThrow(/https/);
  });
});
