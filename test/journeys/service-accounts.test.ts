import { expect, test } from "vitest";
import { Browser } from "../peers/browser.ts";
import { Dashboard } from "./steps/dashboard.ts";
import { addProtected } from "./steps/main-job.ts";
import { Management } from "./steps/management.ts";
import { linkOf, openWithBearer, statusFor, textOf } from "./steps/mcp-client.ts";
import { startProtectedUpstream } from "./steps/peers.ts";
import { bob, codeOf, openOffice, password } from "./steps/people.ts";
import { Administrator } from "./steps/person.ts";
import { journeys, type Stage } from "./steps/stage.ts";

const path = "/api/service-accounts";
const tool = { name: "protected-whoami" };

/** A gateway with the protected upstream, and Bob, who may sign in. */
async function openWorkshop(stage: Stage) {
  const guarded = stage.keep(await startProtectedUpstream());
  const gateway = await stage.gateway(guarded.allow);
  const admin = new Management(gateway.baseUrl, gateway.adminToken);
  const operator = stage.keep(new Administrator());
  await operator.setUp(gateway.setupLink);
  const upstreamId = await addProtected(admin, operator, guarded);
  const { user } = await admin.expect(200, "POST", "/api/users", { ...bob, password });
  const make = async (body: object) =>
    (await admin.expect(200, "POST", path, body)).service_account as { id: string };
  const keyOf = async (userId: string) =>
    (
      await admin.expect(200, "POST", "/api/governance/virtual-keys", {
        name: `key of ${userId}`,
        user_id: userId,
        mcp_configs: [{ mcp_client_id: upstreamId, tools_to_execute: ["*"] }],
      })
    ).virtual_key as { id: string; value: string };
  /** A browser in which Bob is signed in. */
  const bobs = async () => {
    const browser = stage.keep(new Browser());
    await browser.get(`${gateway.baseUrl}/login`);
    await browser.submitForm("/login", { email: bob.email, password });
    return browser;
  };
  return { guarded, gateway, admin, upstreamId, bobId: user.id as string, make, keyOf, bobs };
}

journeys("service accounts", (stage) => {
  test("a script's call gets the link at once; who looks after the account connects it in a browser; the script goes on alone", async () => {
    const { admin, gateway, guarded, make, keyOf, bobId, bobs } = await openWorkshop(stage);
    const { id } = await make({ name: "nightly", manager_id: bobId });
    const key = await keyOf(id);
    const script = stage.keep(await openWithBearer(gateway.baseUrl, key.value));
    const link = linkOf(await script.callTool(tool), "protected");
    expect(guarded.upstream.calls("tools/call")).toHaveLength(0);
    const browser = await bobs();
    expect((await browser.get(link)).html).toContain("the service account “nightly”, which Bob uses");
    const done = await browser.submitForm(/mcp-sessions\/auth/);
    expect(done.html).toContain("Connected");
    expect(textOf(await script.callTool(tool))).toBe("alice");

    const own = new Management(gateway.baseUrl, key.value);
    expect(await own.onlySession()).toMatchObject({ auth_mode: "user", status: "active" });
    const { events } = await admin.expect(200, "GET", "/api/audit?event=credential.connected&limit=1");
    expect(events[0]).toMatchObject({ actor: `user:${bobId}` });

    await admin.expect(200, "PUT", `${path}/${id}`, { is_active: false });
    await expect.poll(() => statusFor(gateway.baseUrl, key.value)).toBe(401);
    await admin.expect(200, "PUT", `${path}/${id}`, { is_active: true });
    await expect.poll(() => statusFor(gateway.baseUrl, key.value)).toBe(200);
    await admin.expect(204, "DELETE", `${path}/${id}`);
    await expect.poll(() => statusFor(gateway.baseUrl, key.value)).toBe(401);
    expect(await admin.sessions({ auth_mode: "user" })).toEqual([]);
    await expect.poll(() => guarded.provider.revocations.length).toBeGreaterThan(0);
  });

  test("it is made, listed, changed and removed by administrators, and read by who looks after it", async () => {
    const { admin, gateway, make, bobId } = await openWorkshop(stage);
    const made = await make({ name: "nightly", manager_id: bobId });
    stage.advance(1000);
    const other = await make({ name: "deploys", mcp_configs: [{ mcp_client_name: "protected" }] });
    const list = async (by: { expect: Management["expect"] }, query = "") =>
      (await by.expect(200, "GET", `${path}${query}`)).service_accounts.map(
        ({ name }: { name: string }) => name,
      );
    expect(await list(admin)).toEqual(["deploys", "nightly"]);
    expect(await list(admin, "?search=NIGHT")).toEqual(["nightly"]);
    expect(await list(admin, "?search=invalid")).toEqual([]);
    const dashboard = new Dashboard(gateway.baseUrl);
    await dashboard.signIn(bob.email, password);
    expect(await list(dashboard)).toEqual(["nightly"]);
    const { service_account } = await dashboard.expect(200, "GET", `${path}/${made.id}`);
    expect(service_account).toMatchObject({ manager: { id: bobId, name: "Bob" }, mcp_configs: [] });
    expect(codeOf(await dashboard.send("GET", `${path}/${other.id}`))).toEqual([
      404,
      "service_account_not_found",
      undefined,
    ]);
    expect(codeOf(await dashboard.send("PUT", `${path}/${made.id}`, { name: "mine" }))).toEqual([
      403,
      "administrator_required",
      undefined,
    ]);
    for (const [body, expected] of [
      [{ name: "NIGHTLY" }, [409, "service_account_name_taken", "name"]],
      [{ name: "x", manager_id: "user_none" }, [400, "unknown_manager", "manager_id"]],
      [{ name: "x", manager_id: other.id }, [400, "unknown_manager", "manager_id"]],
      [{ name: "" }, [400, "invalid_request", "name"]],
      [{ name: "x", role: "admin" }, [400, "invalid_request", "role"]],
    ] as const)
      expect(codeOf(await admin.send("POST", path, body))).toEqual(expected);
    expect(codeOf(await admin.send("PUT", `${path}/${other.id}`, { name: "Nightly" }))[1]).toBe(
      "service_account_name_taken",
    );
    const renamed = await admin.expect(200, "PUT", `${path}/${other.id}`, {
      name: "Deploys",
      manager_id: bobId,
    });
    expect(renamed.service_account).toMatchObject({ name: "Deploys", manager: { id: bobId } });
    expect(await list(dashboard)).toEqual(["Deploys", "nightly"]);
    expect(codeOf(await admin.send("DELETE", `${path}/${bobId}`))[1]).toBe("service_account_not_found");
    // Who leaves leaves the accounts to the administrators.
    await admin.expect(204, "DELETE", `/api/users/${bobId}`);
    expect((await admin.expect(200, "GET", `${path}/${made.id}`)).service_account.manager).toBeUndefined();
  });

  test("it is no person: not among them, in no role, and with no way to sign in", async () => {
    const { admin, browser } = await openOffice(stage);
    const { service_account } = await admin.expect(200, "POST", path, { name: "nightly" });
    const { id } = service_account;
    const people = async (query = "") => (await admin.expect(200, "GET", `/api/users${query}`)).total_count;
    expect([await people(), await people("?kind=service")]).toEqual([0, 1]);
    const user = (await admin.expect(200, "GET", `/api/users/${id}`)).user;
    expect(user).toMatchObject({ kind: "service", role: "member", has_password: false });
    expect(codeOf(await admin.send("PUT", `/api/users/${id}`, { role: "admin" }))).toEqual([
      403,
      "service_account",
      undefined,
    ]);
    expect(codeOf(await admin.send("POST", `/api/users/${id}/recovery-link`))[1]).toBe("service_account");
    expect((await browser().signIn(user.email, password)).status).toBe(401);
    await admin.expect(204, "DELETE", `/api/users/${id}`);
  });
});
