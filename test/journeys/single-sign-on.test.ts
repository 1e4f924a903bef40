import { expect, test } from "vitest";
import { openCompany } from "./steps/company.ts";
import { journeys } from "./steps/stage.ts";

/** The stores behind it are the same for all. */
const shapes = ["keycloak", "entra", "okta"] as const;

journeys("single sign-on", (stage) => {
  test.each(stage.kind === "sqlite" ? shapes : shapes.slice(0, 1))(
    "%s: a person comes in, changes groups and name there, and is switched off here",
    async (shape) => {
      const { admin, directory, browser, signIn, people, groupsOf } = await openCompany(stage, [shape]);
      for (const name of ["Engineering", "Sales"]) await admin.expect(200, "POST", "/api/groups", { name });
      const bob = browser();
      expect((await signIn(bob, shape, "1002")).html).toContain("For Bob (bob@example.com)");
      await signIn(browser(), shape, "1001");
      expect((await people()).map(({ name, role }) => [name, role]).toSorted()).toEqual([
        ["Ada", "admin"],
        ["Bob", "member"],
      ]);
      expect(await groupsOf("Engineering")).toEqual(expect.arrayContaining(["Ada", "Bob"]));
      directory.set("1002", { name: "Robert", email: "robert@example.com", groups: ["Sales"], roles: [] });
      expect((await signIn(bob, shape, "1002")).html).toContain("For Robert (robert@example.com)");
      expect(await groupsOf("Engineering")).toEqual(["Ada"]);
      expect(await groupsOf("Sales")).toEqual(["Robert"]);
      const { id } = (await people()).find(({ name }) => name === "Robert")!;
      await admin.expect(200, "PUT", `/api/users/${String(id)}`, { is_active: false });
      expect((await signIn(browser(), shape, "1002")).status).toBe(403);
    },
  );

  test.runIf(stage.kind === "sqlite")("google: only people of the domain, without groups", async () => {
    const { directory, browser, signIn, people } = await openCompany(stage, ["google"]);
    directory.set("1003", { name: "Eve", email: "eve@evil.example", groups: [], roles: [] });
    expect((await signIn(browser(), "google", "1001")).html).toContain("For Ada (ada@example.com)");
    expect((await signIn(browser(), "google", "1003")).html).toContain("(sso_not_admitted)");
    expect(await people()).toHaveLength(1);
  });

  test.runIf(stage.kind === "sqlite")(
    "signing out here signs out there, and signing out there signs out here",
    async () => {
      const { base, browser, signIn } = await openCompany(stage, ["keycloak"]);
      const [desk, phone] = [browser(), browser()];
      await signIn(desk, "keycloak", "1002");
      await signIn(phone, "keycloak", "1002");
      await desk.get(`${base}/`);
      const asked = await desk.submitForm((form) => form.action.endsWith("/logout"));
      expect(asked.html).toContain("Test provider: sign out");
      const ended = await desk.submitForm(() => true, { logout: "yes" });
      expect(ended.url.href).toBe(`${base}/login/sso/keycloak/signed-out`);
      expect(ended.html).toContain("You are signed out here and at keycloak.");
      expect((await desk.get(`${base}/account/identities`)).url.pathname).toBe("/login");
      // The phone had a session of its own at the provider.
      expect((await phone.get(`${base}/account/identities`)).url.pathname).toBe("/account/identities");
      const [provider] = [new URL(asked.url.origin)];
      await phone.get(`${provider.origin}/session/end`);
      await phone.submitForm(() => true, { logout: "yes" });
      await expect
        .poll(async () => (await phone.get(`${base}/account/identities`)).url.pathname)
        .toBe("/login");
    },
  );
});
