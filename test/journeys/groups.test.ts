import { expect, test } from "vitest";
import { linkOf, textOf } from "./steps/mcp-client.ts";
import { bob, codeOf, openOffice, password } from "./steps/people.ts";
import { assertPage } from "./steps/person.ts";
import { journeys } from "./steps/stage.ts";

const whoami = { name: "protected-whoami" };
const GROUPS = "/api/groups";

journeys("a person in a group", (stage) => {
  test("ID-14 ID-23 ID-28 has what the group gives; taken out, orphaned at once; put back, as before", async () => {
    const house = await stage.household();
    const { admin, gateway, guarded, operator, upstreamId } = house;
    const [{ id: userId }] = (await admin.expect(200, "GET", "/api/users")).users;
    const mcp_configs = [{ mcp_client_name: "protected", tools_to_execute: ["whoami"] }];
    const { group } = await admin.expect(200, "POST", GROUPS, {
      name: "Engineering",
      mcp_configs,
      user_ids: [userId],
    });
    expect(group).toMatchObject({ member_count: 1, role: null, source: "api" });
    const path = `${GROUPS}/${group.id}`;
    const { client, oauth } = await stage.signIn(gateway, operator);
    expect((await client.listTools()).tools.map(({ name }) => name)).toContain(whoami.name);
    assertPage(await operator.connect(linkOf(await client.callTool(whoami), "protected")));
    expect(textOf(await client.callTool(whoami))).toBe("alice");
    const row = await admin.onlySession({ kind: "token" });
    const status = async () => (await admin.onlySession({ kind: "token" })).status;
    const access = async () => admin.expect(200, "GET", `/api/users/${userId}/access`);
    expect(await access()).toMatchObject({
      groups: [{ id: group.id, name: "Engineering", role: null }],
      upstreams: [
        {
          mcp_client_id: upstreamId,
          tools_to_execute: ["whoami"],
          from: [{ kind: "group", id: group.id, name: "Engineering", tools_to_execute: ["whoami"] }],
        },
      ],
    });

    const refused = async () => {
      guarded.upstream.forgetRequests();
      const answer = await client.callTool(whoami).catch((error: unknown) => error);
      expect(JSON.stringify(answer)).not.toContain("/workspace/");
      expect(answer).not.toMatchObject({ content: [{ text: "alice" }] });
      expect(guarded.upstream.calls("tools/call")).toEqual([]);
      // A client keeps its list for a while; another one asks.
      expect((await (await stage.client(gateway, { oauth })).listTools()).tools).toEqual([]);
      expect(await status()).toBe("orphaned");
      expect((await access()).upstreams).toEqual([]);
      expect((await admin.send("POST", `/api/mcp/sessions/${row.id}/reauth`)).status).toBe(403);
      expect(await admin.sessions({ kind: "flow" })).toEqual([]);
    };
    const works = async () => {
      expect(await admin.onlySession({ kind: "token" })).toMatchObject({
        id: row.id,
        created_at: row.created_at,
        status: "active",
      });
      expect(textOf(await client.callTool(whoami))).toBe("alice");
    };
    const taken = await admin.expect(200, "DELETE", `${path}/members/${userId}`);
    expect(taken).toMatchObject({ added: 0, removed: 1 });
    await refused();
    await admin.expect(200, "POST", `${path}/members`, { user_ids: [userId] });
    await works();
    await admin.expect(200, "PUT", path, { mcp_configs: [] });
    await refused();
    await admin.expect(200, "PUT", path, { mcp_configs });
    await works();
    // What one group takes, another may still give.
    const more = await admin.expect(200, "POST", GROUPS, { name: "More", mcp_configs, user_ids: [userId] });
    await admin.expect(204, "DELETE", path);
    await works();
    await admin.expect(204, "DELETE", `${GROUPS}/${more.group.id}`);
    await refused();
    expect(codeOf(await admin.send("GET", path))).toEqual([404, "group_not_found", undefined]);
  });

  test("AD-18 is what the group makes of them from one request to the next, and the last administrator stays", async () => {
    const { admin, make, signedIn, gateway } = await openOffice(stage);
    const { id } = await make({ ...bob, password });
    const browser = await signedIn(bob.email);
    const mayAdminister = async () => (await browser.send("GET", "/api/users")).status === 200;
    expect(await mayAdminister()).toBe(false);
    const { group } = await admin.expect(200, "POST", GROUPS, { name: "Operators", role: "admin" });
    const path = `${GROUPS}/${group.id}`;
    await admin.expect(200, "PUT", `${path}/members`, { user_ids: [id] });
    expect(await mayAdminister()).toBe(true);
    expect((await admin.expect(200, "GET", `/api/users/${id}`)).user).toMatchObject({
      role: "admin",
      own_role: "member",
      groups: [{ id: group.id, name: "Operators", role: "admin" }],
    });
    const { token } = await browser.expect(200, "POST", "/api/tokens", { name: "t", scopes: ["write"] });
    const asToken = async () =>
      (
        await fetch(new URL("/api/users", gateway.baseUrl), {
          headers: { authorization: `Bearer ${token.value}` },
        })
      ).status;
    expect(await asToken()).toBe(200);
    const last = [409, "last_administrator", undefined];
    expect(codeOf(await admin.send("DELETE", path))).toEqual(last);
    expect(codeOf(await admin.send("PUT", path, { role: null }))).toEqual(last);
    expect(codeOf(await admin.send("PUT", `${path}/members`, { user_ids: [] }))).toEqual(last);
    expect(codeOf(await browser.send("DELETE", `${path}/members/${id}`))).toEqual(last);
    await make({ email: "ada@example.com", role: "admin", password });
    await admin.expect(200, "DELETE", `${path}/members/${id}`);
    expect([await mayAdminister(), await asToken()]).toEqual([false, 403]);
  });

  test("groups are listed, searched and paged; fields at fault are named", async () => {
    const { admin, make } = await openOffice(stage);
    const { id } = await make(bob);
    for (const name of ["Beta", "al_fa", "Alpha"]) await admin.expect(200, "POST", GROUPS, { name });
    const found = await admin.expect(200, "GET", `${GROUPS}?search=ALPHA`);
    expect(found).toMatchObject({ count: 1, total_count: 1, groups: [{ name: "Alpha", member_count: 0 }] });
    expect(await admin.expect(200, "GET", `${GROUPS}?limit=1&offset=1`)).toMatchObject({
      count: 1,
      total_count: 3,
    });
    const path = `${GROUPS}/${found.groups[0].id}`;
    expect((await admin.expect(200, "PUT", path, { name: "Gamma", description: "d" })).group).toMatchObject({
      name: "Gamma",
      description: "d",
    });
    await admin.expect(200, "POST", `${path}/members`, { user_ids: [id, id] });
    expect(await admin.expect(200, "GET", `${path}/members?search=bob`)).toMatchObject({
      total_count: 1,
      members: [{ user_id: id, email: bob.email, role: "member", via: "api" }],
    });
    for (const [method, at, body, expected] of [
      ["POST", GROUPS, { name: "Beta" }, [409, "group_name_taken", "name"]],
      ["PUT", path, { name: "Beta" }, [409, "group_name_taken", "name"]],
      ["POST", GROUPS, { name: "" }, [400, "invalid_request", "name"]],
      ["POST", GROUPS, { name: "N", user_ids: ["nobody"] }, [400, "unknown_user", "user_ids"]],
      [
        "PUT",
        path,
        { mcp_configs: [{ mcp_client_name: "none" }] },
        [400, "unknown_mcp_client", "mcp_configs.0.mcp_client_name"],
      ],
      ["PUT", path, { virtual_mcp_ids: ["none"] }, [400, "unknown_virtual_mcp", "virtual_mcp_ids"]],
      ["PUT", path, { source: "scim" }, [400, "invalid_request", "source"]],
      ["GET", `${GROUPS}/none/members`, undefined, [404, "group_not_found", undefined]],
      ["PUT", `${GROUPS}/none/members`, { user_ids: [] }, [404, "group_not_found", undefined]],
      ["GET", "/api/users/none/access", undefined, [404, "user_not_found", undefined]],
    ] as const)
      expect(codeOf(await admin.send(method, at, body))).toEqual(expected);
    expect((await admin.expect(200, "GET", GROUPS)).total_count).toBe(3);
    await admin.expect(204, "DELETE", `/api/users/${id}`);
    expect((await admin.expect(200, "GET", path)).group.member_count).toBe(0);
  });
});
