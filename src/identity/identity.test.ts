import { expect, it } from "vitest";
import { z } from "zod";
import { onBothDatabases } from "../../test/support/databases.ts";
import { readJson } from "../../test/support/read.ts";
import { testSettings } from "../../test/support/settings.ts";
import { testWorld } from "../../test/support/world.ts";
import { Hidden, KeyedHash, Seal } from "../base/index.ts";
import { Flows } from "../db/index.ts";
import { json, mount, RateLimits } from "../http/index.ts";
import { ApiTokens, Guard, identityRoutes, LocalSignIn, route, Sessions, Setup, Users } from "./index.ts";

const HOUR = 60 * 60 * 1000;
const admin = { email: "Ada@Example.com", password: "correct horse battery" };

onBothDatabases("identity", (open) => {
  async function setUp() {
    const world = testWorld();
    const settings = testSettings();
    const { database } = await open();
    const hash = new KeyedHash(world.random(32));
    const users = new Users({ database, world });
    const seal = new Seal([world.random(32)], world.random);
    const sessions = new Sessions({ database, world, hash, seal, settings, users });
    const flows = new Flows(world, seal);
    const setup = new Setup({ database, flows, hash, settings, world, users, sessions });
    const limits = new RateLimits(world);
    const local = new LocalSignIn({ database, flows, seal, hash, settings, world, limits, users });
    const guard = new Guard({
      sessions,
      tokens: new ApiTokens({ database, world, hash }),
      settings,
      hash,
      adminToken: new Hidden("a-long-administrator-token"),
      resolveKey: async (value) =>
        value === "sk-bf-good" ? { virtualKeyId: "vk_1", name: "ci" } : undefined,
    });
    const who = {
      method: "GET",
      path: "/api/who",
      operationId: "who",
      summary: "",
      tag: "",
      access: "management",
      csrf: "session",
      rate: "none",
      errors: "envelope",
      answers: {},
      refuses: [],
      query: z.object({}),
    } as const;
    const app = mount(
      [
        ...identityRoutes({ local, sessions, setup, settings, record: async () => {} }),
        route({ ...who, handle: ({ caller }) => json(caller) }),
        route({ ...who, path: "/api/admin", operationId: "admin", access: "admin", handle: () => json({}) }),
        route({ ...who, path: "/api/change", operationId: "change", method: "POST", handle: () => json({}) }),
      ],
      {
        world,
        settings,
        limits,
        authenticate: (request, r) => guard.authenticate(request, r),
      },
    );
    const call = (path: string, init?: RequestInit) => app.request(`http://localhost:8080${path}`, init);
    return { world, setup, users, sessions, database, call };
  }

  const login = (call: Awaited<ReturnType<typeof setUp>>["call"], body: unknown = admin) =>
    call("/api/session/login", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
  const cookieOf = (response: Response) => response.headers.get("set-cookie")!.split(";")[0]!;

  it("the set-up link makes one administrator, once", async () => {
    const { setup, call } = await setUp();
    const link = new URL((await setup.link())!);
    const opened = await call(link.pathname + link.search);
    expect([opened.status, opened.headers.get("location")]).toEqual([303, "/setup"]);
    const cookie = cookieOf(opened);
    expect(await (await call("/setup", { headers: { cookie } })).text()).toContain("first administrator");
    const submit = (password: string) =>
      call("/setup", {
        method: "POST",
        headers: { cookie, "content-type": "application/x-www-form-urlencoded" },
        body: new URLSearchParams({ email: admin.email, password }).toString(),
      });
    expect((await submit("short")).headers.get("location")).toBe("/setup?error=invalid_password");
    const results = await Promise.all([submit(admin.password), submit(admin.password)]);
    expect(results.map(({ status }) => status).toSorted()).toEqual([303, 410]);
    expect((await submit(admin.password)).status).toBe(410);
    expect((await call(link.pathname + link.search)).status).toBe(410);
    expect(await setup.link()).toBeUndefined();
    const session = cookieOf(results.find(({ status }) => status === 303)!);
    expect(await (await call("/api/who", { headers: { cookie: session } })).json()).toMatchObject({
      kind: "user",
      email: "ada@example.com",
      role: "admin",
    });
  });

  it("a newer set-up link ends the older one, and a link ends after a day", async () => {
    const { setup, world, call } = await setUp();
    const first = new URL((await setup.link())!);
    const second = new URL((await setup.link())!);
    expect((await call(first.pathname + first.search)).status).toBe(410);
    expect((await call(second.pathname + second.search)).status).toBe(303);
    world.advance(24 * HOUR);
    expect((await call(second.pathname + second.search)).status).toBe(410);
  });

  it("signs in and out; the cookie is dead after the sign-out (AD-04)", async () => {
    const { setup, call } = await setUp();
    await setup.ensureAdmin(admin.email, new Hidden(admin.password));
    const answer = await login(call);
    expect(answer.status).toBe(200);
    const cookie = cookieOf(answer);
    expect((await call("/api/admin", { headers: { cookie } })).status).toBe(200);
    expect((await call("/api/session/logout", { method: "POST", headers: { cookie } })).status).toBe(204);
    expect((await call("/api/admin", { headers: { cookie } })).status).toBe(401);
  });

  it("wrong password and unknown account get the same answer (AD-05)", async () => {
    const { setup, call } = await setUp();
    await setup.ensureAdmin(admin.email, new Hidden(admin.password));
    const bodies = [];
    for (const body of [
      { ...admin, password: "wrong wrong wrong" },
      { ...admin, email: "no@example.com" },
    ]) {
      const answer = await login(call, body);
      const { event_id: _, error, ...rest } = await readJson(answer);
      bodies.push([answer.status, rest, error.code, error.message]);
    }
    expect(bodies[0]).toEqual(bodies[1]);
    expect(bodies[0]![0]).toBe(401);
  });

  it("signing somebody in from another site is refused (CB-24)", async () => {
    const { setup, call } = await setUp();
    await setup.ensureAdmin(admin.email, new Hidden(admin.password));
    const body = new URLSearchParams(admin).toString();
    const form = { "content-type": "application/x-www-form-urlencoded" };
    const strangers: Record<string, string>[] = [
      { "sec-fetch-site": "cross-site" },
      { origin: "https://evil.example" },
    ];
    for (const from of strangers) {
      for (const path of ["/login", "/login/code", "/login/passkey/answer"]) {
        const answer = await call(path, { method: "POST", headers: { ...form, ...from }, body });
        expect([answer.status, answer.headers.get("set-cookie")], path).toEqual([403, null]);
      }
    }
  });

  it("a machine's account starts no session", async () => {
    const { users, database, sessions } = await setUp();
    const machine = await database.transaction((tx) =>
      users.insertFrom(tx, { name: "ci", source: "api", kind: "service" }),
    );
    await expect(sessions.start(machine!)).rejects.toMatchObject({ code: "service_account" });
  });

  it("guessing is limited", async () => {
    const { call } = await setUp();
    const statuses = new Set<number>();
    for (let i = 0; i < 21; i++)
      statuses.add((await login(call, { email: "a@b.c", password: `guess number ${i}` })).status);
    expect(statuses).toEqual(new Set([401, 429]));
  });

  it("sessions end after twelve idle hours and after seven days", async () => {
    const { setup, call, world } = await setUp();
    await setup.ensureAdmin(admin.email, new Hidden(admin.password));
    const cookie = cookieOf(await login(call));
    const status = async () => (await call("/api/who", { headers: { cookie } })).status;
    for (let hour = 0; hour < 7 * 24 - 6; hour += 6) {
      expect(await status(), `after ${hour} hours`).toBe(200);
      world.advance(6 * HOUR);
    }
    world.advance(6 * HOUR);
    expect(await status()).toBe(401);
    const other = cookieOf(await login(call));
    world.advance(12 * HOUR);
    expect((await call("/api/who", { headers: { cookie: other } })).status).toBe(401);
  });

  it("exactly one credential counts, and a bad one never falls through (ID-05, ID-09, R13)", async () => {
    const { setup, call } = await setUp();
    await setup.ensureAdmin(admin.email, new Hidden(admin.password));
    const cookie = cookieOf(await login(call));
    const status = async (headers: Record<string, string>, path = "/api/who") =>
      (await call(path, { headers })).status;
    expect(await status({})).toBe(401);
    expect(await status({ authorization: "" })).toBe(401);
    expect(await status({ authorization: "Bearer a-long-administrator-token" })).toBe(200);
    expect(await status({ authorization: "bearer  a-long-administrator-token" })).toBe(200);
    expect(await status({ authorization: "Basic a-long-administrator-token" })).toBe(401);
    expect(await status({ authorization: "Bearer sk-bf-good" })).toBe(200);
    expect(await status({ authorization: "Bearer sk-bf-good" }, "/api/admin")).toBe(403);
    expect(await status({ authorization: "Bearer sk-bf-good", "x-bf-vk": "sk-bf-good" })).toBe(200);
    expect(await status({ authorization: "Bearer sk-bf-good", "x-api-key": "sk-bf-other" })).toBe(400);
    expect(await status({ authorization: "Bearer sk-bf-bad" })).toBe(401);
    expect(await status({ authorization: "Bearer pst_anything" })).toBe(401);
    expect(await status({ authorization: "Bearer sk-bf-good", cookie })).toBe(400);
    expect(await status({ authorization: "Bearer sk-bf-bad", cookie })).toBe(400);
  });

  it("a cookie changes nothing from another site; a bearer does not care (AD-02)", async () => {
    const { setup, call } = await setUp();
    await setup.ensureAdmin(admin.email, new Hidden(admin.password));
    const cookie = cookieOf(await login(call));
    const change = async (headers: Record<string, string>) =>
      (await call("/api/change", { method: "POST", headers })).status;
    expect(await change({ cookie, "sec-fetch-site": "cross-site" })).toBe(403);
    expect(await change({ cookie, origin: "https://evil.example" })).toBe(403);
    expect(await change({ cookie, "sec-fetch-site": "same-origin" })).toBe(200);
    expect(await change({ authorization: "Bearer sk-bf-good", "sec-fetch-site": "cross-site" })).toBe(200);
  });

  it("sends people on to our own pages only", async () => {
    const { setup, call } = await setUp();
    await setup.ensureAdmin(admin.email, new Hidden(admin.password));
    for (const [given, goes] of [
      ["/oauth/consent?flow_id=f", "/oauth/consent?flow_id=f"],
      ["//evil.example", "/"],
      ["https://evil.example", "/"],
      ["/\\evil.example", "/"],
    ] as const) {
      const answer = await call("/login", {
        method: "POST",
        headers: { "content-type": "application/x-www-form-urlencoded" },
        body: new URLSearchParams({ ...admin, return_to: given }).toString(),
      });
      expect(answer.headers.get("location"), given).toBe(goes);
    }
  });

  it("keeps no password and no session value in the clear (ST-01)", async () => {
    const { setup, call, database } = await setUp();
    await setup.ensureAdmin(admin.email, new Hidden(admin.password));
    const value = cookieOf(await login(call)).split("=")[1]!;
    const rows = JSON.stringify([
      await database.db.selectFrom("users").selectAll().execute(),
      await database.db.selectFrom("dashboard_sessions").selectAll().execute(),
      await database.db.selectFrom("flows").selectAll().execute(),
    ]);
    expect(rows).not.toContain(admin.password);
    expect(rows).not.toContain(value);
  });
});
