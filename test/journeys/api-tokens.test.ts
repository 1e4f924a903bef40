import { expect, test } from "vitest";
import { areaOf } from "../../src/identity/index.ts";
import { Management } from "./steps/management.ts";
import { ada, bob, codeOf, openOffice, password } from "./steps/people.ts";
import { journeys } from "./steps/stage.ts";

journeys("management API tokens", (stage) => {
  test("a token reads or writes what its scopes say, at /api only, and its value is shown once", async () => {
    const { admin, gateway, make, signedIn } = await openOffice(stage);
    await make(ada);
    const dashboard = await signedIn(ada.email);
    const create = async (body: object) => (await dashboard.expect(200, "POST", "/api/tokens", body)).token;
    const reader = await create({ name: "reader", scopes: ["read"] });
    expect(reader).toMatchObject({ role: "admin", last_used_at: null, expires_at: null });
    expect(reader.value).toMatch(/^pst_[\w-]{43}$/);
    const as = (value: string) => new Management(gateway.baseUrl, value);
    const { id } = (await admin.expect(200, "GET", "/api/users")).users[0];
    const rename = ["PUT", `/api/users/${id}`, { name: "A" }] as const;
    await as(reader.value).expect(200, "GET", "/api/users");
    expect(codeOf(await as(reader.value).send(...rename))).toEqual([403, "insufficient_scope", undefined]);
    const keysOnly = await create({ name: "keys", scopes: ["write:virtual-keys"] });
    await as(keysOnly.value).expect(200, "GET", "/api/governance/virtual-keys");
    await as(keysOnly.value).expect(200, "POST", "/api/governance/virtual-keys", { name: "k" });
    expect((await as(keysOnly.value).send("GET", "/api/users")).status).toBe(403);
    const writer = await create({ name: "writer", scopes: ["write"], role: "member" });
    expect(codeOf(await as(writer.value).send(...rename))).toEqual([
      403,
      "administrator_required",
      undefined,
    ]);

    // Contract section 1: valid on /api only, and a token of /mcp is nothing here.
    const mcp = await fetch(new URL("/mcp", gateway.baseUrl), {
      method: "POST",
      headers: { authorization: `Bearer ${reader.value}`, "content-type": "application/json" },
      body: "{}",
    });
    expect(mcp.status).toBe(401);
    expect((await as(`pst_${"a".repeat(43)}`).send("GET", "/api/users")).status).toBe(401);

    const { tokens } = await dashboard.expect(200, "GET", "/api/tokens");
    expect(tokens.map((one: { name: string }) => one.name)).toHaveLength(3);
    expect(JSON.stringify(tokens)).not.toContain(reader.value);
    const shown = tokens.find((one: { id: string }) => one.id === reader.id);
    expect(shown.value).toBe(`pst_…${reader.value.slice(-4)}`);
    expect(shown.last_used_at).toMatch(/^20/);
    await dashboard.expect(204, "DELETE", `/api/tokens/${reader.id}`);
    expect((await as(reader.value).send("GET", "/api/users")).status).toBe(401);
    expect(codeOf(await dashboard.send("DELETE", `/api/tokens/${reader.id}`))).toEqual([
      404,
      "token_not_found",
      undefined,
    ]);
  });

  test("a token can do no more than its owner, expires, and makes no other token", async () => {
    const { admin, gateway, make, signedIn } = await openOffice(stage);
    await make(ada);
    const grace = await make({ ...ada, email: "grace@example.com" });
    const dashboard = await signedIn("grace@example.com");
    const create = (body: object) => dashboard.send("POST", "/api/tokens", body);
    const { token } = (await create({ name: "t", scopes: ["write"] })).body;
    const bearer = new Management(gateway.baseUrl, token.value);
    await bearer.expect(200, "GET", "/api/users");
    expect(codeOf(await bearer.send("POST", "/api/tokens", { name: "u", scopes: ["read"] }))).toEqual([
      403,
      "sign_in_required",
      undefined,
    ]);
    await admin.expect(200, "PUT", `/api/users/${grace.id}`, { role: "member" });
    expect((await bearer.send("GET", "/api/users")).status).toBe(403);
    expect(await bearer.expect(200, "GET", "/api/session")).toMatchObject({
      kind: "api_token",
      is_admin: false,
      user: { id: grace.id },
      token: { name: "t", scopes: ["write"] },
    });
    expect(codeOf(await create({ name: "a", role: "admin", scopes: ["read"] }))).toEqual([
      403,
      "administrator_required",
      "role",
    ]);
    expect(codeOf(await create({ name: "a", scopes: ["everything"] }))).toEqual([
      400,
      "invalid_request",
      "scopes.0",
    ]);
    expect(codeOf(await create({ name: "a", scopes: ["read"], expires_at: "2020-01-01T00:00:00Z" }))).toEqual(
      [400, "invalid_request", "expires_at"],
    );
    const expires_at = new Date(Date.now() + 60_000).toISOString();
    const brief = (await create({ name: "b", scopes: ["read"], expires_at })).body.token;
    const late = new Management(gateway.baseUrl, brief.value);
    await late.expect(200, "GET", "/api/session");
    stage.advance(60_000);
    expect((await late.send("GET", "/api/session")).status).toBe(401);
  });

  test("a person sees and ends their own tokens only; a virtual key has none", async () => {
    const { admin, gateway, make, signedIn } = await openOffice(stage);
    await make({ ...bob, password });
    const { token } = await admin.expect(200, "POST", "/api/tokens", { name: "robot", scopes: ["write"] });
    expect(token).toMatchObject({ role: "admin", user_id: null });
    expect(
      codeOf(await admin.send("POST", "/api/tokens", { name: "m", role: "member", scopes: ["read"] })),
    ).toEqual([400, "token_owner_required", "role"]);
    const dashboard = await signedIn(bob.email);
    expect((await dashboard.expect(200, "GET", "/api/tokens")).tokens).toEqual([]);
    expect((await dashboard.send("DELETE", `/api/tokens/${token.id}`)).status).toBe(404);
    const { virtual_key } = await admin.expect(200, "POST", "/api/governance/virtual-keys", { name: "k" });
    const key = new Management(gateway.baseUrl, virtual_key.value);
    expect(codeOf(await key.send("GET", "/api/tokens"))).toEqual([403, "sign_in_required", undefined]);
  });
});

journeys(
  "areas of tokens",
  (stage) => {
    test("every management route is in an area that a token can be held to", async () => {
      const gateway = await stage.gateway([]);
      const { paths } = await new Management(gateway.baseUrl, gateway.adminToken).expect(
        200,
        "GET",
        "/api/openapi.json",
      );
      const operations = Object.values<Record<string, { tags: string[]; security?: object[] }>>(
        paths,
      ).flatMap((item) => Object.values(item));
      // Where only a sign-in counts no token does.
      const managed = operations.filter(({ security = [] }) =>
        ["dashboard", "bearer"].every((scheme) => security.some((one) => scheme in one)),
      );
      expect(managed.length).toBeGreaterThan(20);
      const tags = new Set(managed.map(({ tags: [tag = ""] }) => tag));
      expect([...tags].filter((tag) => areaOf(tag) === undefined)).toEqual([]);
    });
  },
  ["sqlite"],
);
