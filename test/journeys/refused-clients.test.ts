import { expect, test } from "vitest";
import { addProtected } from "./steps/main-job.ts";
import { Management } from "./steps/management.ts";
import { linkOf, textOf } from "./steps/mcp-client.ts";
import { startProtectedUpstream } from "./steps/peers.ts";
import { Administrator, assertPage } from "./steps/person.ts";
import { journeys } from "./steps/stage.ts";

const whoami = { name: "protected-whoami" };
const HOUR_MS = 60 * 60_000;

journeys("a provider that does not know the gateway any more", (stage) => {
  test("is registered at again, and the person connects once where grants belong to a client", async () => {
    const { gateway, guarded, person, admin } = await stage.household({ accessTokenTtl: HOUR_MS / 1000 });
    const { provider } = guarded;
    const { client } = await stage.signIn(gateway, person);
    assertPage(await person.connect(linkOf(await client.callTool(whoami), "protected")));
    const row = await admin.onlySession();
    expect(provider.registrations.length).toBe(1);
    provider.withdrawClients();
    stage.advance(HOUR_MS);
    const link = linkOf(await client.callTool(whoami), "protected");
    expect(provider.registrations.length).toBe(2);
    expect(await admin.onlySession({ kind: "token" })).toMatchObject({
      id: row.id,
      status: "needs_reauth",
      status_reason: "client_reregistered",
    });
    assertPage(await person.connect(link));
    expect(textOf(await client.callTool(whoami))).toBe("alice");
    expect(provider.registrations.length).toBe(2);
    expect((await admin.onlySession()).id).toBe(row.id);
  });

  test("and whose client an administrator gave waits for them: nobody connects again", async () => {
    const guarded = stage.keep(await startProtectedUpstream({ accessTokenTtl: HOUR_MS / 1000 }));
    const { provider } = guarded;
    const gateway = await stage.gateway(guarded.allow);
    const admin = new Management(gateway.baseUrl, gateway.adminToken);
    const operator = stage.keep(new Administrator());
    await operator.setUp(gateway.setupLink);
    const { client_id, client_secret } = await registered(provider.issuer, gateway.baseUrl);
    const given = { client_id, client_secret, redirect: "shared" };
    const upstreamId = await addProtected(admin, operator, guarded, { oauth_config: given });
    const key = await admin.createKey("Alice", [upstreamId]);
    const person = stage.person(key.value);
    const { client } = await stage.signIn(gateway, person);
    assertPage(await person.connect(linkOf(await client.callTool(whoami), "protected")));
    const row = await admin.onlySession();

    const change = (secret: string) =>
      admin.expect(200, "PUT", `/api/mcp/client/${upstreamId}`, {
        oauth_config: { ...given, client_secret: secret },
      });
    await change("a-secret-with-a-typing-error");
    stage.advance(HOUR_MS);
    provider.forgetRequests();
    const refused = () => client.callTool(whoami).then(textOf, (error: Error) => error.message);
    expect(await refused()).toMatch(/does not accept this gateway\. An administrator must check/);
    expect(await refused()).toMatch(/nobody needs to connect again/);
    expect(await admin.onlySession()).toMatchObject({
      id: row.id,
      status: "active",
      status_reason: "client_refused",
    });
    stage.advance(61_000);
    await refused();
    const { clients } = await admin.expect(200, "GET", "/api/mcp/clients");
    expect(clients[0].last_failure).toMatchObject({ code: "client_refused" });
    await change(client_secret);
    expect(textOf(await client.callTool(whoami))).toBe("alice");
    const { status_reason } = (await admin.onlySession()) as { status_reason?: string };
    expect(status_reason).toBeUndefined();
  });
});

/** As an administrator does it by hand at the provider. */
async function registered(
  issuer: string,
  baseUrl: string,
): Promise<{ client_id: string; client_secret: string }> {
  const answer = await fetch(`${issuer}/reg`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      redirect_uris: [`${baseUrl}/api/oauth/callback`],
      grant_types: ["authorization_code", "refresh_token"],
      response_types: ["code"],
      token_endpoint_auth_method: "client_secret_basic",
      application_type: "native",
    }),
  });
  expect(answer.status).toBe(201);
  return (await answer.json()) as { client_id: string; client_secret: string };
}
