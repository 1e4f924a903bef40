import { expect, test } from "vitest";
import { Management } from "./steps/management.ts";
import { linkOf, statusFor, textOf } from "./steps/mcp-client.ts";
import { assertPage } from "./steps/person.ts";
import { type Household, journeys, type Stage } from "./steps/stage.ts";

const whoami = { name: "protected-whoami" };

/** A person with a client, connected: the call answers with their account. */
async function connected(stage: Stage, house: Household) {
  const { client, oauth } = await stage.signIn(house.gateway, house.person);
  assertPage(await house.person.connect(linkOf(await client.callTool(whoami), "protected")));
  expect(textOf(await client.callTool(whoami))).toBe("alice");
  return { client, oauth, own: new Management(house.gateway.baseUrl, house.key.value) };
}

journeys("losing access", (stage) => {
  test("orphans the session: no call, no link, no reauth; it comes back as it was", async () => {
    const house = await stage.household();
    const { admin, key, upstreamId, guarded } = house;
    const { client, own } = await connected(stage, house);
    const before = await own.onlySession();

    await admin.allowKey(key.id, []);
    expect(await own.onlySession()).toMatchObject({ id: before.id, status: "orphaned", can_reauth: false });
    const calls = guarded.upstream.calls("tools/call").length;
    const answer = await client.callTool(whoami).catch((error: unknown) => error);
    expect(JSON.stringify(answer)).not.toContain("/workspace/");
    expect(answer).not.toMatchObject({ content: [{ text: "alice" }] });
    expect(guarded.upstream.calls("tools/call")).toHaveLength(calls);
    expect((await client.listTools()).tools).toEqual([]);

    for (const caller of [own, admin]) {
      const refused = await caller.send("POST", `/api/mcp/sessions/${before.id}/reauth`);
      expect(refused).toMatchObject({ status: 403, body: { error: { message: expect.any(String) } } });
      expect(await caller.sessions({ kind: "flow" })).toEqual([]);
    }

    await admin.allowKey(key.id, [upstreamId]);
    expect(await own.onlySession()).toMatchObject({
      id: before.id,
      status: "active",
      created_at: before.created_at,
    });
    expect(textOf(await client.callTool(whoami))).toBe("alice");
    expect(guarded.provider.tokenCalls("authorization_code")).toBe(2); // The administrator's and the person's.
  });

  test("while the person is at the provider stores nothing", async () => {
    const house = await stage.household();
    const { admin, key, person, guarded } = house;
    const { client } = await stage.signIn(house.gateway, person);
    const link = linkOf(await client.callTool(whoami), "protected");
    const held = guarded.provider.holdNextToken("after");
    const connecting = person.connect(link).catch((error: unknown) => error);
    await held.arrived;
    await admin.allowKey(key.id, []);
    held.release();
    expect(await connecting).toBeInstanceOf(Error);
    expect(person.browser.page?.status).toBe(410);
    expect(await admin.sessions()).toEqual([]);
  });

  test("for good, by deleting the key, ends its sessions and its clients", async () => {
    const house = await stage.household();
    const { oauth, own } = await connected(stage, house);
    const { id } = await own.onlySession();
    await house.admin.expect(200, "DELETE", `/api/governance/virtual-keys/${house.key.id}`);
    expect(await statusFor(house.gateway.baseUrl, oauth.saved?.access_token ?? "")).toBe(401);
    expect(await statusFor(house.gateway.baseUrl, house.key.value)).toBe(401);
    expect(await house.admin.sessions()).toEqual([]);
    expect((await house.admin.send("POST", `/api/mcp/sessions/${id}/reauth`)).status).toBe(404);
    expect((await own.send("GET", "/api/mcp/sessions")).status).toBe(401);
  });
});

journeys("many at once", (stage) => {
  const many = 6;

  test("reauth: every request is answered, and one link stays", async () => {
    const house = await stage.household();
    const { own } = await connected(stage, house);
    const path = `/api/mcp/sessions/${(await own.onlySession()).id}/reauth`;
    const answers = await Promise.all(Array.from({ length: many }, () => own.send("POST", path)));
    expect(answers.map((answer) => answer.status)).toEqual(answers.map(() => 200));
    const links: string[] = answers.map((answer) => answer.body.authorize_url);
    const opened = await Promise.all(links.map((link) => fetch(link)));
    expect(opened.filter((page) => page.status === 200)).toHaveLength(1);
    expect(opened.filter((page) => page.status === 410)).toHaveLength(many - 1);
  });

  test("delete and reauth: one delete succeeds, and no link outlives it", async () => {
    const house = await stage.household();
    const { own } = await connected(stage, house);
    const path = `/api/mcp/sessions/${(await own.onlySession()).id}`;
    const answers = await Promise.all(
      Array.from({ length: many }, (_, index) =>
        index % 2 === 0 ? own.send("DELETE", path) : own.send("POST", `${path}/reauth`),
      ),
    );
    expect(answers.filter((answer) => answer.status === 204)).toHaveLength(1);
    expect(answers.filter((answer) => answer.status >= 500)).toEqual([]);
    expect(await own.sessions()).toEqual([]);
  });
});

journeys("somebody else's session", (stage) => {
  test("is 404 to read, re-authenticate and delete, as one that does not exist", async () => {
    const house = await stage.household();
    const { own } = await connected(stage, house);
    const row = await own.onlySession();
    const bob = await house.admin.createKey("Bob", [house.upstreamId]);
    const other = new Management(house.gateway.baseUrl, bob.value);

    expect(await other.sessions()).toEqual([]);
    for (const [method, end] of [
      ["POST", "/reauth"],
      ["DELETE", ""],
    ] as const) {
      const foreign = await other.send(method, `/api/mcp/sessions/${row.id}${end}`);
      const unknown = await other.send(method, `/api/mcp/sessions/cred_unknown${end}`);
      expect(foreign.status).toBe(404);
      expect(withoutIds(foreign.body)).toEqual(withoutIds(unknown.body));
    }
    expect(await own.onlySession()).toEqual(row);
    expect(await house.admin.sessions({ kind: "flow" })).toEqual([]);
  });

  test("a link made for one key is not finished with another", async () => {
    const house = await stage.household();
    const { client } = await stage.signIn(house.gateway, house.person);
    const link = linkOf(await client.callTool(whoami), "protected");
    const bob = stage.person((await house.admin.createKey("Bob", [house.upstreamId])).value);
    const page = await bob.connect(link);
    expect(page.url.searchParams.get("error")).toBe("wrong_key");
    expect(await house.admin.sessions({ kind: "token" })).toEqual([]);
  });
});

// biome-ignore lint/suspicious/noExplicitAny: the error envelope
function withoutIds(body: any): unknown {
  const { event_id: _outer, error, ...rest } = body;
  const { event_id: _inner, ...kept } = error;
  return { ...rest, error: kept };
}
