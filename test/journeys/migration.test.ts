import { expect, test } from "vitest";
import { startAuthorizationServer } from "../peers/identity-provider.ts";
import { eventually } from "./steps/eventually.ts";
import { Management } from "./steps/management.ts";
import { openWithBearer, textOf } from "./steps/mcp-client.ts";
import { startProtectedUpstream } from "./steps/peers.ts";
import { Administrator, assertPage, Person } from "./steps/person.ts";
import { journeys, type Stage } from "./steps/stage.ts";

const whoami = { name: "files-whoami" };

function linkIn({ _meta }: { _meta?: Record<string, unknown> }): string {
  return String((_meta?.mcp_auth_required as { authorize_url?: string } | undefined)?.authorize_url);
}

/** A person with an account at an upstream that is about to name another authorization server. */
async function household(stage: Stage) {
  const guarded = stage.keep(await startProtectedUpstream({ registrationManagement: true }));
  const next = stage.keep(await startAuthorizationServer());
  next.accountForNextLogin = "alice-there";
  const gateway = await stage.gateway([...guarded.allow, new URL(next.issuer).host]);
  const admin = new Management(gateway.baseUrl, gateway.adminToken);
  const operator = stage.keep(new Administrator());
  await operator.setUp(gateway.setupLink);
  const { provider, upstream } = guarded;
  const created = await admin.createUpstream({
    name: "files",
    connection_string: upstream.url,
    auth_type: "per_user_oauth",
  });
  const id: string = created.mcp_client_id;
  assertPage(await operator.connect(created.authorize_url));
  await admin.expect(200, "POST", new URL(created.complete_url).pathname);
  const { value } = await admin.createKey("Alice", [id]);
  const client = stage.keep(await openWithBearer(gateway.baseUrl, value));
  const person = stage.keep(new Person(value));
  assertPage(await person.connect(linkIn(await client.callTool(whoami))));
  expect(textOf(await client.callTool(whoami))).toBe("alice");
  const move = () => {
    upstream.trust(next);
    upstream.editMetadata = (document) => ({ ...document, authorization_servers: [next.issuer] });
    // Asked a moment ago.
    stage.advance(61_000);
  };
  return { gateway, admin, operator, provider, upstream, next, id, client, person, move };
}

journeys("a server that names another authorization server than before", (stage) => {
  test("UP-18 sends nobody there until an administrator says so; then everybody connects once more", async () => {
    const { gateway, admin, operator, provider, next, id, client, person, move } = await household(stage);
    move();
    // What was given by the old one is refused, so the person is asked, once, and not sent to the new one.
    const link = linkIn(await client.callTool(whoami));
    expect(linkIn(await client.callTool(whoami))).toBe(link);
    await person.browser.get(link);
    const refused = await person.browser.submitForm((form) => "vk" in form.fields, { vk: person.key });
    expect(refused.status).toBe(409);
    expect(refused.html).toContain("names another sign-in server");
    const [entry] = (await admin.expect(200, "GET", "/api/mcp/clients")).clients;
    expect(entry.last_failure).toMatchObject({ code: "issuer_changed" });
    expect(Object.values(next.requests).reduce((sum, count) => sum + count, 0)).toBe(0);

    provider.forgetRequests();
    const again = await admin.expect(200, "POST", `/api/mcp/client/${id}/reregister`);
    expect(await admin.sessions()).toEqual([expect.objectContaining({ status: "needs_reauth" })]);
    assertPage(await operator.connect(again.authorize_url));
    assertPage(await person.connect(linkIn(await client.callTool(whoami))));
    expect(textOf(await client.callTool(whoami))).toBe("alice-there");
    expect(next.registrations).toHaveLength(1);
    // R9: nothing that the one gave reached the other.
    expect(next.tokenRequests.map(({ status }) => status)).toEqual(next.tokenRequests.map(() => 200));
    expect(next.revocations).toEqual([]);
    await gateway.runJobs();
    await eventually("the old registration is ended", () => provider.deletions.length === 1);
    const { events } = await admin.expect(200, "GET", "/api/audit?event=upstream.reregistered");
    expect(events).toHaveLength(1);
  });
});
