import type { Client } from "@modelcontextprotocol/client";
import { expect, test } from "vitest";
import { eventually } from "./steps/eventually.ts";
import { linkOf, openWithBearer, statusFor, textOf } from "./steps/mcp-client.ts";
import { assertPage } from "./steps/person.ts";
import { type Household, journeys, type Stage } from "./steps/stage.ts";

const MCPS = "/api/mcp/virtual-mcps";
const KEYS = "/api/governance/virtual-keys";
const whoami = { name: "protected-whoami" };
const ops = { path: "/mcp/ops" };
/** Contract section 4: dead within one second on every replica. */
const AT_MOST_MS = 1_000;

/** A household with a virtual MCP "ops" that offers one tool of the upstream to the key. */
async function withOps(stage: Stage) {
  const house = await stage.household();
  const { virtual_mcp } = await house.admin.expect(200, "POST", MCPS, {
    slug: "ops",
    name: "Operations",
    description: "What operations share.",
    tools: [{ mcp_client_name: "protected", tools_to_execute: ["whoami"] }],
    virtual_key_ids: [house.key.id],
  });
  return { ...house, mcpId: virtual_mcp.id as string };
}

const tokenOf = ({ oauth }: { oauth: { saved?: { access_token: string } } }) =>
  oauth.saved?.access_token ?? "";

/** What upstreams offer; beside it stands what offers a person a way to connect. */
const toolsOf = async (client: Client) =>
  (await client.listTools()).tools.map((tool) => tool.name).filter((name) => !name.startsWith("connect_"));

const discovered = async ({ gateway }: Household, path: string) => {
  const answer = await fetch(new URL(path, gateway.baseUrl), { method: "POST", body: "{}" });
  const [, metadata] = /resource_metadata="([^"]+)"/.exec(answer.headers.get("www-authenticate") ?? "") ?? [];
  return { status: answer.status, document: await (await fetch(metadata!)).json() };
};

journeys("a virtual MCP", (stage) => {
  test("is found, signed in to and used by the official client at its own address", async () => {
    const house = await withOps(stage);
    const { gateway, person } = house;
    expect(await discovered(house, "/mcp/ops")).toMatchObject({
      status: 401,
      document: { resource: `${gateway.baseUrl}/mcp/ops`, authorization_servers: [gateway.baseUrl] },
    });
    const { client, oauth } = await stage.signIn(gateway, person, ops);
    expect(oauth.authorizationUrl?.searchParams.get("resource")).toBe(`${gateway.baseUrl}/mcp/ops`);
    expect(client.getServerVersion()).toMatchObject({ name: "postern", title: "Operations" });
    expect(client.getInstructions()).toBe("What operations share.");
    expect(await toolsOf(client)).toEqual([whoami.name]);
    assertPage(await person.connect(linkOf(await client.callTool(whoami), "protected")));
    expect(textOf(await client.callTool(whoami))).toBe("alice");
    await expect(client.callTool({ name: "protected-slow" })).rejects.toThrow(/Unknown tool/);
  });

  test("its token counts there alone; one for /mcp counts at every slug of its identity", async () => {
    const house = await withOps(stage);
    const { gateway, person, admin, key } = house;
    const made = { slug: "second", name: "Second", tools: [{ mcp_client_name: "protected" }] };
    await admin.expect(200, "POST", MCPS, { ...made, virtual_key_ids: [key.id] });
    await admin.expect(200, "POST", MCPS, { ...made, slug: "foreign", name: "Foreign" });
    const own = tokenOf(await stage.signIn(gateway, person, ops));
    const whole = tokenOf(await stage.signIn(gateway, person));
    const statuses = (bearer: string) =>
      Promise.all(
        ["/mcp", "/mcp/ops", "/mcp/second", "/mcp/foreign", "/mcp/none"].map((path) =>
          statusFor(gateway.baseUrl, bearer, path),
        ),
      );
    expect(await statuses(own)).toEqual([401, 200, 401, 401, 401]);
    expect(await statuses(whole)).toEqual([200, 200, 200, 404, 404]);
    expect(await statuses(key.value)).toEqual([200, 200, 200, 404, 404]);
    expect(await statuses("pst_guess")).toEqual([401, 401, 401, 401, 401]);
  });

  test("narrows what a token for /mcp and a key see, and follows what changes", async () => {
    const { gateway, person, key, admin, mcpId, upstreamId } = await withOps(stage);
    const { oauth, client } = await stage.signIn(gateway, person);
    const everything = await toolsOf(client);
    expect(everything.length).toBeGreaterThan(1);
    const narrowed = await stage.client(gateway, { oauth }, ops);
    // The newer client keeps a list for ten seconds.
    const older = { ...ops, era: "legacy" } as const;
    const byKey = stage.keep(await openWithBearer(gateway.baseUrl, key.value, older));
    for (const one of [narrowed, byKey]) expect(await toolsOf(one)).toEqual([whoami.name]);
    await admin.expect(200, "PUT", `${MCPS}/${mcpId}`, { tools: [{ mcp_client_name: "protected" }] });
    expect(await toolsOf(byKey)).toEqual(everything);
    await admin.allowKey(key.id, []);
    expect((await byKey.listTools()).tools).toEqual([]);
    await admin.allowKey(key.id, [upstreamId]);
    expect(await toolsOf(byKey)).toEqual(everything);
  });

  test("taken from the key, switched off or deleted it is over at once, and its grants with the deletion", async () => {
    const { gateway, person, key, admin, mcpId } = await withOps(stage);
    const own = tokenOf(await stage.signIn(gateway, person, ops));
    const whole = tokenOf(await stage.signIn(gateway, person));
    const status = (bearer: string, path = "/mcp/ops") => statusFor(gateway.baseUrl, bearer, path);
    const change = (body: unknown) => admin.expect(200, "PUT", `${MCPS}/${mcpId}`, body);
    for (const [off, on] of [
      [{ virtual_key_ids: [] }, { virtual_key_ids: [key.id] }],
      [{ disabled: true }, { disabled: false }],
    ]) {
      await change(off);
      expect([await status(own), await status(whole)]).toEqual([404, 404]);
      await change(on);
      expect([await status(own), await status(whole)]).toEqual([200, 200]);
    }
    await admin.expect(200, "DELETE", `${MCPS}/${mcpId}`);
    expect([await status(own), await status(whole), await status(whole, "/mcp")]).toEqual([401, 404, 200]);
    const { sessions } = await admin.expect(200, "GET", "/api/oauth2/sessions");
    expect(sessions).toHaveLength(1);
  });

  test("a rotated key goes on with both values, then with the new one, and its grants go on", async () => {
    const { gateway, person, key, admin } = await withOps(stage);
    const token = tokenOf(await stage.signIn(gateway, person, ops));
    const { virtual_key } = await admin.expect(200, "POST", `${KEYS}/${key.id}/rotate`, {
      grace_period_s: 600,
    });
    const status = (bearer: string) => statusFor(gateway.baseUrl, bearer, "/mcp/ops");
    const statuses = () => Promise.all([key.value, virtual_key.value, token].map(status));
    expect(await statuses()).toEqual([200, 200, 200]);
    stage.advance(600_000);
    expect(await statuses()).toEqual([401, 200, 200]);
    await admin.expect(200, "PUT", `${KEYS}/${key.id}`, { is_active: false });
    expect(await statuses()).toEqual([401, 401, 401]);
  });
});

journeys(
  "a virtual MCP on two replicas",
  (stage) => {
    test("what is changed at one is known at the other within a second", async () => {
      const { gateway, person, key, admin, mcpId } = await withOps(stage);
      const replica = await stage.replica(gateway);
      const own = tokenOf(await stage.signIn(gateway, person, ops));
      const status = (bearer: string) => statusFor(replica.baseUrl, bearer, "/mcp/ops");
      const becomes = (what: string, bearer: string, wanted: number) =>
        eventually(what, async () => (await status(bearer)) === wanted, AT_MOST_MS);
      expect([await status(own), await status(key.value)]).toEqual([200, 200]);
      await admin.expect(200, "PUT", `${MCPS}/${mcpId}`, { disabled: true });
      await becomes("the other replica serves it no longer", key.value, 404);
      await admin.expect(200, "PUT", `${MCPS}/${mcpId}`, { disabled: false });
      await becomes("the other replica serves it again", key.value, 200);
      await admin.expect(200, "POST", `${KEYS}/${key.id}/rotate`, { grace_period_s: 0 });
      await becomes("the other replica refuses the old value", key.value, 401);
      expect(await status(own)).toBe(200);
      await admin.expect(200, "DELETE", `${MCPS}/${mcpId}`);
      await becomes("the other replica refuses its token", own, 401);
    });
  },
  ["postgres"],
);
