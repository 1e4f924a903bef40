import { expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { Hidden } from "../base/index.ts";
import { listSessions } from "./index.ts";
import {
  type Answer,
  alice,
  type Bench,
  bearer,
  bench,
  bob,
  give,
  hour,
  listenToLog,
  row,
  up1,
} from "./vault.suite.ts";

/** What one refresh came to: the call's answer, the row of the session list, and what was logged. */
async function outcome(b: Bench, owner = alice) {
  const heard = listenToLog(b);
  const opened = await b.vault.open(owner, up1);
  const { rows } = await listSessions(b.database.db, owner, {}, { limit: 1, offset: 0 }, 0);
  const { status, status_reason: reason } = rows[0]!;
  return { opened, status, reason, heard: heard.map(({ event }) => event) };
}

async function expired(b: Bench): Promise<void> {
  await give(b, alice, hour);
  b.world.advance(hour);
}

const HTML = "<html>Service unavailable</html>";

const transient: [string, Answer | undefined][] = [
  ["500", { status: 500 }],
  ["500 with invalid_grant", { status: 500, body: { error: "invalid_grant" } }],
  ["502 with a page", { status: 502, body: HTML }],
  ["503 with Retry-After", { status: 503, headers: { "retry-after": "1" } }],
  ["504", { status: 504 }],
  ["408", { status: 408 }],
  ["429 with Retry-After", { status: 429, headers: { "retry-after": "1" } }],
  ["429 with invalid_grant", { status: 429, body: { error: "invalid_grant" } }],
  ["400 temporarily_unavailable", { status: 400, body: { error: "temporarily_unavailable" } }],
  ["200 with a transient error", { status: 200, body: { error: "temporarily_unavailable" } }],
  ["200 with a provider's word for too many", { status: 200, body: { error: "ratelimited" } }],
  ["200 with a page", { status: 200, body: HTML }],
  ["403 with a page", { status: 403, body: HTML }],
  ["400 with an error that is no word", { status: 400, body: { error: { code: 7 } } }],
  ["a cut connection", undefined],
];

const consent: [string, Answer, string][] = [
  ["400 invalid_grant", { status: 400, body: { error: "invalid_grant" } }, "refresh_invalid_grant"],
  ["200 with invalid_grant", { status: 200, body: { error: "invalid_grant" } }, "refresh_invalid_grant"],
  ["401 invalid_grant", { status: 401, body: { error: "invalid_grant" } }, "refresh_invalid_grant"],
  ["invalid_scope", { status: 400, body: { error: "invalid_scope" } }, "refresh_invalid_scope"],
  ["invalid_target", { status: 400, body: { error: "invalid_target" } }, "refresh_invalid_target"],
  ["a word of the provider's own", { status: 400, body: { error: "bad_refresh_token" } }, "refresh_refused"],
];

const unknownClient = { status: 401, body: { error: "invalid_client" } };
const ended = { status: 400, body: { error: "invalid_grant" } };

onBothDatabases("what a provider's no means", (open) => {
  it("UP-25 transient: kept, tried again, nobody is asked", async () => {
    const b = await bench(open);
    for (const [what, answer] of transient) {
      await expired(b);
      const before = b.provider.refreshes.length;
      b.provider.answer = () => answer;
      const said = await outcome(b);
      expect(said.opened.outcome, what).toBe("unavailable");
      expect(said.opened, what).not.toHaveProperty("reason");
      expect([said.status, said.reason], what).toEqual(["active", null]);
      expect(said.heard, what).toEqual(["credential.refresh_postponed"]);
      await b.vault.open(alice, up1);
      expect(b.provider.refreshes.length - before, what).toBe(1);
      b.provider.answer = () => b.provider.rotated();
      b.world.advance(2_000);
      expect(await bearer(b.vault, alice), what).toMatch(/^Bearer access-[1-9]/);
      expect((await row(b, alice)).refresh_started_at, what).toBeNull();
    }
  });

  it("UP-24 consent needed: one request, then the person is asked", async () => {
    const b = await bench(open);
    for (const [what, answer, reason] of consent) {
      await expired(b);
      const before = b.provider.refreshes.length;
      b.provider.answer = () => answer;
      const said = await outcome(b);
      expect(said.opened, what).toEqual({ outcome: "needs_user", reason: "needs_reauth" });
      expect([said.status, said.reason], what).toEqual(["needs_reauth", reason]);
      expect(said.heard, what).toEqual(["credential.lost"]);
      for (let n = 0; n < 10; n++) expect(await bearer(b.vault, alice), what).toBe("needs_reauth");
      expect(b.provider.refreshes.length - before, what).toBe(1);
    }
  });

  it.each([
    ["invalid_client", unknownClient],
    ["unauthorized_client", { status: 400, body: { error: "unauthorized_client" } }],
  ])("UP-24 registration gone, %s: registered again, and the refresh token once more", async (_, no) => {
    const b = await bench(open);
    await expired(b);
    b.provider.answer = () => (b.provider.version === 1 ? no : b.provider.rotated());
    b.provider.registerAgain = () => {
      b.provider.version = 2;
      return "done";
    };
    const said = await outcome(b);
    expect(said.opened.outcome).toBe("ready");
    expect([said.status, said.reason]).toEqual(["active", null]);
    expect(b.provider.registrations).toBe(1);
    expect(b.provider.refreshes.map((form) => form.get("refresh_token"))).toEqual(["refresh-0", "refresh-0"]);
  });

  it("UP-24 registration gone where refresh tokens belong to a client: the person, and the reason says why", async () => {
    const b = await bench(open);
    await expired(b);
    b.provider.answer = () => (b.provider.version === 1 ? unknownClient : ended);
    b.provider.registerAgain = () => {
      b.provider.version = 2;
      return "done";
    };
    const said = await outcome(b);
    expect([said.status, said.reason]).toEqual(["needs_reauth", "client_reregistered"]);
    expect(said.opened.outcome).toBe("needs_user");
    expect([b.provider.registrations, b.provider.refreshes.length]).toEqual([1, 2]);
  });

  it("registration gone, and the server cannot be asked to register: transient", async () => {
    const b = await bench(open);
    await expired(b);
    b.provider.answer = () => unknownClient;
    b.provider.registerAgain = () => "later";
    const said = await outcome(b);
    expect(said.opened).toMatchObject({ outcome: "unavailable" });
    expect(said.opened).not.toHaveProperty("reason");
    expect([said.status, said.reason]).toEqual(["active", null]);
  });

  it("a new registration that is refused as well is for the administrator, and no loop", async () => {
    const b = await bench(open);
    await expired(b);
    b.provider.answer = () => unknownClient;
    b.provider.registerAgain = () => {
      b.provider.version += 1;
      return "done";
    };
    const said = await outcome(b);
    expect(said.opened).toMatchObject({ outcome: "unavailable", reason: "client_refused" });
    expect([said.status, said.reason]).toEqual(["active", "client_refused"]);
    expect([b.provider.registrations, b.provider.refreshes.length]).toEqual([1, 2]);
  });

  it("UP-24 administrator needed: nobody is sent to consent, one request a minute, and a new secret counts at once", async () => {
    const b = await bench(open);
    b.provider.clientSource = "given";
    await expired(b);
    await give(b, bob, 0, { refreshToken: new Hidden("refresh-bob") });
    b.provider.answer = () => unknownClient;
    const said = await outcome(b);
    expect(said.opened).toMatchObject({ outcome: "unavailable", reason: "client_refused" });
    expect([said.status, said.reason]).toEqual(["active", "client_refused"]);
    expect(said.heard).toEqual(["upstream.client_refused"]);
    expect(await b.vault.open(alice, up1)).toMatchObject({ reason: "client_refused" });
    const other = await outcome(b, bob);
    expect(other.opened).toMatchObject({ outcome: "unavailable", reason: "client_refused" });
    expect(other.heard).toEqual([]);
    for (let n = 0; n < 50; n++) await b.vault.open(alice, up1);
    expect([b.provider.registrations, b.provider.refreshes.length]).toEqual([0, 1]);
    b.world.advance(61_000);
    await b.vault.open(alice, up1);
    expect(b.provider.refreshes.length).toBe(2);
    // The administrator gives another secret: same client, same credentials.
    b.provider.version += 1;
    b.provider.answer = () => b.provider.rotated();
    await b.database.transaction((tx) => b.vault.clientChanged(tx, "up1"));
    expect(await bearer(b.vault, alice)).toMatch(/^Bearer access-/);
    expect(await bearer(b.vault, bob)).toMatch(/^Bearer access-/);
    expect((await row(b, alice)).status_reason).toBeNull();
  });

  it("administrator needed: a token that is still valid goes on serving", async () => {
    const b = await bench(open);
    b.provider.clientSource = "given";
    await give(b, alice, hour);
    b.world.advance(hour - 30_000);
    b.provider.answer = () => unknownClient;
    expect(await bearer(b.vault, alice)).toBe("Bearer access-0");
    expect(b.provider.refreshes.length).toBe(1);
  });

  it("a token that never expires is refreshed when the upstream refuses it, once", async () => {
    const b = await bench(open);
    await give(b, alice, undefined);
    b.world.advance(1000 * hour);
    const first = await b.vault.open(alice, up1);
    expect(b.provider.refreshes.length).toBe(0);
    if (first.outcome !== "ready") throw new Error(first.outcome);
    await b.vault.markRejected(first.credential);
    expect(await bearer(b.vault, alice)).toBe("Bearer access-1");
    expect(b.provider.refreshes.length).toBe(1);
  });
});
