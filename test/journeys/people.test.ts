import { expect, test } from "vitest";
import { Dashboard } from "./steps/dashboard.ts";
import { eventually } from "./steps/eventually.ts";
import { Management } from "./steps/management.ts";
import { ada, bob, codeOf, openOffice, password } from "./steps/people.ts";
import { journeys } from "./steps/stage.ts";

/** Contract section 4: dead within one second on every replica. */
const AT_MOST_MS = 1_000;

journeys("people", (stage) => {
  test("an account is made, listed, changed and removed; fields at fault are named", async () => {
    const { admin, make, gateway } = await openOffice(stage);
    const made = await make(ada);
    expect(made).toMatchObject({ email: "ada@example.com", name: "Ada", role: "admin", has_password: true });
    stage.advance(1000);
    const { user, setup } = await admin.expect(200, "POST", "/api/users", bob);
    expect(user).toMatchObject({ role: "member", is_active: true, has_password: false, mcp_configs: [] });
    expect(setup.url).toMatch(new RegExp(`^${gateway.baseUrl}/password\\?token=[\\w-]{43}$`));
    const names = async (query: string) =>
      (await admin.expect(200, "GET", `/api/users?${query}`)).users.map((row: { name: string }) => row.name);
    expect(await names("")).toEqual(["Bob", "Ada"]);
    expect(await names("search=ADA")).toEqual(["Ada"]);
    expect(await names("search=%25")).toEqual([]);
    expect(await names("role=member")).toEqual(["Bob"]);
    expect(await names("is_active=false")).toEqual([]);
    expect(await names("limit=1&offset=1")).toEqual(["Ada"]);
    expect(await admin.expect(200, "GET", "/api/users?limit=1")).toMatchObject({ count: 1, total_count: 2 });

    const changed = await admin.expect(200, "PUT", `/api/users/${user.id}`, { name: "Bobby" });
    expect(changed.user).toMatchObject({ name: "Bobby", email: "bob@example.com" });
    for (const [body, expected] of [
      [{ ...bob, email: "ADA@example.com" }, [409, "email_taken", "email"]],
      [{ email: "nobody" }, [400, "invalid_email", "email"]],
      [{ email: "c@example.com", password: "short" }, [400, "invalid_password", "password"]],
      [{ email: "c@example.com", role: "owner" }, [400, "invalid_request", "role"]],
      [
        { email: "c@example.com", mcp_configs: [{ mcp_client_name: "none" }] },
        [400, "unknown_mcp_client", "mcp_configs.0.mcp_client_name"],
      ],
    ] as const) {
      expect(codeOf(await admin.send("POST", "/api/users", body))).toEqual(expected);
    }
    const email = { email: "new@example.com" };
    expect(codeOf(await admin.send("PUT", `/api/users/${user.id}`, email))).toEqual([
      400,
      "invalid_request",
      "email",
    ]);
    await admin.expect(204, "DELETE", `/api/users/${user.id}`);
    for (const [method, path] of [
      ["GET", ""],
      ["PUT", ""],
      ["DELETE", ""],
      ["POST", "/recovery-link"],
    ] as const) {
      const answer = await admin.send(
        method,
        `/api/users/${user.id}${path}`,
        method === "PUT" ? {} : undefined,
      );
      expect(codeOf(answer)).toEqual([404, "user_not_found", undefined]);
    }
  });

  test("who was invited chooses a password by the link, once, and is signed in", async () => {
    const { admin, browser, gateway } = await openOffice(stage);
    const { user, setup } = await admin.expect(200, "POST", "/api/users", bob);
    expect((await browser().signIn(bob.email, password)).status).toBe(401);
    const first = browser();
    const link = setup.url.slice(gateway.baseUrl.length);
    expect((await first.page("/password")).status).toBe(410);
    expect(await first.choosePassword(link, "short")).toBe(303);
    expect((await first.page("/password?error=invalid_password")).text).toContain("12 to 256");
    expect((await first.page("/password")).text).toContain("bob@example.com");
    expect(await first.choosePassword(link, password)).toBe(303);
    expect(await first.expect(200, "GET", "/api/session")).toEqual({
      kind: "user",
      is_admin: false,
      user: { id: user.id, email: bob.email, name: "Bob", role: "member" },
    });
    expect(await browser().choosePassword(link, "another password 1")).toBe(410);
    expect(codeOf(await first.send("GET", "/api/users"))).toEqual([403, "administrator_required", undefined]);
  });

  test("a recovery link ends the earlier one and, once used, every session; a day later it is dead", async () => {
    const { admin, browser, signedIn, make } = await openOffice(stage);
    const { id } = await make({ ...bob, password });
    const before = await signedIn(bob.email);
    const ask = () => admin.expect(200, "POST", `/api/users/${id}/recovery-link`);
    const [old, recent] = [await ask(), await ask()];
    expect(await browser().choosePassword(old.url, "a new password 1")).toBe(410);
    await before.expect(200, "GET", "/api/session");
    expect(await browser().choosePassword(recent.url, "a new password 1")).toBe(303);
    await before.expect(401, "GET", "/api/session");
    expect((await browser().signIn(bob.email, password)).status).toBe(401);
    await signedIn(bob.email, "a new password 1");
    const late = await ask();
    stage.advance(24 * 60 * 60 * 1000);
    expect(await browser().choosePassword(late.url, "a new password 2")).toBe(410);
    const ended = await ask();
    await make(ada);
    await admin.expect(200, "PUT", `/api/users/${id}`, { is_active: false });
    expect(codeOf(await admin.send("POST", `/api/users/${id}/recovery-link`))).toEqual([
      409,
      "user_inactive",
      undefined,
    ]);
    await admin.expect(200, "PUT", `/api/users/${id}`, { is_active: true });
    expect(await browser().choosePassword(ended.url, "a new password 3")).toBe(410);
  });

  test("one's own password changes with the present one, and other browsers are signed out", async () => {
    const { signedIn, make, admin } = await openOffice(stage);
    await make({ ...bob, password });
    const [here, there] = [await signedIn(bob.email), await signedIn(bob.email)];
    const next = "a better password";
    const change = (current_password: string, new_password: string, headers = {}) =>
      here.send("POST", "/api/session/password", { current_password, new_password }, headers);
    expect(codeOf(await change("not this password", next))).toEqual([
      403,
      "wrong_password",
      "current_password",
    ]);
    expect(codeOf(await change(password, "short"))).toEqual([400, "invalid_password", "new_password"]);
    expect(codeOf(await change(password, next, { "sec-fetch-site": "cross-site" }))).toEqual([
      403,
      "cross_site_request",
      undefined,
    ]);
    expect((await change(password, next)).status).toBe(204);
    await here.expect(200, "GET", "/api/session");
    await there.expect(401, "GET", "/api/session");
    await signedIn(bob.email, next);
    const body = { current_password: next, new_password: password };
    expect(codeOf(await admin.send("POST", "/api/session/password", body))).toEqual([
      403,
      "sign_in_required",
      undefined,
    ]);
  });

  test("the last administrator who can sign in stays, also when two end each other at once", async () => {
    const { admin, make } = await openOffice(stage);
    const one = await make(ada);
    const refused = [409, "last_administrator", undefined];
    const path = `/api/users/${one.id}`;
    expect(codeOf(await admin.send("DELETE", path))).toEqual(refused);
    expect(codeOf(await admin.send("PUT", path, { is_active: false }))).toEqual(refused);
    expect(codeOf(await admin.send("PUT", path, { role: "member" }))).toEqual(refused);
    // An invitation lets nobody in yet.
    const invited = await make({ email: "eve@example.com", role: "admin" });
    expect(codeOf(await admin.send("DELETE", path))).toEqual(refused);
    await admin.expect(204, "DELETE", `/api/users/${invited.id}`);
    const two = await make({ ...ada, email: "grace@example.com" });
    const results = await Promise.all([
      admin.send("DELETE", path),
      admin.send("PUT", `/api/users/${two.id}`, { role: "member" }),
    ]);
    expect(results.map(({ status }) => status).toSorted()[1]).toBe(409);
    expect(results.filter(({ status }) => status < 300)).toHaveLength(1);
    expect((await admin.expect(200, "GET", "/api/users?role=admin&is_active=true")).users).toHaveLength(1);
  });

  test("switched off, sessions, keys and tokens of the person stop at once; removed, they are gone", async () => {
    const { admin, gateway, make, signedIn, browser } = await openOffice(stage);
    const { id } = await make({ ...bob, password });
    const dashboard = await signedIn(bob.email);
    const token = await dashboard.expect(200, "POST", "/api/tokens", { name: "mine", scopes: ["read"] });
    const key = (await admin.expect(200, "POST", "/api/governance/virtual-keys", { name: "k", user_id: id }))
      .virtual_key;
    const bearers = [token.token.value, key.value].map((value) => new Management(gateway.baseUrl, value));
    const statuses = async () => [
      (await dashboard.send("GET", "/api/session")).status,
      ...(await Promise.all(bearers.map(async (one) => (await one.send("GET", "/api/session")).status))),
    ];
    expect(await statuses()).toEqual([200, 200, 200]);
    await admin.expect(200, "PUT", `/api/users/${id}`, { is_active: false });
    expect(await statuses()).toEqual([401, 401, 401]);
    expect((await browser().signIn(bob.email, password)).status).toBe(401);
    await admin.expect(200, "PUT", `/api/users/${id}`, { is_active: true });
    expect(await statuses()).toEqual([200, 200, 200]);
    await admin.expect(204, "DELETE", `/api/users/${id}`);
    expect(await statuses()).toEqual([401, 401, 401]);
    expect((await admin.expect(200, "GET", "/api/tokens")).total_count).toBe(0);
    expect((await admin.expect(200, "GET", "/api/governance/virtual-keys")).total_count).toBe(0);
  });
});

journeys("the running settings and the audit trail", (stage) => {
  test("a setting changes at once, is kept over a restart, and goes back with null", async () => {
    const gateway = await stage.gateway([]);
    const admin = new Management(gateway.baseUrl, gateway.adminToken);
    const origin = "https://app.example.com";
    const preflight = async () =>
      (await fetch(new URL("/mcp", gateway.baseUrl), { method: "OPTIONS", headers: { origin } })).headers.get(
        "access-control-allow-origin",
      );
    expect(await preflight()).toBeNull();
    const changed = await admin.expect(200, "PUT", "/api/config", { client: { allowed_origins: [origin] } });
    expect(changed.sources).toMatchObject({ "client.allowed_origins": "database", "limits.api": "default" });
    expect(await preflight()).toBe(origin);
    const shown = await admin.expect(200, "GET", "/api/config");
    expect(shown.client).toMatchObject({ allowed_origins: [origin], mcp_tool_execution_timeout: 30 });
    expect(shown.limits.guess).toEqual({ requests: 20, window_seconds: 300 });
    for (const [body, expected] of [
      [{ client: { prometheus_labels: [] } }, [400, "setting_not_changeable", "client.prometheus_labels"]],
      [{ mcp: {} }, [400, "setting_not_changeable", "mcp"]],
      [{ client: { access_token_hours: 25 } }, [400, "invalid_request", "client.access_token_hours"]],
      [
        { client: { allowed_origins: ["https://a.example/path"] } },
        [400, "invalid_request", "client.allowed_origins.0"],
      ],
      [
        { limits: { api: { requests: 0, window_seconds: 1 } } },
        [400, "invalid_request", "limits.api.requests"],
      ],
    ] as const) {
      expect(codeOf(await admin.send("PUT", "/api/config", body))).toEqual(expected);
    }
    if (stage.kind === "postgres") {
      await gateway.close();
      const again = await stage.open(gateway.options);
      const restarted = new Management(again.baseUrl, again.adminToken);
      expect((await restarted.expect(200, "GET", "/api/config")).client.allowed_origins).toEqual([origin]);
    }
    await admin.expect(200, "PUT", "/api/config", { client: { allowed_origins: null } });
    expect(await preflight()).toBeNull();
  });

  test("what the file names stays the file's", async () => {
    const gateway = await stage.gateway([]);
    const filed = await stage.open({
      configure: (config) => {
        config.given = new Set(["client.grant_max_days"]);
      },
    });
    const admin = new Management(filed.baseUrl, gateway.adminToken);
    const { sources, client } = await admin.expect(200, "GET", "/api/config");
    expect(sources["client.grant_max_days"]).toBe("file");
    const put = (grant_max_days: number) => admin.send("PUT", "/api/config", { client: { grant_max_days } });
    expect(codeOf(await put(1))).toEqual([409, "managed_by_file", "client.grant_max_days"]);
    expect((await put(client.grant_max_days)).status).toBe(200);
  });

  test("the trail tells who did what; a person reads their own lines", async () => {
    const { admin, make, signedIn, gateway } = await openOffice(stage);
    const { id } = await make({ ...bob, password });
    const dashboard = await signedIn(bob.email);
    await admin.expect(200, "PUT", "/api/config", { client: { access_token_hours: 1 } });
    const events = async (by: { expect: Management["expect"] }, query = "") =>
      (await by.expect(200, "GET", `/api/audit?${query}`)).events.map((row: { event: string }) => row.event);
    await eventually("the sign-in is written", async () => (await events(dashboard)).length === 2);
    expect(await events(dashboard)).toEqual(["session.started", "user.created"]);
    expect(await events(admin, "event=settings.*")).toEqual(["settings.changed"]);
    expect(await events(admin, `owner=user:${id}&event=user.*`)).toEqual(["user.created"]);
    expect(await events(admin, "q=BOB@EXAMPLE")).toEqual(["user.created"]);
    expect(await events(dashboard, "event=settings.*")).toEqual([]);
    expect(await events(admin, "to=2020-01-01T00:00:00Z")).toEqual([]);
    const file = await fetch(new URL("/api/audit/export", gateway.baseUrl), {
      headers: { authorization: `Bearer ${gateway.adminToken}` },
    });
    expect(file.headers.get("content-type")).toBe("application/x-ndjson");
    const lines = (await file.text()).trimEnd().split("\n");
    expect(lines.map((line) => JSON.parse(line).event)).toEqual((await events(admin)).toReversed());
    expect(lines.join()).not.toContain(password);
  });
});

journeys(
  "people on two replicas",
  (stage) => {
    test("a token, an account and a setting change at one and count at the other within a second", async () => {
      const { admin, gateway, make } = await openOffice(stage);
      const replica = await stage.replica(gateway);
      const { id } = await make({ ...bob, password });
      const there = new Dashboard(replica.baseUrl);
      expect((await there.signIn(bob.email, password)).status).toBe(200);
      const { token } = await admin.expect(200, "POST", "/api/tokens", { name: "t", scopes: ["read"] });
      const bearer = new Management(replica.baseUrl, token.value);
      await bearer.expect(200, "GET", "/api/users");
      await admin.expect(204, "DELETE", `/api/tokens/${token.id}`);
      await admin.expect(200, "PUT", `/api/users/${id}`, { is_active: false });
      expect((await bearer.send("GET", "/api/users")).status).toBe(401);
      expect((await there.send("GET", "/api/session")).status).toBe(401);
      await admin.expect(200, "PUT", "/api/config", { client: { access_token_hours: 2 } });
      const far = new Management(replica.baseUrl, gateway.adminToken);
      await eventually(
        "the other replica has the setting",
        async () => (await far.expect(200, "GET", "/api/config")).client.access_token_hours === 2,
        AT_MOST_MS,
      );
    });
  },
  ["postgres"],
);
