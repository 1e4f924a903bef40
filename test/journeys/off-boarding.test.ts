import { expect, test } from "vitest";
import { Dashboard } from "./steps/dashboard.ts";
import { eventually } from "./steps/eventually.ts";
import { Management } from "./steps/management.ts";
import { linkOf, openWithBearer, statusFor, textOf } from "./steps/mcp-client.ts";
import { Administrator, assertPage } from "./steps/person.ts";
import { type Household, journeys, type Stage, type TestGateway } from "./steps/stage.ts";
import { listening, standing } from "./steps/streams.ts";

const whoami = { name: "protected-whoami" };
const KEYS = "/api/governance/virtual-keys";
/** Contract section 4: dead within one second on every replica. */
const AT_MOST_MS = 1_000;
const email = "grace@example.com";
const password = "a jumble of hopper words 7";

const userBody = {
  schemas: ["urn:ietf:params:scim:schemas:core:2.0:User"],
  userName: email,
  externalId: "directory-7",
  displayName: "Grace",
  active: true,
};

/** A directory with a token that may do nothing else. */
async function openDirectory({ admin, gateway }: Pick<Household, "admin" | "gateway">) {
  const made = await admin.expect(200, "POST", "/api/tokens", { name: "directory", scopes: ["write:scim"] });
  const directory = new Management(gateway.baseUrl, made.token.value);
  expect((await directory.send("GET", "/api/users")).status).toBe(403);
  const make = async (): Promise<string> =>
    (await directory.expect(201, "POST", "/scim/v2/Users", userBody)).id;
  const activate = (id: string, active: boolean) =>
    directory.expect(200, "PATCH", `/scim/v2/Users/${id}`, {
      Operations: [{ op: "Replace", path: "active", value: active ? "True" : "False" }],
    });
  return { directory, make, activate };
}

/** Somebody with everything a person can have: a browser, a key, a token, a client with a grant, an account at the upstream. */
async function settle(stage: Stage, at: Household, id: string) {
  const { admin, gateway, upstreamId } = at;
  const configs = { mcp_configs: [{ mcp_client_id: upstreamId, tools_to_execute: ["*"] }] };
  await admin.expect(200, "PUT", `/api/users/${id}`, configs);
  const { url } = await admin.expect(200, "POST", `/api/users/${id}/recovery-link`);
  const person = stage.keep(new Administrator());
  await person.browser.get(url);
  assertPage(await person.browser.submitForm("/password", { password }), "/");
  const { client, oauth } = await stage.signIn(gateway, person);
  assertPage(await person.connect(linkOf(await client.callTool(whoami), "protected")));
  const { virtual_key: key } = await admin.expect(200, "POST", KEYS, {
    name: "own",
    user_id: id,
    ...configs,
  });
  return { person, key: key.value as string, grant: oauth.saved?.access_token ?? "" };
}

async function signedInAt(gateway: TestGateway): Promise<Dashboard> {
  const dashboard = new Dashboard(gateway.baseUrl);
  expect((await dashboard.signIn(email, password)).status).toBe(200);
  return dashboard;
}

journeys(
  "off-boarding on two replicas",
  (stage) => {
    test("ID-28 switched off by the directory: out within a second everywhere, and back with everything", async () => {
      const at = await stage.household();
      const replica = await stage.replica(at.gateway);
      const { make, activate } = await openDirectory(at);
      const id = await make();
      const { key, grant } = await settle(stage, at, id);
      const dashboard = await signedInAt(replica);
      const mine = await dashboard.expect(200, "POST", "/api/tokens", { name: "mine", scopes: ["read"] });
      const token = new Management(replica.baseUrl, mine.token.value);
      const statuses = async () => [
        await statusFor(replica.baseUrl, grant),
        await statusFor(replica.baseUrl, key),
        (await token.send("GET", "/api/session")).status,
        (await dashboard.send("GET", "/api/session")).status,
      ];
      expect(await statuses()).toEqual([200, 200, 200, 200]);
      const streams = [await listening(replica.baseUrl, grant), await standing(replica.baseUrl, key)];

      await activate(id, false);
      const off = performance.now();
      await Promise.all(streams.map((events) => events.rest()));
      expect(performance.now() - off).toBeLessThan(AT_MOST_MS);
      await eventually(
        "nothing of the person works at the other replica",
        async () => (await statuses()).every((status) => status === 401),
        AT_MOST_MS,
      );
      expect((await new Dashboard(replica.baseUrl).signIn(email, password)).status).toBe(401);
      // Rows stay (contract section 2).
      expect(await at.admin.onlySession({ kind: "token" })).toMatchObject({
        auth_mode: "user",
        status: "active",
      });

      await activate(id, true);
      await eventually(
        "everything works again",
        async () => (await statuses()).every((status) => status === 200),
        AT_MOST_MS,
      );
      const client = stage.keep(await openWithBearer(replica.baseUrl, key));
      expect(textOf(await client.callTool(whoami))).toBe("alice");
    });

    test("ID-28 deleted by the directory: gone within a second everywhere, providers told, a namesake inherits nothing", async () => {
      const at = await stage.household();
      const { admin, gateway, guarded } = at;
      const replica = await stage.replica(gateway);
      const { directory, make } = await openDirectory(at);
      const id = await make();
      const { key, grant } = await settle(stage, at, id);
      const dashboard = await signedInAt(replica);
      const group = await directory.expect(201, "POST", "/scim/v2/Groups", {
        displayName: "Crew",
        members: [{ value: id }],
      });
      const { service_account: machine } = await admin.expect(200, "POST", "/api/service-accounts", {
        name: "nightly",
        manager_id: id,
      });
      const stream = await listening(replica.baseUrl, grant);

      await directory.expect(204, "DELETE", `/scim/v2/Users/${id}`);
      const deleted = performance.now();
      await stream.rest();
      expect(performance.now() - deleted).toBeLessThan(AT_MOST_MS);
      await eventually(
        "nothing of the person works at the other replica",
        async () =>
          (await statusFor(replica.baseUrl, grant)) === 401 &&
          (await statusFor(replica.baseUrl, key)) === 401 &&
          (await dashboard.send("GET", "/api/session")).status === 401,
        AT_MOST_MS,
      );
      expect(await admin.sessions()).toEqual([]);
      expect((await admin.expect(200, "GET", "/api/oauth2/sessions")).sessions).toEqual([]);
      expect(await directory.expect(200, "GET", `/scim/v2/Groups/${group.id}`)).not.toHaveProperty("members");
      // What they looked after goes on, and is the administrators' now.
      const { service_account: left } = await admin.expect(200, "GET", `/api/service-accounts/${machine.id}`);
      expect(left).toMatchObject({ name: "nightly", is_active: true });
      expect(left.manager_id ?? null).toBeNull();
      await gateway.runJobs();
      await expect.poll(() => guarded.provider.revocations.length).toBeGreaterThan(0);

      const again = await make();
      expect(again).not.toBe(id);
      expect((await new Dashboard(replica.baseUrl).signIn(email, password)).status).toBe(401);
      expect(await statusFor(replica.baseUrl, grant)).toBe(401);
      const { user } = await admin.expect(200, "GET", `/api/users/${again}`);
      expect(user).toMatchObject({ mcp_configs: [], has_password: false });
      expect(await directory.expect(200, "GET", `/scim/v2/Users/${again}`)).not.toHaveProperty("groups");
    });
  },
  ["postgres"],
);

journeys("what is under way when a person is deleted", (stage) => {
  test("ID-26 ID-28 a callback stores nothing, and what the provider gave meanwhile is revoked there", async () => {
    const at = await stage.household();
    const { gateway, guarded } = at;
    const { provider } = guarded;
    const { directory, make } = await openDirectory(at);
    const id = await make();
    const { person } = await settle(stage, at, id);
    const [row] = await at.admin.sessions({ kind: "token" });
    const path = new URL(`/api/mcp/sessions/${row!.id}/reauth`, gateway.baseUrl);
    const { authorize_url } = JSON.parse((await person.browser.submit(path, {})).html);
    provider.forgetRequests();
    const held = provider.holdNextToken("after");
    assertPage(await person.browser.get(authorize_url));
    const coming = person.browser.submitForm((form) => form.method === "post" && "flow" in form.fields);
    await held.arrived;
    await directory.expect(204, "DELETE", `/scim/v2/Users/${id}`);
    held.release();
    expect((await coming).status).toBeGreaterThanOrEqual(400);
    expect(await at.admin.sessions()).toEqual([]);
    await gateway.runJobs();
    // The credential there was, and the one that came too late.
    await expect.poll(() => provider.revocations.length).toBeGreaterThanOrEqual(2);
  });
});
