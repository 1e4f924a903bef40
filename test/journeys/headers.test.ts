import assert from "node:assert/strict";
import type { CallToolResult } from "@modelcontextprotocol/client";
import { expect, test } from "vitest";
import { textOf as pageText } from "../peers/browser.ts";
import { startModernUpstream } from "../peers/modern-upstream.ts";
import { Management } from "./steps/management.ts";
import { textOf } from "./steps/mcp-client.ts";
import { Administrator, type Approver, assertPage, finishConsent, type Person } from "./steps/person.ts";
import { journeys, type Stage } from "./steps/stage.ts";

const whoami = { name: "tickets-whoami" };

/** A gateway with an upstream where everybody has a header value of their own, and two people with keys. */
async function office(stage: Stage) {
  const accounts: Record<string, string> = {
    "value-of-admin": "admin",
    "value-of-alice": "alice",
    "value-of-bob": "bob",
  };
  const protection = { kind: "header" as const, name: "x-api-key", accounts };
  const server = stage.keep(await startModernUpstream({ eras: "both", protection }));
  const gateway = await stage.gateway([new URL(server.url).host]);
  const admin = new Management(gateway.baseUrl, gateway.adminToken);
  const definition = {
    name: "tickets",
    connection_type: "http",
    connection_string: server.url,
    auth_type: "per_user_headers",
    per_user_header_keys: ["X-Api-Key"],
    headers: { "X-Tenant": "acme", "x-api-key": "value-of-admin" },
    tools_to_execute: ["*"],
  };
  const sample = (value: string) => ({ ...definition, user_headers: { "X-Api-Key": value } });
  const refused = await admin.send("POST", "/api/mcp/client", sample("value-of-nobody"));
  expect(refused).toMatchObject({ status: 422, body: { error: { code: "headers_refused" } } });
  expect((await admin.expect(200, "GET", "/api/mcp/clients")).total_count).toBe(0);
  const { mcp_client_id: upstreamId } = await admin.expect(
    200,
    "POST",
    "/api/mcp/client",
    sample("value-of-admin"),
  );
  expect(await admin.tools(upstreamId)).toContain("whoami");
  const person = async (name: string) => stage.person((await admin.createKey(name, [upstreamId])).value);
  return {
    accounts,
    server,
    gateway,
    admin,
    upstreamId,
    alice: await person("Alice"),
    bob: await person("Bob"),
  };
}

/** The link in an "authentication required" result for header values (contract section 5). */
function submitUrlOf(result: CallToolResult): string {
  const text = textOf(result);
  const [, url] =
    /^Authentication required for tickets\. Open this URL to submit the required headers: (\S+)$/.exec(
      text,
    ) ?? [];
  assert.ok(result.isError && url, `a link was expected: ${text}`);
  expect(result._meta?.mcp_auth_required).toMatchObject({
    kind: "headers",
    mcp_client_name: "tickets",
    session_id: new URL(url).searchParams.get("flow"),
    submit_url: url,
    required_header_keys: ["X-Api-Key"],
    admin_header_keys: ["x-tenant"],
  });
  return url;
}

/** Opens the form behind a link and sends a value. */
async function fillIn(person: Person, link: string, value: string) {
  assertPage(await person.browser.get(link), "/workspace/mcp-sessions/auth");
  const form = (one: { fields: object }) => "flow" in one.fields;
  return person.browser.submitForm(form, { vk: person.key, "header.X-Api-Key": value });
}

journeys("per-user headers", (stage) => {
  test("ID-21 MC-31 a call asks for the person's own values, sends nobody else's, and works with them", async () => {
    const { server, gateway, admin, alice, bob } = await office(stage);
    const { client } = await stage.signIn(gateway, alice);
    server.forgetRequests();
    const links = await Promise.all([1, 2, 3].map(async () => submitUrlOf(await client.callTool(whoami))));
    expect(new Set(links).size).toBe(1);
    const link = new URL(links[0]!);
    expect(link.origin).toBe(gateway.baseUrl);
    expect([...link.searchParams.keys()]).toEqual(["flow", "kind"]);
    expect(server.calls("tools/call")).toEqual([]);
    const refused = await fillIn(alice, link.href, "value-of-nobody");
    expect(pageText(refused.html)).toContain("does not accept this");
    expect(refused.html).not.toContain("value-of-nobody");
    expect(await admin.sessions({ kind: "header" })).toEqual([]);
    expect(pageText(assertPage(await fillIn(alice, link.href, "value-of-alice")).html)).toContain(
      "is connected",
    );
    expect(textOf(await client.callTool(whoami))).toBe("alice");
    const [request] = server.calls("tools/call");
    expect(request!.headers).toMatchObject({ "x-api-key": "value-of-alice", "x-tenant": "acme" });
    expect(request!.headers).not.toHaveProperty("authorization");
    const other = await stage.signIn(gateway, bob);
    submitUrlOf(await other.client.callTool(whoami));
    const shown = JSON.stringify([
      await admin.sessions(),
      await admin.expect(200, "GET", "/api/mcp/clients"),
    ]);
    expect(shown).not.toContain("value-of");
  });

  test("a value the upstream stops taking, and a name it newly wants, ask again; the row stays the same", async () => {
    const { accounts, server, gateway, admin, upstreamId, alice } = await office(stage);
    const { client } = await stage.signIn(gateway, alice);
    await fillIn(alice, submitUrlOf(await client.callTool(whoami)), "value-of-alice");
    const row = await admin.onlySession();
    expect(row).toMatchObject({ kind: "header", auth_kind: "headers", status: "active" });
    delete accounts["value-of-alice"];
    accounts["new-value-of-alice"] = "alice";
    const link = submitUrlOf(await client.callTool(whoami));
    expect(await admin.onlySession()).toMatchObject({
      id: row.id,
      status: "needs_update",
      status_reason: "rejected_by_upstream",
    });
    await fillIn(alice, link, "new-value-of-alice");
    expect(textOf(await client.callTool(whoami))).toBe("alice");
    expect(await admin.onlySession()).toMatchObject({
      id: row.id,
      created_at: row.created_at,
      status: "active",
    });
    const path = `/api/mcp/client/${upstreamId}`;
    await admin.expect(200, "PUT", path, { per_user_header_keys: ["X-Api-Key", "X-Region"] });
    expect(await admin.onlySession()).toMatchObject({
      status: "needs_update",
      status_reason: "headers_changed",
    });
    server.forgetRequests();
    expect((await client.callTool(whoami)).isError).toBe(true);
    expect(server.calls("tools/call")).toEqual([]);
    const own = new Management(gateway.baseUrl, alice.key);
    const reauth = await own.expect(200, "POST", `/api/mcp/sessions/${row.id}/reauth`);
    expect(reauth).toMatchObject({ kind: "headers", submit_url: reauth.authorize_url });
    const submit = `/api/mcp/per-user-headers/flows/${reauth.session_id}`;
    const headers = { "x-api-key": "new-value-of-alice", "x-region": "eu" };
    expect(await own.expect(200, "PUT", submit, { headers })).toMatchObject({ credential_id: row.id });
    await client.callTool(whoami);
    expect(server.calls("tools/call")[0]!.headers).toMatchObject(headers);
    await admin.expect(200, "PUT", path, { per_user_header_keys: ["X-Api-Key"] });
    server.forgetRequests();
    expect(textOf(await client.callTool(whoami))).toBe("alice");
    expect(server.calls("tools/call")[0]!.headers).not.toHaveProperty("x-region");
  });

  test("CB-13 values given during a consent are the flow's until its end, and gone with another identity", async () => {
    const { gateway, admin, alice, bob } = await office(stage);
    const form = (one: { fields: object }) => "mcp_client_id" in one.fields;
    const connecting = (look: () => Promise<void>): Approver => ({
      browser: alice.browser,
      allow: async (url, redirectUri) => {
        await alice.approve(url);
        assertPage(await alice.browser.click(/Connect/), "/oauth/consent/headers");
        const failed = await alice.browser.submitForm(form, { "header.X-Api-Key": "value-of-nobody" });
        expect(pageText(assertPage(failed, "/oauth/consent/headers").html)).toContain("does not accept this");
        const services = await alice.browser.submitForm(form, { "header.X-Api-Key": "value-of-alice" });
        expect(pageText(assertPage(services, "/oauth/consent/mcps").html)).toContain("Connected");
        expect(await admin.sessions()).toEqual([]);
        await look();
        return finishConsent(alice.browser, redirectUri);
      },
    });
    const first = await stage.signIn(
      gateway,
      connecting(async () => {}),
    );
    expect(textOf(await first.client.callTool(whoami))).toBe("alice");
    const row = await admin.onlySession();
    expect(row).toMatchObject({ kind: "header", auth_mode: "vk", status: "active" });
    await admin.expect(204, "DELETE", `/api/mcp/per-user-headers/credential/${row.id}`);
    const changing = connecting(async () => {
      await alice.browser.click(/Choose another/);
      const services = await alice.browser.submitForm("/consent/vk", { vk: bob.key });
      expect(pageText(services.html)).toContain("Not connected");
    });
    const second = await stage.signIn(gateway, changing);
    submitUrlOf(await second.client.callTool(whoami));
    expect(await admin.sessions({ kind: "header" })).toEqual([]);
  });

  test("without sample values an administrator fills in the form once, for the tool list alone", async () => {
    const accounts = { "value-of-admin": "admin" };
    const protection = { kind: "header" as const, name: "x-api-key", accounts };
    const server = stage.keep(await startModernUpstream({ protection }));
    const gateway = await stage.gateway([new URL(server.url).host]);
    const admin = new Management(gateway.baseUrl, gateway.adminToken);
    const operator = stage.keep(new Administrator());
    await operator.setUp(gateway.setupLink);
    const { mcp_client_id: id } = await admin.createUpstream({
      name: "tickets",
      connection_string: server.url,
      auth_type: "per_user_headers",
      per_user_header_keys: ["X-Api-Key"],
    });
    const waiting = await admin.expect(200, "GET", "/api/mcp/clients?state=pending_verification");
    expect(waiting.clients).toMatchObject([{ config: { client_id: id }, tools: [] }]);
    const { submit_url } = await admin.expect(200, "POST", `/api/mcp/client/${id}/reconnect`);
    const { value } = await admin.createKey("Alice", [id]);
    const alice = stage.person(value);
    expect((await alice.browser.get(submit_url)).status).toBe(401);
    assertPage(await operator.browser.get(submit_url), "/workspace/mcp-sessions/auth");
    const form = (one: { fields: object }) => "flow" in one.fields;
    assertPage(await operator.browser.submitForm(form, { "header.X-Api-Key": "value-of-admin" }));
    await expect.poll(() => admin.tools(id)).toContain("whoami");
    expect(await admin.sessions()).toEqual([]);
    const { client } = await stage.signIn(gateway, alice);
    server.forgetRequests();
    expect((await client.callTool(whoami)).isError).toBe(true);
    expect(server.calls("tools/call")).toEqual([]);
  });
});
