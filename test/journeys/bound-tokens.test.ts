import type { Client } from "@modelcontextprotocol/client";
import { expect, test } from "vitest";
import type { AuthorizationServerOptions } from "../peers/identity-provider.ts";
import { ProofChecker } from "../peers/proof-checker.ts";
import { Management } from "./steps/management.ts";
import { openWithBearer, textOf } from "./steps/mcp-client.ts";
import { startProtectedUpstream } from "./steps/peers.ts";
import { Administrator, assertPage } from "./steps/person.ts";
import { journeys, type Stage } from "./steps/stage.ts";

const whoami = { name: "bound-whoami" };
const HOUR_MS = 60 * 60_000;

/** An upstream that takes only tokens bound to a key, one gateway, one key, and the account that is shared. */
async function office(stage: Stage, wantsNonce: boolean, oauth_config?: object) {
  const proofs = new ProofChecker(wantsNonce);
  const options: AuthorizationServerOptions = { dpopNonce: true, accessTokenTtl: HOUR_MS / 1000 };
  const guarded = stage.keep(
    await startProtectedUpstream(oauth_config ? { ...options, clients: [robot], scopes: ["mcp"] } : options, {
      proofs,
    }),
  );
  const gateway = await stage.gateway(guarded.allow);
  const admin = new Management(gateway.baseUrl, gateway.adminToken);
  const operator = stage.keep(new Administrator());
  await operator.setUp(gateway.setupLink);
  const { provider, upstream } = guarded;
  const created = await admin.createUpstream({
    name: "bound",
    connection_string: upstream.url,
    auth_type: "oauth",
    ...(oauth_config ? { oauth_config } : {}),
  });
  const { value } = await admin.createKey("Alice", [created.mcp_client_id]);
  const client = async (baseUrl = gateway.baseUrl) => stage.keep(await openWithBearer(baseUrl, value));
  return { gateway, admin, operator, provider, upstream, created, proofs, client };
}

const robot = {
  client_id: "robot",
  client_secret: "robot-secret-robot-secret",
  grant_types: ["client_credentials"],
  redirect_uris: [],
  response_types: [],
};

async function connect({ operator, admin, created }: Awaited<ReturnType<typeof office>>): Promise<void> {
  assertPage(await operator.connect(created.authorize_url!));
  await admin.expect(200, "POST", new URL(created.complete_url!).pathname);
}

async function isAlice(client: Client): Promise<void> {
  expect(textOf(await client.callTool(whoami))).toBe("alice");
}

journeys("an upstream that wants tokens bound to a key (DPoP)", (stage) => {
  test.each([[false], [true]])(
    "is called with a fresh proof each time, refreshed with the same key, on every replica (its nonce: %s)",
    async (wantsNonce) => {
      const o = await office(stage, wantsNonce);
      await connect(o);
      // RFC 9449 §10: the code was bound to the key before there was a token.
      expect(o.provider.lastAuthorize?.dpop_jkt).toMatch(/^[\w-]{43}$/);
      const client = await o.client();
      await Promise.all([isAlice(client), isAlice(client), isAlice(client)]);
      const before = o.proofs.ids.length;
      expect(new Set(o.proofs.ids).size).toBe(before);
      const token = o.upstream.calls("tools/call").at(-1)!.headers.authorization;
      expect(token).toMatch(/^DPoP /);

      stage.advance(HOUR_MS - 30_000);
      o.provider.forgetRequests();
      await isAlice(client);
      expect(o.provider.tokenRequests.filter(({ status }) => status === 200)).toHaveLength(1);
      expect(o.upstream.calls("tools/call").at(-1)!.headers.authorization).not.toBe(token);

      if (wantsNonce) {
        // A nonce that ends costs one repetition and nobody notices.
        o.proofs.nonce = "the-next-nonce";
        await isAlice(client);
        expect(o.proofs.fault).toBe("nonce");
      } else expect(o.proofs.fault).toBeUndefined();

      if (stage.kind === "postgres") {
        const replica = await stage.replica(o.gateway);
        await isAlice(
          await o.client(`http://127.0.0.1:${replica.options.port ?? new URL(replica.baseUrl).port}`),
        );
      }
    },
  );

  test("is given to nobody as a bearer token, and asked for again when its server binds no more", async () => {
    const o = await office(stage, false);
    await connect(o);
    const client = await o.client();
    await isAlice(client);
    const shown = JSON.stringify([
      await o.admin.expect(200, "GET", "/api/mcp/clients"),
      await o.admin.expect(200, "GET", `/api/oauth/config/${o.created.oauth_config_id}`),
    ]);
    expect(shown).not.toMatch(/proof_key|dpop_key|BEGIN/);
    for (const { headers } of o.upstream.calls()) expect(headers.authorization ?? "").not.toMatch(/^Bearer/);
  });

  test("is called with the gateway's own token, bound as well", async () => {
    const { client_id, client_secret } = robot;
    const o = await office(stage, true, { client_id, client_secret, grant_type: "client_credentials" });
    const client = await o.client();
    expect(textOf(await client.callTool(whoami))).toBe("robot");
    stage.advance(HOUR_MS);
    expect(textOf(await client.callTool(whoami))).toBe("robot");
    expect(new Set(o.proofs.ids).size).toBe(o.proofs.ids.length);
  });
});
