import { expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import type { Tx } from "../db/index.ts";
import { checkDefinition, type DefinitionBody } from "./index.ts";
import { AS, behaving, PRM, registering, start } from "./oauth.suite.ts";

onBothDatabases("an upstream that names another authorization server than before", (open) => {
  async function moved(changes: Partial<DefinitionBody> = {}) {
    const { mcp, as } = await behaving();
    const next = (await behaving()).as;
    next.answers["POST /register"] = registering({ client_id: "dcr-2", client_secret: "dcr-secret-2" });
    const { database } = await open();
    const gateway = await start([mcp, as, next], `${mcp.origin}/mcp`, changes, {}, database);
    const { oauth, upstream } = gateway;
    const first = await oauth.prepare(upstream);
    mcp.answers[`${PRM}/mcp`] = { resource: `${mcp.origin}/mcp`, authorization_servers: [next.origin] };
    const followed: object[] = [];
    const follow = async (_tx: Tx, issuers: object) => void followed.push(issuers);
    return { ...gateway, mcp, as, next, first, followed, follow };
  }

  it("UP-18 is used as recorded; somebody who is about to consent is not sent to the new one", async () => {
    const { oauth, upstream, as, next, world } = await moved();
    expect((await oauth.prepare(upstream)).issuer).toBe(as.origin);
    // Asked a moment ago.
    expect((await oauth.current(upstream)).issuer).toBe(as.origin);
    world.advance(61_000);
    await expect(oauth.current(upstream)).rejects.toMatchObject({ kind: "conflict", code: "issuer_changed" });
    expect((await oauth.recorded(upstream))?.issuer).toBe(as.origin);
    expect(next.seen).toEqual([]);
  });

  it("is followed when an administrator asks: registered anew, nothing of the old one used", async () => {
    const { oauth, upstream, as, next, first, followed, follow } = await moved();
    const renewed = await oauth.renew(upstream, follow);
    expect(renewed).toMatchObject({ issuer: next.origin, client: { client_id: "dcr-2" } });
    expect(renewed.clientSecret?.reveal()).toBe("dcr-secret-2");
    expect(renewed.configId).toBe(first.configId);
    expect(followed).toEqual([{ from: as.origin, to: next.origin }]);
    expect(JSON.stringify(next.seen)).not.toMatch(/dcr-1|dcr-secret-1/);
    await oauth.renew(upstream, follow);
    expect(followed).toHaveLength(1);
    expect(next.paths().filter((path) => path === "POST /register")).toHaveLength(1);
  });

  it("is followed by a new registration, with the caller's work in the same transaction", async () => {
    const { oauth, upstream, next, as } = await moved();
    await expect(
      oauth.reregister(upstream, async () => {
        throw new Error("the caller's work failed");
      }),
    ).rejects.toThrow("the caller's work failed");
    expect((await oauth.recorded(upstream))?.issuer).toBe(as.origin);
    let issuer = "";
    await oauth.reregister(upstream, async (_tx, found) => {
      issuer = found;
    });
    expect(issuer).toBe(next.origin);
    expect((await oauth.recorded(upstream))?.issuer).toBe(next.origin);
  });

  it.each([
    { client_id: "mine", client_secret: "given-secret" },
    { revocation_url: "https://as.example/revoke" },
  ])(
    "R9 AD-10 is not followed with what an administrator gave for the old one (%o)",
    async (oauth_config) => {
      const { oauth, upstream, next, follow, as } = await moved({ oauth_config });
      await expect(oauth.renew(upstream, follow)).rejects.toMatchObject({ code: "issuer_changed" });
      expect((await oauth.recorded(upstream))?.issuer).toBe(as.origin);
      expect(JSON.stringify(next.seen)).not.toMatch(/mine|given-secret/);
      expect(next.paths()).not.toContain("POST /register");
    },
  );

  it("is the one before while it is still among those that it names, and while it cannot be asked", async () => {
    const { oauth, upstream, mcp, as, next, follow, followed, world } = await moved();
    mcp.answers[`${PRM}/mcp`] = {
      resource: `${mcp.origin}/mcp`,
      authorization_servers: [next.origin, `${as.origin}/`],
    };
    world.advance(61_000);
    expect((await oauth.current(upstream)).issuer).toBe(as.origin);
    expect((await oauth.renew(upstream, follow)).issuer).toBe(as.origin);
    mcp.answers[`${PRM}/mcp`] = { raw: { status: 200, json: "no object" } };
    world.advance(61_000);
    expect((await oauth.current(upstream)).issuer).toBe(as.origin);
    expect(followed).toEqual([]);
  });
});

onBothDatabases("a registration that is given up", (open) => {
  async function registered(answer: (origin: string) => object) {
    const { mcp, as } = await behaving();
    as.answers["POST /register"] = registering({ client_id: "dcr-1", ...answer(as.origin) });
    const { database } = await open();
    const gateway = await start([mcp, as], `${mcp.origin}/mcp`, {}, {}, database);
    await gateway.oauth.prepare(gateway.upstream);
    const deletions = () => as.seen.filter(({ method }) => method === "DELETE");
    const run = async () => {
      gateway.world.advance(3_600_000);
      await gateway.outbox.run(gateway.database);
    };
    return { ...gateway, mcp, as, deletions, run };
  }
  const manageable = (origin: string) => ({
    registration_client_uri: `${origin}/register/dcr-1`,
    registration_access_token: "reg-token-1",
  });

  it("RFC 7592 §2.3: is ended at the server when its upstream is deleted, and tried until it answers", async () => {
    const { upstreams, upstream, as, deletions, run, audited } = await registered(manageable);
    await upstreams.delete(upstream.id);
    expect(deletions()).toEqual([]);
    as.answers["DELETE /register/dcr-1"] = { raw: { status: 503, json: {} } };
    await run();
    as.answers["DELETE /register/dcr-1"] = { raw: { status: 204 } };
    await run();
    await run();
    expect(deletions().map(({ headers }) => headers.authorization)).toEqual([
      "Bearer reg-token-1",
      "Bearer reg-token-1",
    ]);
    expect(audited).toContainEqual({
      event: "upstream.client_deleted",
      client_id: "dcr-1",
      attempts: 2,
      outcome: "deleted",
    });
  });

  it("is ended when another takes its place, and not when it is kept", async () => {
    const { oauth, upstream, as, deletions, run, upstreams } = await registered(manageable);
    await oauth.renew(upstream, async () => {});
    await run();
    expect(deletions()).toEqual([]);
    as.answers["POST /register"] = registering({ client_id: "dcr-2" });
    as.answers["DELETE /register/dcr-1"] = { raw: { status: 204 } };
    await oauth.reregister(upstream, async () => {});
    await run();
    expect(deletions()).toHaveLength(1);
    // The new one cannot be managed; nothing is sent for it.
    await upstreams.replace(
      upstream.id,
      checkDefinition({ name: "up", connection_string: upstream.url.href, auth_type: "none" }),
    );
    await run();
    expect(deletions()).toHaveLength(1);
  });

  it("UP-13 is not looked for where its server has no say", async () => {
    const elsewhere = await behaving();
    const { upstreams, upstream, run, deletions } = await registered(() => ({
      ...manageable(elsewhere.as.origin),
    }));
    await upstreams.delete(upstream.id);
    await run();
    expect([...deletions(), ...elsewhere.as.seen]).toEqual([]);
  });

  it("waits for the revocations that need it", async () => {
    const { upstreams, upstream, outbox, database, as, deletions, run } = await registered(manageable);
    as.answers["DELETE /register/dcr-1"] = { raw: { status: 204 } };
    let isRevoked = false;
    outbox.handle("revoke_token", { deliver: async () => ({ done: isRevoked, outcome: "status_503" }) });
    await outbox.put(database.db, "revoke_token", upstream.id, {});
    await upstreams.delete(upstream.id);
    await run();
    expect(deletions()).toEqual([]);
    isRevoked = true;
    await run();
    await run();
    expect(deletions()).toHaveLength(1);
  });
});

it("DPoP is chosen where the upstream takes it and its server makes it, or an administrator says so", async () => {
  const bound = async (
    { challenge = "Bearer", prm = {}, as = {} }: { challenge?: string; prm?: object; as?: object },
    dpop?: boolean,
  ) => {
    const peers = await behaving();
    const { mcp } = peers;
    mcp.answers["POST /mcp"] = {
      raw: {
        status: 401,
        headers: {
          "www-authenticate": `${challenge} resource_metadata="${mcp.origin}/.well-known/oauth-protected-resource/mcp"`,
        },
        json: {},
      },
    };
    mcp.answers[`${PRM}/mcp`] = { ...(mcp.answers[`${PRM}/mcp`] as object), ...prm };
    peers.as.answers[AS] = { ...peers.metadata, ...as };
    const { oauth, upstream } = await start([mcp, peers.as], `${mcp.origin}/mcp`, { oauth_config: { dpop } });
    return oauth.prepare(upstream).then(
      ({ proofs }) => proofs,
      ({ code }) => code,
    );
  };
  const able = { dpop_signing_alg_values_supported: ["RS256", "ES256"] };
  const unable = { dpop_signing_alg_values_supported: ["RS256"] };
  const taken = { dpop_signing_alg_values_supported: ["ES256"] };
  const required = { dpop_bound_access_tokens_required: true };
  expect(await bound({ as: able })).toBe(false);
  expect(await bound({ as: able, challenge: "DPoP" })).toBe(true);
  expect(await bound({ as: able, prm: taken })).toBe(true);
  expect(await bound({ as: able, prm: required })).toBe(true);
  expect(await bound({ as: able }, true)).toBe(true);
  expect(await bound({ as: able, prm: required }, false)).toBe(false);
  expect(await bound({ as: unable, challenge: "DPoP" })).toBe(false);
  expect(await bound({ as: unable, prm: required })).toBe("dpop_unsupported");
  expect(await bound({}, true)).toBe("dpop_unsupported");
});

it("registers for what an upstream may want later, and for less where that is too much", async () => {
  const { mcp, as, metadata } = await behaving();
  as.answers[AS] = { ...metadata, scopes_supported: ["read", "write", "admin"] };
  const { oauth, upstream } = await start([mcp, as], `${mcp.origin}/mcp`);
  const asked = () =>
    as.seen.filter(({ path }) => path === "/register").map(({ body }) => JSON.parse(body).scope);
  expect((await oauth.prepare(upstream)).scopes).toEqual(["read"]);
  expect(asked()).toEqual(["read write admin"]);
  const register = registering({ client_id: "dcr-2" });
  as.answers["POST /register"] = (body: string) =>
    JSON.parse(body).scope === "read"
      ? register(body)
      : { raw: { status: 400, json: { error: "invalid_client_metadata" } } };
  await oauth.reregister(upstream, async () => {});
  expect(asked()).toEqual(["read write admin", "read write admin", "read"]);
  expect((await oauth.recorded(upstream))?.client.client_id).toBe("dcr-2");
});
