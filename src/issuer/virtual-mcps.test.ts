import { describe, expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { readJson } from "../../test/support/read.ts";
import { testSettings } from "../../test/support/settings.ts";
import {
  addKey,
  addUpstream,
  BASE,
  connectDuring,
  consented,
  exchange,
  type Gateway,
  setUp,
  signIn,
  startConsent,
} from "./issuer.suite.ts";
import { mcpResource, ownResource, serves, slugOf } from "./resource.ts";

const resourceOf = (slug: string) => ({ resource: `${BASE}/mcp/${slug}` });

function addVirtualMcp(
  gateway: Gateway,
  slug: string,
  attached: { upstreamIds?: string[]; virtualKeyIds?: string[]; userIds?: string[] },
) {
  return gateway.virtualMcps.create({
    slug,
    name: slug,
    upstreams: (attached.upstreamIds ?? []).map((upstreamId) => ({ upstreamId, tools: ["*"] })),
    virtualKeyIds: attached.virtualKeyIds ?? [],
    userIds: attached.userIds ?? [],
    source: "api",
  });
}

onBothDatabases("consents for a virtual MCP", (open, kind) => {
  /** Two upstreams, a key for both, and a virtual MCP of the first. */
  async function withTeam(given?: Gateway) {
    const gateway = given ?? (await setUp(open));
    gateway.virtualMcps.listeners.push({
      deleted: (tx, { slug }) => gateway.issuer.revokeGrantsOf(tx, { slug }),
    });
    const [notes, mail] = [await addUpstream(gateway, "notes"), await addUpstream(gateway, "mail")];
    const key = await addKey(gateway, { upstreamIds: [notes.id, mail.id] });
    const virtualMcp = await addVirtualMcp(gateway, "team", {
      upstreamIds: [notes.id],
      virtualKeyIds: [key.id],
    });
    return { gateway, notes, mail, key, virtualMcp };
  }

  const tokensFor = async (gateway: Gateway, keyValue: string, slug?: string) => {
    const started = await startConsent(gateway, { more: slug === undefined ? {} : resourceOf(slug) });
    const got = await consented(gateway, keyValue, started);
    return (await readJson(await exchange(gateway, got))) as { access_token: string; refresh_token: string };
  };

  const chooseKey = async (gateway: Gateway, slug: string, value: string) => {
    const { tab, flowId } = await startConsent(gateway, { more: resourceOf(slug) });
    const response = await tab.post("/api/oauth/per-user/consent/vk", { flow_id: flowId, vk: value });
    return new URL(response.headers.get("location")!, BASE);
  };

  it("the services page has its upstreams alone, and no other can be connected", async () => {
    const { gateway, notes, mail, key } = await withTeam();
    const { tab, flowId } = await startConsent(gateway, { more: resourceOf("team") });
    await tab.post("/api/oauth/per-user/consent/vk", { flow_id: flowId, vk: key.value });
    const html = await (await tab.get(`/oauth/consent/mcps?flow_id=${flowId}`)).text();
    expect(html).toContain(notes.id);
    expect(html).not.toContain(mail.id);
    const gate = (upstreamId: string) =>
      gateway.issuer.consentGate(new Request(BASE, { headers: tab.headers() }), flowId, upstreamId);
    expect(await gate(notes.id)).toMatchObject({ flowId });
    await expect(gate(mail.id)).rejects.toMatchObject({ code: "upstream_not_allowed", kind: "forbidden" });
    const whole = await startConsent(gateway);
    await whole.tab.post("/api/oauth/per-user/consent/vk", { flow_id: whole.flowId, vk: key.value });
    expect(await (await whole.tab.get(`/oauth/consent/mcps?flow_id=${whole.flowId}`)).text()).toContain(
      mail.id,
    );
  });

  it("ID-30 an identity that may not use it chooses again; a slug that is not there answers the same", async () => {
    const { gateway, key, virtualMcp } = await withTeam();
    const stranger = await addKey(gateway, { name: "stranger" });
    const refused = { pathname: "/oauth/consent", error: "address_not_allowed" };
    const where = async (slug: string, value: string) => {
      const { pathname, searchParams } = await chooseKey(gateway, slug, value);
      return { pathname, error: searchParams.get("error") };
    };
    expect(await where("team", key.value)).toEqual({ pathname: "/oauth/consent/mcps", error: null });
    expect(await where("team", stranger.value)).toEqual(refused);
    expect(await where("none", key.value)).toEqual(refused);
    await gateway.virtualMcps.update(virtualMcp.id, () => ({ disabled: true }));
    expect(await where("team", key.value)).toEqual(refused);
  });

  it("a person it is attached to, and one without an account, who never is", async () => {
    const gateway = await setUp(open, { settings: { enforceAuthOnInference: false } });
    const { tab, flowId } = await startConsent(gateway, { more: resourceOf("team") });
    const ada = await signIn(gateway, tab);
    const as = async (path: string, fields: Record<string, string>) =>
      (await tab.post(`/api/oauth/per-user/consent/${path}`, { flow_id: flowId, ...fields })).headers.get(
        "location",
      );
    expect(await as("user-id", { user_id: ada.id })).toContain("address_not_allowed");
    await addVirtualMcp(gateway, "team", { userIds: [ada.id] });
    expect(await as("skip", {})).toContain("address_not_allowed");
    expect(await as("user-id", { user_id: ada.id })).toMatch(/^\/oauth\/consent\/mcps/);
  });

  it("its end revokes the grants and codes for its address, and no others", async () => {
    const { gateway, notes, key, virtualMcp } = await withTeam();
    const similar = ["mcp", "te-m", "tea", "team2"];
    for (const slug of similar) await addVirtualMcp(gateway, slug, { virtualKeyIds: [key.id] });
    const under = await addVirtualMcp(gateway, "te_m", { virtualKeyIds: [key.id] });
    const whole = await tokensFor(gateway, key.value);
    const team = await tokensFor(gateway, key.value, "team");
    const others = [];
    for (const slug of similar) others.push(await tokensFor(gateway, key.value, slug));
    const started = await startConsent(gateway, { more: resourceOf("team") });
    await connectDuring(gateway, started.flowId, notes.id);
    const pending = await consented(gateway, key.value, started);
    const alive = async ({ access_token }: { access_token: string }) =>
      (await gateway.issuer.authenticate(access_token)).ok;
    expect(await alive(team)).toBe(true);

    await gateway.virtualMcps.delete(virtualMcp.id);
    await gateway.virtualMcps.delete(under.id);
    expect(await alive(team)).toBe(false);
    expect((await exchange(gateway, pending)).status).toBe(400);
    expect(await Promise.all([whole, ...others].map(alive))).toEqual([whole, ...others].map(() => true));
    // What was connected belongs to the key, not to the grant.
    expect((await gateway.vault.open({ mode: "vk", id: key.id }, notes)).outcome).toBe("ready");
    const events = await gateway.database.db
      .selectFrom("audit")
      .select("event")
      .where("event", "=", "grant.revoked")
      .execute();
    expect(events).toHaveLength(2);
  });

  it("made again with the same slug, it does not bring old tokens back", async () => {
    const { gateway, key, virtualMcp } = await withTeam();
    const team = await tokensFor(gateway, key.value, "team");
    await gateway.virtualMcps.delete(virtualMcp.id);
    await addVirtualMcp(gateway, "team", { virtualKeyIds: [key.id] });
    expect((await gateway.issuer.authenticate(team.access_token)).ok).toBe(false);
    expect((await gateway.issuer.authenticate(team.refresh_token)).ok).toBe(false);
  });

  it.runIf(kind === "postgres")(
    "a key switched off, and a deleted virtual MCP, end tokens on another replica within a second",
    async () => {
      const { gateway, key, virtualMcp } = await withTeam();
      const replica = await setUp(open, { beside: gateway });
      const [whole, team] = [
        await tokensFor(gateway, key.value),
        await tokensFor(gateway, key.value, "team"),
      ];
      const alive = async ({ access_token }: { access_token: string }) =>
        (await replica.issuer.authenticate(access_token)).ok;
      expect([await alive(whole), await alive(team)]).toEqual([true, true]);
      await gateway.virtualMcps.delete(virtualMcp.id);
      await replica.database.changes.pull();
      expect([await alive(whole), await alive(team)]).toEqual([true, false]);
      await gateway.keys.update(key.id, { isActive: false });
      await replica.database.changes.pull();
      expect(await alive(whole)).toBe(false);
      await gateway.keys.update(key.id, { isActive: true });
      await replica.database.changes.pull();
      expect(await alive(whole)).toBe(true);
    },
  );

  it("a key switched off or expired stops its open grants at once; rotating it stops none", async () => {
    const { gateway, key } = await withTeam();
    const tokens = await tokensFor(gateway, key.value);
    const alive = async () => (await gateway.issuer.authenticate(tokens.access_token)).ok;
    await gateway.keys.rotate(key.id, 0);
    expect(await alive()).toBe(true);
    await gateway.keys.update(key.id, { isActive: false });
    expect(await alive()).toBe(false);
    await gateway.keys.update(key.id, { isActive: true, expiresAt: gateway.world.now().getTime() + 1000 });
    expect(await alive()).toBe(true);
    gateway.world.advance(1000);
    expect(await alive()).toBe(false);
  });

  it("after a rotation the consent takes both values, then only the new one", async () => {
    const { gateway, key } = await withTeam();
    const { value } = await gateway.keys.rotate(key.id, 60_000);
    for (const one of [key.value, value.reveal()])
      expect((await chooseKey(gateway, "team", one)).searchParams.get("error")).toBeNull();
    gateway.world.advance(60_000);
    expect((await chooseKey(gateway, "team", key.value)).searchParams.get("error")).toBe("invalid_key");
    expect((await chooseKey(gateway, "team", value.reveal())).searchParams.get("error")).toBeNull();
  });

  it("the metadata of every slug is alike, whether there is such a virtual MCP or not", async () => {
    const { gateway } = await withTeam();
    const document = async (slug: string) => {
      const response = await gateway.call(`/.well-known/oauth-protected-resource/mcp/${slug}`);
      return { status: response.status, ...(await readJson(response)) };
    };
    const team = await document("team");
    expect(team).toMatchObject({ status: 200, resource: `${BASE}/mcp/team`, authorization_servers: [BASE] });
    expect(await document("none")).toEqual({ ...team, resource: `${BASE}/mcp/none` });
    expect((await gateway.call("/.well-known/oauth-protected-resource/mcp/a%2Fb")).status).toBe(400);
  });
});

describe("resources", () => {
  const settings = testSettings();
  const base = settings.baseUrl.origin;

  it("RFC 8707 §2 a token counts at its own address; one for /mcp at every slug", () => {
    expect(serves(mcpResource(settings), undefined)).toBe(true);
    expect(serves(mcpResource(settings), "team")).toBe(true);
    expect(serves(mcpResource(settings, "team"), "team")).toBe(true);
    for (const slug of [undefined, "tea", "team2", "TEAM", "x/team"])
      expect(serves(mcpResource(settings, "team"), slug), slug).toBe(false);
  });

  it("a virtual MCP called mcp is not the whole gateway", () => {
    expect(serves(mcpResource(settings, "mcp"), undefined)).toBe(false);
    expect(serves(mcpResource(settings, "mcp"), "team")).toBe(false);
    expect(serves(mcpResource(settings, "mcp"), "mcp")).toBe(true);
    expect(serves("https://mcp/mcp", "team")).toBe(true);
    expect(serves("https://mcp/mcp/x", undefined)).toBe(false);
    expect(slugOf("https://mcp/mcp")).toBeUndefined();
    expect(slugOf(`${base}/mcp/mcp`)).toBe("mcp");
  });

  it("only what can be a slug is one", () => {
    expect(ownResource(`${base}/mcp/team/`, settings)).toBe(`${base}/mcp/team`);
    for (const path of ["/mcp/-x", "/mcp/a.b", `/mcp/${"a".repeat(64)}`, "/mcp/a/b", "/mcp//", "/mcp/%61"])
      expect(ownResource(base + path, settings), path).toBeUndefined();
  });
});
