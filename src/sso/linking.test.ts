import { sql } from "kysely";
import { afterEach, describe, expect, it } from "vitest";
import type { Browser } from "../../test/peers/browser.ts";
import { onBothDatabases } from "../../test/support/databases.ts";
import type { Tx } from "../db/index.ts";
import { Closing, codeOn, inMemory, LANDING, type Pair, signIn, startPair } from "./sso.suite.ts";

const closing = new Closing();
afterEach(() => closing.close());

/** Somebody with a password, signed in a moment ago, as another person may be too. */
async function person(gateway: Pair, email: string, hash: string | null = "a-hash-of-nothing") {
  const user = await gateway.database.transaction(async (tx) => {
    const made = (await gateway.users.insertFrom(tx, { email, name: email.split("@")[0]!, source: "api" }))!;
    await tx.updateTable("users").set({ password_hash: hash }).where("id", "=", made.id).execute();
    return made;
  });
  const tab = gateway.browser();
  await gateway.signedIn(tab, user.id);
  return { user, tab };
}

const link = (tab: Browser, base: string, stopAt?: string) =>
  tab.submit(`${base}${LANDING}/link/corp`, {}, { from: `${base}${LANDING}`, ...(stopAt && { stopAt }) });

/** Until another transaction waits for what this one has written. */
async function waited(tx: Tx): Promise<void> {
  const blocked = sql`select 1 from pg_locks where not granted and pg_backend_pid() = any(pg_blocking_pids(pid))`;
  await expect.poll(async () => (await blocked.execute(tx)).rows.length).toBeGreaterThan(0);
}

onBothDatabases("linking", (open) => {
  it("by proof of both, from then on that account signs this person in; unlinked it does not", async () => {
    const gateway = await startPair(open, closing, { claims: { groups: "groups" } });
    const { provider, base, identities, audited, groups, database } = gateway;
    await database.transaction((tx) => groups.insert(tx, { name: "Team", source: "api" }));
    const { user, tab } = await person(gateway, "grace@example.com");
    expect((await tab.get(base + LANDING)).html).toContain("No account elsewhere is linked");
    provider.claims = { sub: "sub-g", email: "grace@corp.example", name: "Grace at Corp", groups: ["Team"] };
    const linked = await link(tab, base);
    expect(linked.url.pathname).toBe(LANDING);
    expect(linked.html).toContain("grace@corp.example");
    // Linked again it is the same.
    expect((await link(tab, base)).url.pathname).toBe(LANDING);
    const elsewhere = gateway.browser();
    expect((await signIn(elsewhere, base)).html).toContain("For grace (grace@example.com)");
    expect(await identities.list(user.id)).toHaveLength(1);
    const members = () => database.db.selectFrom("group_members").selectAll().execute();
    expect(await members()).toHaveLength(1);
    const after = await tab.submitForm((form) => form.action.endsWith("/unlink"));
    expect(after.html).toContain("No account elsewhere is linked");
    // What it opened and what it gave are gone with it; the browser that unlinked stays.
    expect((await elsewhere.get(base + LANDING)).url.pathname).toBe("/login");
    expect(await members()).toEqual([]);
    provider.claims = { sub: "sub-g", email: "grace@example.com" };
    expect(codeOn(await signIn(gateway.browser(), base))).toEqual([409, "email_of_another_account"]);
    const events = (await audited()).map(({ event }) => event);
    expect(events).toEqual([
      "identity.linked",
      "user.groups_changed",
      "session.started",
      "identity.unlinked",
      "session.refused",
    ]);
  });

  it("who is unlinked in the moment of their sign-in gets no session", async () => {
    const gateway = await startPair(open, closing, { create_accounts: false });
    const { base, browser, database, identities } = gateway;
    const { user, tab } = await person(gateway, "grace@example.com");
    await link(tab, base);
    const { id } = (await identities.list(user.id))[0]!;
    const before = await gateway.count();
    const how = { usable: ["sso:corp"], local: true };
    let arriving: Promise<unknown> = Promise.resolve();
    await database.transaction(async (tx) => {
      await identities.unlink(tx, { userId: user.id, id }, how);
      arriving = signIn(browser(), base).then(codeOn);
      if (gateway.databaseUrl.startsWith("postgres")) await waited(tx);
    });
    expect(await arriving).toEqual([403, "account_unknown"]);
    expect(await gateway.count()).toEqual([before[0], before[1]! - 1, before[2], before[3]]);
  });

  it("an account that is somebody's already stays theirs; the last way in cannot be unlinked, also not twice at once", async () => {
    const gateway = await startPair(open, closing);
    const { base, identities, browser } = gateway;
    const owner = browser();
    await signIn(owner, base);
    const { tab } = await person(gateway, "grace@example.com");
    expect(codeOn(await link(tab, base))).toEqual([409, "identity_taken"]);
    await owner.get(base + LANDING);
    expect(codeOn(await owner.submitForm((form) => form.action.endsWith("/unlink")))).toEqual([
      409,
      "last_way_in",
    ]);

    const { user } = await person(gateway, "two@example.com", null);
    const assertion = (subject: string) => ({ provider: "sso:corp", issuer: "https://x.example", subject });
    await gateway.database.transaction(async (tx) => {
      for (const subject of ["a", "b"]) await identities.link(tx, user.id, assertion(subject));
    });
    const ids = (await identities.list(user.id)).map(({ id }) => id);
    const ways = { usable: ["sso:corp"], local: true };
    const ends = await Promise.allSettled(
      ids.map((id) =>
        gateway.database.transaction((tx) => identities.unlink(tx, { userId: user.id, id }, ways)),
      ),
    );
    expect(ends.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected"]);
    expect(await identities.list(user.id)).toHaveLength(1);
  });
});

describe("linking", () => {
  it("needs a fresh sign-in, our own page, and ends in the session in which it began", async () => {
    const gateway = await startPair(inMemory(closing), closing);
    const { base, world, sessions, identities, provider } = gateway;
    const { user, tab } = await person(gateway, "grace@example.com");
    const crossed = await tab.submit(`${base}${LANDING}/link/corp`, {}, { from: "https://evil.example/" });
    expect(codeOn(crossed)).toEqual([403, "cross_site_request"]);
    const callback = `${base}/login/sso/corp/callback`;
    // Signed out meanwhile.
    const first = await link(tab, base, callback);
    await gateway.database.db.deleteFrom("dashboard_sessions").execute();
    expect(codeOn(await tab.get(first.stoppedAt!))).toEqual([403, "sso_session_changed"]);
    // Signed in as somebody else, or anew as oneself.
    const other = await person(gateway, "mallory@example.com");
    for (const id of [user.id, other.user.id]) {
      await gateway.signedIn(tab, user.id);
      const away = await link(tab, base, callback);
      await gateway.signedIn(tab, id);
      expect(codeOn(await tab.get(away.stoppedAt!))).toEqual([403, "sso_session_changed"]);
    }
    // Nobody's.
    expect(codeOn(await link(gateway.browser(), base))).toEqual([401, "authentication_required"]);
    await gateway.signedIn(tab, user.id);
    world.advance(11 * 60_000);
    expect(codeOn(await link(tab, base))).toEqual([403, "sign_in_again"]);
    expect((await tab.get(base + LANDING)).html).toContain("disabled");
    expect(await identities.list(user.id)).toEqual([]);
    expect([sessions.cookieName, provider.requests.includes("POST /token")]).toEqual([
      "postern-session",
      true,
    ]);
  });

  it("over the API a person sees and ends their own only", async () => {
    const gateway = await startPair(inMemory(closing), closing);
    const { base, identities, database, sessions } = gateway;
    const [one, two] = [await person(gateway, "one@example.com"), await person(gateway, "two@example.com")];
    await database.transaction((tx) =>
      identities.link(tx, one.user.id, { provider: "sso:gone", issuer: "https://x.example", subject: "s" }),
    );
    const { id } = (await identities.list(one.user.id))[0]!;
    const cookieOf = async (userId: string) => {
      const { value } = await sessions.start({ id: userId });
      return { cookie: `${sessions.cookieName}=${value.reveal()}`, "sec-fetch-site": "same-origin" };
    };
    const path = `${base}/api/account/identities`;
    const headers = await cookieOf(one.user.id);
    const listed = await (await fetch(path, { headers })).json();
    expect(listed).toMatchObject({ identities: [{ id, provider: "sso:gone", subject: "s", display: "s" }] });
    const theirs = await fetch(`${path}/${id}`, { method: "DELETE", headers: await cookieOf(two.user.id) });
    expect(theirs.status).toBe(404);
    expect((await fetch(path)).status).toBe(401);
    expect((await fetch(`${path}/${id}`, { method: "DELETE", headers })).status).toBe(204);
    expect(await identities.list(one.user.id)).toEqual([]);
  });

  it("an administrator sees and ends anybody's, the last way in too; others do not", async () => {
    const gateway = await startPair(inMemory(closing), closing);
    const { base, browser, database, sessions, users, audited } = gateway;
    const tab = browser();
    await signIn(tab, base);
    const { id } = (await users.list({ limit: 1, offset: 0 })).users[0]!;
    const boss = await person(gateway, "boss@example.com");
    const { value } = await sessions.start({ id: boss.user.id });
    const headers = { cookie: `${sessions.cookieName}=${value.reveal()}`, "sec-fetch-site": "same-origin" };
    const path = `${base}/api/users/${id}/identities`;
    expect((await fetch(path, { headers })).status).toBe(403);
    await database.db.updateTable("users").set({ role: "admin" }).where("id", "=", boss.user.id).execute();
    const { identities } = (await (await fetch(path, { headers })).json()) as {
      identities: { id: string }[];
    };
    expect(identities).toMatchObject([{ provider: "sso:corp", provider_name: "Corp", subject: "sub-ada" }]);
    expect((await fetch(`${base}/api/users/nobody/identities`, { headers })).status).toBe(404);
    const ended = await fetch(`${path}/${identities[0]!.id}`, { method: "DELETE", headers });
    expect(ended.status).toBe(204);
    expect((await tab.get(base + LANDING)).url.pathname).toBe("/login");
    expect((await audited()).at(-1)).toMatchObject({ event: "identity.unlinked", detail: { user_id: id } });
  });

  it("what belongs to a provider that was removed ends at the start, and counts again when it is back", async () => {
    const gateway = await startPair(inMemory(closing), closing);
    const { base, browser, identities, database, users, sso } = gateway;
    const tab = browser();
    await signIn(tab, base);
    const { id } = (await users.list({ limit: 1, offset: 0 })).users[0]!;
    await database.db.updateTable("users").set({ role: "admin" }).where("id", "=", id).execute();
    const issuer = gateway.provider.issuer;
    const reconcile = (...usable: { provider: string; issuer: string }[]) =>
      database.transaction((tx) => identities.reconcile(tx, usable));
    expect(await users.hasAdmin()).toBe(true);
    await reconcile(
      { provider: "sso:other", issuer: "https://other.example" },
      { provider: "sso:corp", issuer },
    );
    expect((await tab.get(base + LANDING)).url.pathname).toBe(LANDING);
    // Another issuer under the same name is another provider.
    await reconcile({ provider: "sso:corp", issuer: "https://other.example" });
    await reconcile();
    expect((await tab.get(base + LANDING)).url.pathname).toBe("/login");
    expect(await users.hasAdmin()).toBe(false);
    expect((await identities.list(id)).map(({ provider }) => provider)).toEqual(["removed:sso:corp"]);
    await sso.reconcile();
    expect(await users.hasAdmin()).toBe(true);
    expect((await signIn(tab, base)).url.pathname).toBe(LANDING);
  });

  it("an account that is deleted while its person is on their way is not made again by that", async () => {
    const gateway = await startPair(inMemory(closing), closing);
    const { base, browser, identities, provider, users, world } = gateway;
    await signIn(browser(), base);
    const before = (await identities.find(provider.issuer, "sub-ada"))!;
    const tab = browser();
    const left = await tab.submit(
      `${base}/login/sso/corp`,
      { return_to: LANDING },
      { from: `${base}/login`, stopAt: `${base}/login/sso/corp/callback` },
    );
    world.advance(1_000);
    await users.delete(before.id);
    world.advance(1_000);
    expect(codeOn(await tab.get(left.stoppedAt!))).toEqual([403, "account_unknown"]);
    expect(await identities.find(provider.issuer, "sub-ada")).toBeUndefined();
    // Whom the provider still knows afterwards comes anew.
    expect((await signIn(tab, base)).url.pathname).toBe(LANDING);
  });

  it("a provider that is not configured any more is no way in", async () => {
    const gateway = await startPair(inMemory(closing), closing);
    const { identities, database } = gateway;
    const { user } = await person(gateway, "one@example.com", null);
    await database.transaction(async (tx) => {
      await identities.link(tx, user.id, {
        provider: "sso:gone",
        issuer: "https://gone.example",
        subject: "s",
      });
      await identities.link(tx, user.id, {
        provider: "sso:corp",
        issuer: gateway.provider.issuer,
        subject: "s",
      });
    });
    const corp = (await identities.list(user.id)).find(({ provider }) => provider === "sso:corp")!;
    const unlink = (local: boolean) =>
      database.transaction((tx) =>
        identities.unlink(tx, { userId: user.id, id: corp.id }, { usable: ["sso:corp"], local }),
      );
    await expect(unlink(true)).rejects.toMatchObject({ code: "last_way_in" });
    await database.db.updateTable("users").set({ password_hash: "x" }).where("id", "=", user.id).execute();
    await expect(unlink(false)).rejects.toMatchObject({ code: "last_way_in" });
    await unlink(true);
  });
});
