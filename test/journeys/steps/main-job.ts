import assert from "node:assert/strict";
import { Browser } from "../../peers/browser.ts";
import { eventually } from "./eventually.ts";
import type { RunningGateway } from "./gateway.ts";
import { Management } from "./management.ts";
import { linkOf, type SignedIn, signIn, textOf } from "./mcp-client.ts";
import type { Peers } from "./peers.ts";
import { Administrator, assertPage, Person } from "./person.ts";

const EVERYTHING = "everything";
const PROTECTED = "protected";
const WHOAMI = `${PROTECTED}-whoami`;

/**
 * One person, one client, one upstream, their own credential, from an empty gateway to a revoked session. Yields a
 * sentence for every step that was verified; throws at the first that was not.
 */
export async function* mainJob(gateway: RunningGateway, peers: Peers): AsyncGenerator<string> {
  const admin = new Management(gateway.baseUrl, gateway.adminToken);
  const operator = new Administrator();
  let person: Person | undefined;
  let signedIn: SignedIn | undefined;
  try {
    await operator.setUp(gateway.setupLink);
    yield "The first administrator was made with the one-time set-up link";

    const everythingId = await addEverything(admin, peers);
    yield `Upstream "${EVERYTHING}" (official server, older era, no sign-in) was added and lists its tools`;

    const protectedId = await addProtected(admin, operator, peers);
    yield `Upstream "${PROTECTED}" (2026-07-28, behind an OAuth provider) was added; the administrator's consent found its tools`;

    const key = await admin.createKey("Alice", [everythingId, protectedId]);
    yield "A virtual key was created; its value was shown once";

    person = new Person(key.value);
    signedIn = await signInAndCheck(gateway, person);
    yield "The official client found the gateway's sign-in, registered, and got its token after the consent page";

    await checkTools(signedIn);
    yield "The client lists the tools of both upstreams";

    const link = await askedToConnect(signedIn, peers);
    yield `Calling ${WHOAMI} before connecting answers with a link to connect`;

    assertPage(await person.connect(link));
    yield "The link was opened in the browser: key given, provider's consent, back at the gateway";

    await calledAs(signedIn, "alice");
    yield `The same call now answers with the person's own account: alice`;

    const echoed = await signedIn.client.callTool({
      name: `${EVERYTHING}-echo`,
      arguments: { message: "hello" },
    });
    assert.equal(textOf(echoed), "Echo: hello");
    yield `${EVERYTHING}-echo answers through the same connection`;

    const own = new Management(gateway.baseUrl, key.value);
    const row = await own.onlySession();
    assert.deepEqual(
      [row.kind, row.auth_mode, row.status, row.mcp_client?.name, row.virtual_key?.name, row.can_reauth],
      ["token", "vk", "active", PROTECTED, "Alice", true],
    );
    yield `The session is listed: active, "${PROTECTED}", owned by the key "Alice"`;

    await reauthenticate(own, person, row.id, peers);
    await calledAs(signedIn, "alice");
    yield "The session was re-authenticated: same row, new credential, and the call still works";

    await own.expect(204, "DELETE", `/api/mcp/sessions/${row.id}`);
    assert.deepEqual(await own.sessions(), []);
    await eventually("the provider is told of the revocation", () => peers.provider.revocations.length > 0);
    yield "The session was revoked, and the provider was told";

    assert.notEqual(await askedToConnect(signedIn, peers), link);
    yield "The next call asks to connect again, with a new link";
  } finally {
    await signedIn?.client.close();
    await person?.close();
    await operator.close();
  }
}

async function addEverything(admin: Management, peers: Peers): Promise<string> {
  const created = await admin.createUpstream({
    name: EVERYTHING,
    connection_string: peers.everything.url,
    auth_type: "none",
  });
  assert.equal(created.status, "success");
  const tools = await admin.refreshTools(created.mcp_client_id);
  assert.ok(tools.includes("echo"), `tools: ${tools.join(", ")}`);
  return created.mcp_client_id;
}

/** Creates the upstream and walks the discovery consent as its administrator. Resolves with its id. */
export async function addProtected(
  admin: Management,
  operator: Administrator,
  peers: Pick<Peers, "upstream">,
  more: Record<string, unknown> = {},
): Promise<string> {
  const pending = await admin.createUpstream({
    name: PROTECTED,
    connection_string: peers.upstream.url,
    auth_type: "per_user_oauth",
    ...more,
  });
  assert.equal(pending.status, "pending_oauth", JSON.stringify(pending));
  await operator.connect(pending.authorize_url);
  await admin.expect(200, "POST", new URL(pending.complete_url, "http://x").pathname);
  const tools = await admin.refreshTools(pending.mcp_client_id);
  assert.ok(tools.includes("whoami"), `tools: ${tools.join(", ")}`);
  return pending.mcp_client_id;
}

async function signInAndCheck(gateway: RunningGateway, person: Person): Promise<SignedIn> {
  const signedIn = await signIn(gateway.baseUrl, person);
  const { oauth } = signedIn;
  assert.equal(oauth.callback?.get("iss"), gateway.baseUrl); // RFC 9207 §2
  assert.equal(oauth.callback?.get("state"), oauth.authorizationUrl?.searchParams.get("state"));
  assert.equal(oauth.authorizationUrl?.searchParams.get("resource"), `${gateway.baseUrl}/mcp`);
  assert.match(oauth.saved?.access_token ?? "", /^pst_/);
  return signedIn;
}

async function checkTools({ client }: SignedIn): Promise<void> {
  const names = (await client.listTools()).tools.map((tool) => tool.name);
  for (const name of [`${EVERYTHING}-echo`, WHOAMI])
    assert.ok(names.includes(name), `${name} in ${names.join(", ")}`);
}

/** Calls the protected tool without a credential; resolves with the link of the answer. The upstream sees nothing. */
async function askedToConnect({ client }: SignedIn, { upstream }: Peers): Promise<string> {
  const before = upstream.calls("tools/call").length;
  const link = linkOf(await client.callTool({ name: WHOAMI }), PROTECTED);
  assert.equal(upstream.calls("tools/call").length, before, "the call reached the upstream");
  await refusedToStranger(link);
  return link;
}

/** The link is not pre-authenticated: another browser without the key gets no further. */
async function refusedToStranger(link: string): Promise<void> {
  const stranger = new Browser();
  try {
    const page = await stranger.get(link);
    if (page.status !== 200) return;
    const answer = await stranger.submitForm((form) => "vk" in form.fields, { vk: "sk-bf-guess" });
    assert.equal(answer.url.origin, new URL(link).origin, "a stranger was sent to the provider");
  } finally {
    await stranger.close();
  }
}

async function calledAs({ client }: SignedIn, account: string): Promise<void> {
  assert.equal(textOf(await client.callTool({ name: WHOAMI })), account);
}

/** `POST …/reauth`, the page, the provider; afterwards it is the same row with another secret. */
export async function reauthenticate(
  sessions: Management,
  person: Person,
  rowId: string,
  { provider }: Pick<Peers, "provider">,
): Promise<void> {
  const before = await sessions.onlySession();
  const exchanged = provider.tokenCalls("authorization_code");
  const { authorize_url, session_id } = await sessions.expect(
    200,
    "POST",
    `/api/mcp/sessions/${rowId}/reauth`,
  );
  assert.notEqual(session_id, rowId);
  assertPage(await person.connect(authorize_url));
  const after = await sessions.onlySession();
  assert.deepEqual([after.id, after.created_at, after.status], [rowId, before.created_at, "active"]);
  assert.ok(Date.parse(after.last_refreshed_at ?? "") >= Date.parse(before.created_at));
  assert.equal(provider.tokenCalls("authorization_code"), exchanged + 1);
}
