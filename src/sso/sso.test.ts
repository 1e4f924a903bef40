import { afterEach, expect, it } from "vitest";
import { startScriptedProvider } from "../../test/peers/scripted-provider.ts";
import { onBothDatabases } from "../../test/support/databases.ts";
import { Closing, codeOn, entryOf, LANDING, setUp, signIn, startPair } from "./sso.suite.ts";

onBothDatabases("single sign-on", (open) => {
  const closing = new Closing();
  afterEach(() => closing.close());

  const start = (more?: Record<string, unknown>) => startPair(open, closing, more);

  it("signs in with PKCE, nonce and state, makes the account, and starts a session of its own value", async () => {
    const { provider, browser, base, users, audited, database } = await start();
    const tab = browser();
    const planted = tab.cookies;
    planted.store(new URL(base), "postern-session=planted-by-somebody; Path=/");
    const page = await signIn(tab, base);
    expect(page.url.pathname).toBe(LANDING);
    expect(page.html).toContain("Ada (ada@example.com)");
    const asked = Object.fromEntries(provider.lastAuthorize);
    expect(asked).toMatchObject({
      response_type: "code",
      client_id: "gateway-client",
      redirect_uri: `${base}/login/sso/corp/callback`,
      scope: "openid email profile",
      code_challenge_method: "S256",
    });
    expect(asked.nonce).toMatch(/^[\w-]{43}$/);
    expect(provider.lastTokenRequest.body.get("code_verifier")).toMatch(/^[\w-]{43}$/);
    expect(provider.lastTokenRequest.authorization).toMatch(/^Basic /);
    const { users: people } = await users.list({ limit: 10, offset: 0 });
    expect(people).toMatchObject([{ email: "ada@example.com", role: "member", source: "sso:corp" }]);
    // Session fixation: what was planted is worth nothing, and the value is new.
    const cookies = tab.cookies.header(new URL(base), { crossSite: false, safe: true });
    expect(cookies).not.toContain("planted-by-somebody");
    expect(cookies).not.toContain("postern-sign_in");
    const row = await database.db.selectFrom("dashboard_sessions").selectAll().executeTakeFirstOrThrow();
    expect(row).toMatchObject({ method: "sso", provider: "sso:corp", provider_subject: "sub-ada" });
    expect((await audited()).map(({ event }) => event)).toEqual([
      "user.created",
      "identity.linked",
      "session.started",
    ]);
  });

  it("a second sign-in is the same person, renamed as the provider says, and ends the session before it", async () => {
    const { provider, browser, base, users, database } = await start();
    const tab = browser();
    await signIn(tab, base);
    provider.claims = { sub: "sub-ada", email: "ada.lovelace@example.com", name: "Ada Lovelace" };
    expect((await signIn(tab, base)).html).toContain("Ada Lovelace (ada.lovelace@example.com)");
    expect((await users.list({ limit: 10, offset: 0 })).total).toBe(1);
    expect(await database.db.selectFrom("dashboard_sessions").select("id").execute()).toHaveLength(1);
  });

  it("ID-18 two providers with the same sub and e-mail are two people, and none of them is whom they name", async () => {
    const [one, two] = await Promise.all(
      [1, 2].map(async () => closing.keep(await startScriptedProvider(() => new Date()))),
    );
    const { browser, base, users, count } = await setUp(open, closing, {
      allow: [one!.hostPort, two!.hostPort],
      providers: [
        entryOf(one!),
        entryOf(two!, {
          id: "other",
          name: "Other",
          claims: { role: "role" },
          roles: { boss: "admin" },
        }),
      ],
    });
    await signIn(browser(), base);
    const before = await count();
    two!.claims = { ...one!.claims, email_verified: true };
    expect(codeOn(await signIn(browser(), base, "other"))).toEqual([409, "email_of_another_account"]);
    expect(await count()).toEqual(before);
    // Unverified addresses are nobody's; names and roles that the first provider is not asked for do nothing.
    two!.claims = { ...one!.claims, email_verified: false, preferred_username: "ada@example.com" };
    one!.claims = { ...one!.claims, role: "boss", upn: "admin@example.com" };
    expect((await signIn(browser(), base, "other")).url.pathname).toBe(LANDING);
    expect((await signIn(browser(), base)).url.pathname).toBe(LANDING);
    const { users: people } = await users.list({ limit: 10, offset: 0 });
    expect(people.map(({ role, source }) => [role, source]).toSorted()).toEqual([
      ["member", "sso:corp"],
      ["member", "sso:other"],
    ]);
  });

  it("two first sign-ins of one person at once are one account", async () => {
    const { provider, browser, base, users } = await start();
    for (const claims of [provider.claims, { sub: "without-address" }]) {
      provider.claims = claims;
      const pages = await Promise.all([signIn(browser(), base), signIn(browser(), base)]);
      expect(pages.map(({ url }) => url.pathname)).toEqual([LANDING, LANDING]);
    }
    expect((await users.list({ limit: 10, offset: 0 })).total).toBe(2);
  });

  it("groups and roles follow at each sign-in, only those of this provider; the last administrator stays one", async () => {
    const { provider, browser, base, users, groups, database, audited } = await start({
      claims: { groups: "groups", role: "realm_access.roles" },
      groups: { "/eng/backend": "Backend", "/eng": "Engineering" },
      roles: { "gateway-admin": "admin" },
    });
    const ids = await database.transaction(async (tx) => {
      const made = [];
      for (const name of ["Backend", "Engineering", "Hand-made"])
        made.push((await groups.insert(tx, { name, source: "api" })).id);
      return made as [string, string, string];
    });
    const memberships = async () =>
      (await database.db.selectFrom("group_members").selectAll().execute())
        .map(
          ({ group_id, via }) => `${["Backend", "Engineering", "Hand-made"][ids.indexOf(group_id)]} ${via}`,
        )
        .toSorted();
    const roleOf = async () => (await users.list({ limit: 1, offset: 0 })).users[0]!.role;
    const ada = { sub: "sub-ada", email: "ada@example.com", name: "Ada" };
    provider.claims = {
      ...ada,
      groups: ["/eng/backend", "/eng", "/unknown"],
      realm_access: { roles: ["gateway-admin"] },
    };
    await signIn(browser(), base);
    expect(await memberships()).toEqual(["Backend sso:corp", "Engineering sso:corp"]);
    expect(await roleOf()).toBe("admin");
    const { id } = (await users.list({ limit: 1, offset: 0 })).users[0]!;
    await database.transaction((tx) => groups.change(tx, ids[2], { add: [id], via: "api" }));

    provider.claims = { ...ada, groups: ["/eng"] };
    expect((await signIn(browser(), base)).url.pathname).toBe(LANDING);
    expect(await memberships()).toEqual(["Engineering sso:corp", "Hand-made api"]);
    expect(await roleOf()).toBe("admin");
    expect((await audited()).filter(({ event }) => event === "user.role_kept")).toHaveLength(1);

    provider.claims = {
      sub: "sub-bob",
      email: "bob@example.com",
      realm_access: { roles: ["gateway-admin"] },
    };
    await signIn(browser(), base);
    provider.claims = { ...ada, groups: [] };
    await signIn(browser(), base);
    expect(await memberships()).toEqual(["Hand-made api"]);
    expect((await users.find(id))!.role).toBe("member");
  });

  it("groups that the provider lists elsewhere stay as they are (Entra's overage)", async () => {
    const { provider, browser, base, groups, database } = await start({ claims: { groups: "groups" } });
    await database.transaction((tx) => groups.insert(tx, { name: "1f7c", source: "api" }));
    const entra = { sub: "sub-ada", name: "Ada", preferred_username: "ada@example.com", oid: "o", tid: "t" };
    const members = () => database.db.selectFrom("group_members").select("via").execute();
    provider.claims = { ...entra, groups: ["1f7c"] };
    await signIn(browser(), base);
    expect(await members()).toHaveLength(1);
    for (const overage of [
      { _claim_names: { groups: "src1" }, _claim_sources: { src1: {} } },
      { hasgroups: true },
    ]) {
      provider.claims = { ...entra, ...overage };
      expect((await signIn(browser(), base)).url.pathname).toBe(LANDING);
      expect(await members()).toHaveLength(1);
    }
  });

  it("who is switched off, or has no account where none is made, is refused; nothing changes, it is written down once", async () => {
    const { browser, base, count, audited } = await start({ create_accounts: false });
    expect(codeOn(await signIn(browser(), base))).toEqual([403, "account_unknown"]);
    expect(await count()).toEqual([0, 0, 0, 0]);
    expect((await audited()).map(({ event, detail }) => [event, detail.code])).toEqual([
      ["session.refused", "account_unknown"],
    ]);
    const second = await start();
    await signIn(second.browser(), second.base);
    const [person] = (await second.users.list({ limit: 1, offset: 0 })).users;
    await second.users.setActive(person!.id, false);
    expect(codeOn(await signIn(second.browser(), second.base))).toEqual([403, "account_disabled"]);
  });

  it("an account that SCIM made is found by the id that the operator named, never by its address", async () => {
    const { provider, browser, base, users, database } = await start({
      scim_id: "oid",
      create_accounts: false,
    });
    const made = await database.transaction(async (tx) => {
      const user = await users.insertFrom(tx, { email: "ada@example.com", name: "Ada", source: "scim" });
      await tx.updateTable("users").set({ external_id: "object-1" }).where("id", "=", user!.id).execute();
      return user!;
    });
    provider.claims = { sub: "pairwise", email: "ada@example.com", oid: "object-2" };
    expect(codeOn(await signIn(browser(), base))).toEqual([403, "account_unknown"]);
    provider.claims = { sub: "pairwise", email: "x@example.com", oid: "object-1" };
    expect((await signIn(browser(), base)).html).toContain("ada@example.com");
    // Another subject with the same id does not become the person as well.
    provider.claims = { sub: "another", oid: "object-1" };
    expect(codeOn(await signIn(browser(), base))).toEqual([403, "account_unknown"]);
    expect((await users.find(made.id))!.email).toBe("ada@example.com");
  });
});
