import { type RawBuilder, sql } from "kysely";
import { expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { testSettings } from "../../test/support/settings.ts";
import { testWorld } from "../../test/support/world.ts";
import { Hidden, KeyedHash, Seal } from "../base/index.ts";
import { type Database, Flows, type Tx } from "../db/index.ts";
import { RateLimits } from "../http/index.ts";
import { Groups } from "./groups.ts";
import { Identities } from "./identities.ts";
import { LocalSignIn } from "./local-sign-in.ts";
import { PasswordChanges } from "./password-changes.ts";
import { Sessions, type StartedSession } from "./sessions.ts";
import { Users } from "./users.ts";

const email = "ada@example.com";
const password = new Hidden("vexing quartz jumbo 71");

async function start(database: Database) {
  const world = testWorld();
  const settings = testSettings();
  const hash = new KeyedHash(world.random(32));
  const seal = new Seal([world.random(32)], world.random);
  const flows = new Flows(world, seal);
  const users = new Users({ database, world });
  const common = { database, world, settings, hash, seal, flows, users };
  const sessions = new Sessions(common);
  const local = new LocalSignIn({ ...common, limits: new RateLimits(world) });
  const passwords = new PasswordChanges({ ...common, sessions, local });
  const groups = new Groups({ database, world });
  const identities = new Identities({ database, world, users, groups, record: async () => {} });
  const prepared = await users.prepare({ email, role: "member", password });
  const user = await database.transaction((tx) => users.insert(tx, prepared));
  const browserOf = (session: StartedSession) =>
    new Request("http://localhost:8080/", {
      headers: { cookie: sessions.cookie(session)[1].split(";")[0]! },
    });
  return { ...common, sessions, local, passwords, identities, user, browserOf };
}

onBothDatabases("how somebody signs in", (open) => {
  const setUp = async () => start((await open()).database);

  it("a session goes on after a change of the password as what it was: its provider's log-out still ends it", async () => {
    const { database, sessions, passwords, user, browserOf } = await setUp();
    const provider = {
      provider: "sso:corp",
      providerSubject: "sub-1",
      idToken: new Hidden("an.id.token-of-corp"),
    };
    const before = browserOf(await sessions.start(user, undefined, { method: "sso", ...provider }));
    const other = browserOf(await sessions.start(user));
    const current = (await sessions.of(before))!;
    const words = { present: password, next: new Hidden("wobbling kelp fjord 38") };
    const after = browserOf(await passwords.change(current, words, async () => {}));
    for (const gone of [before, other]) expect(await sessions.of(gone)).toBeUndefined();
    expect(await sessions.of(after)).toMatchObject({ method: "sso", startedAt: current.startedAt });
    const ended = await database.transaction((tx) =>
      sessions.endOfProvider(tx, { provider: "sso:corp", subject: "sub-1" }),
    );
    expect(ended).toEqual([user.id]);
    expect(await sessions.of(after)).toBeUndefined();
    // Nor does a session that has ended meanwhile begin again.
    const again = { present: words.next, next: password };
    const refused = passwords.change(current, again, async () => {});
    await expect(refused).rejects.toMatchObject({ code: "authentication_required" });
  });

  it("signs in where an older session of the browser was sealed with a key that is gone", async () => {
    const { sessions, user, browserOf, world, ...parts } = await setUp();
    const older = new Sessions({ ...parts, world, seal: new Seal([world.random(32)], world.random) });
    const idToken = new Hidden("an.id.token-of-old");
    const request = browserOf(
      await older.start(user, undefined, { method: "sso", provider: "sso:corp", idToken }),
    );
    const started = await sessions.start(user, undefined, { method: "password", request });
    expect(await sessions.of(request)).toBeUndefined();
    expect((await sessions.of(browserOf(started)))?.user.id).toBe(user.id);
  });

  it("of two removals of passkeys at once, one keeps the last way in", async () => {
    const { database, local, user } = await setUp();
    await database.db.updateTable("users").set({ password_hash: null }).where("id", "=", user.id).execute();
    for (const id of ["one", "two"])
      await database.db
        .insertInto("passkeys")
        .values({ ...passkeyColumns, id, user_id: user.id, credential_id: id })
        .execute();
    const remove = (id: string) => database.transaction((tx) => local.passkeys.remove(tx, user, id));
    const begun = Promise.withResolvers<void>();
    let isOver = false;
    const first = database.transaction(async (tx) => {
      await local.passkeys.remove(tx, user, "one");
      begun.resolve();
      // SQLite lets the other begin when this has ended.
      if (database.kind === "postgres")
        await expect.poll(async () => isOver || (await somebodyWaits(tx)), { interval: 5 }).toBe(true);
    });
    await begun.promise;
    const second = remove("two").finally(() => {
      isOver = true;
    });
    await expect(second).rejects.toMatchObject({ code: "last_way_in" });
    await first;
  });

  it("refuses an answer whose passkey id is no such id, as any other", async () => {
    const { local } = await setUp();
    const request = new Request("http://localhost:8080/");
    for (const id of ["a\u0000b", "", "ä"]) {
      const { token } = await local.passkeys.askToSignIn(request, "/");
      const answer = { token: token.reveal(), response: { id, response: {} } };
      const refused = local.passkeys.signIn(request, answer, async () => {});
      await expect(refused).rejects.toMatchObject({ code: "passkey_refused" });
    }
  });

  it("a code that was none is taken back once, also when the sign-in had to be done again", async () => {
    const { local, database } = await setUp();
    const request = new Request("http://localhost:8080/");
    let isFirst = true;
    const done = await local.byPassword(
      { email, password, code: "000000", address: "a", request },
      async (tx) => {
        if (isFirst && database.kind === "postgres") {
          isFirst = false;
          await serializationFailure.execute(tx);
        }
      },
    );
    expect(done.outcome).toBe("signed_in");
    const guess = () => local.guesses.code({ email, request });
    for (let count = 0; count < 10; count += 1) guess();
    expect(guess).toThrow(expect.objectContaining({ code: "rate_limited" }));
  });

  it("an identity that is unlinked is told to every replica, so that its tokens count no longer", async () => {
    const { database, identities, user } = await setUp();
    const said = { provider: "jwt:https://i.example", issuer: "https://i.example", subject: "s" };
    await database.transaction((tx) => identities.link(tx, user.id, said));
    const { id } = (await identities.list(user.id))[0]!;
    const told: string[] = [];
    database.changes.listen(({ topic, key }) => void (topic === "user" && told.push(key)));
    const how = { usable: [], local: true };
    await database.transaction((tx) => identities.unlink(tx, { userId: user.id, id }, how));
    await expect.poll(() => told).toContain(user.id);
  });
});

const passkeyColumns = {
  public_key: new Uint8Array(1),
  counter: 0,
  transports_json: "[]",
  name: "a passkey",
  backed_up: 0,
  created_at: 0,
  last_used_at: null,
};

const serializationFailure: RawBuilder<unknown> = sql`do $$ begin raise exception using errcode = '40001'; end $$`;

/** Whether another transaction waits for what this one holds. */
async function somebodyWaits(tx: Tx): Promise<boolean> {
  const blocked = sql`select 1 from pg_locks where not granted and pg_backend_pid() = any(pg_blocking_pids(pid))`;
  return (await blocked.execute(tx)).rows.length > 0;
}
