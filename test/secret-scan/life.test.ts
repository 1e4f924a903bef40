import { expect, test } from "vitest";
import { Dashboard } from "../journeys/steps/dashboard.ts";
import { addProtected } from "../journeys/steps/main-job.ts";
import { Management } from "../journeys/steps/management.ts";
import { linkOf, textOf } from "../journeys/steps/mcp-client.ts";
import { startProtectedUpstream } from "../journeys/steps/peers.ts";
import { Administrator, assertPage } from "../journeys/steps/person.ts";
import { journeys, type Stage } from "../journeys/steps/stage.ts";
import { startModernUpstream } from "../peers/modern-upstream.ts";
import { assertNoSecretLeft, examined } from "../support/leavings.ts";
import { marked, markedSecret, marker } from "../support/marked.ts";

const whoami = { name: "protected-whoami" };
const form = "application/x-www-form-urlencoded";

/** What a gateway says to a request, as text; nothing of it may be a secret. */
async function told(url: URL | string, init: RequestInit = {}): Promise<{ status: number; text: string }> {
  const answer = await fetch(url, { redirect: "manual", ...init });
  return { status: answer.status, text: await answer.text() };
}

function posted(body: Record<string, string>): RequestInit {
  return { method: "POST", headers: { "content-type": form }, body: new URLSearchParams(body) };
}

/** Sends secrets to where they do not belong, or wrong ones to where they do; each is refused without saying it again. */
async function misuse(baseUrl: string, admin: Management, accessToken: string): Promise<void> {
  const at = (path: string) => new URL(path, baseUrl);
  const oauth = "/api/oauth/per-user/token";
  const secret = markedSecret;
  const message = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "ping" });
  const json = { "content-type": "application/json", accept: "application/json, text/event-stream" };
  const bearer = (value: string) => ({ ...json, authorization: `Bearer ${value}` });
  const answers = [
    // PK-18, TK-18: in the address.
    await told(at(`${oauth}?code=${secret()}&code_verifier=${secret()}`)),
    await told(at(`/mcp?access_token=${accessToken}`), { method: "POST", headers: json, body: message }),
    await told(at(`/api/oauth/callback?code=${secret()}&state=${secret()}`)),
    await told(at(`/api/oauth/callback?error=access_denied&error_description=${secret()}&state=${secret()}`)),
    await told(at(`/setup?token=${secret()}`)),
    await told(at(`/oauth/consent?flow_id=${secret()}`)),
    // Wrong, or of another kind.
    await told(at("/mcp"), { method: "POST", headers: bearer(secret("pst_")), body: message }),
    await told(at("/mcp"), { method: "POST", headers: bearer(secret("sk-bf-")), body: message }),
    await told(at("/mcp"), { method: "POST", headers: bearer(`e30.${secret()}.e30`), body: message }),
    await told(at("/api/mcp/clients"), { headers: { authorization: `Bearer ${accessToken}` } }),
    await told(at("/api/mcp/clients"), { headers: { authorization: `Basic ${btoa(`a:${secret()}`)}` } }),
    await told(
      at(oauth),
      posted({ grant_type: "refresh_token", refresh_token: secret(), client_id: secret() }),
    ),
    await told(
      at(oauth),
      posted({ grant_type: "authorization_code", code: secret(), code_verifier: secret() }),
    ),
    await told(at(oauth), posted({ grant_type: secret(), client_secret: secret() })),
    await told(at("/api/oauth/per-user/revoke"), posted({ token: secret(), client_id: "nobody" })),
    // Broken, so that somebody may want to show what it was.
    await told(at("/mcp"), {
      method: "POST",
      headers: bearer(accessToken),
      body: `{"password":"${secret()}"`,
    }),
    await told(at("/mcp"), {
      method: "POST",
      headers: { ...json, authorization: `Bearer ${secret()}\t${secret()}` },
    }),
  ];
  const bodies = [
    { name: "x", headers: { "x-key": { nested: secret() } } },
    {
      name: "x",
      connection_type: "http",
      connection_string: `http://user:${secret()}@127.0.0.1:1/mcp`,
      auth_type: "none",
    },
    {
      name: "x",
      connection_type: "http",
      connection_string: "http://127.0.0.1:1/mcp",
      auth_type: "oauth",
      oauth_config: { client_secret: [secret()] },
    },
    { [secret()]: secret() },
  ];
  for (const body of bodies) {
    const { status, body: answer } = await admin.send("POST", "/api/mcp/client", body);
    answers.push({ status, text: JSON.stringify(answer) });
  }
  const dashboard = new Dashboard(baseUrl);
  const login = await dashboard.signIn("admin@example.com", secret());
  answers.push({ status: login.status, text: JSON.stringify(login.body) });
  for (const [index, { status, text }] of answers.entries()) {
    expect(text, `answer ${index}`).not.toContain(marker);
    expect(status, `answer ${index}: ${text}`).not.toBe(500);
  }
}

const headerValue = marked("header-value");

/** As `stage.household()`, with a second upstream for which everybody has a header value. */
async function furnished(stage: Stage) {
  const guarded = stage.keep(await startProtectedUpstream());
  const accounts = { [headerValue]: "alice" };
  const protection = { kind: "header" as const, name: "x-api-key", accounts };
  const tickets = stage.keep(await startModernUpstream({ protection }));
  const gateway = await stage.gateway([...guarded.allow, new URL(tickets.url).host]);
  const admin = new Management(gateway.baseUrl, gateway.adminToken);
  const operator = stage.keep(new Administrator());
  await operator.setUp(gateway.setupLink);
  const upstreamId = await addProtected(admin, operator, guarded);
  const definition = {
    name: "tickets",
    connection_type: "http",
    connection_string: tickets.url,
    auth_type: "per_user_headers",
    per_user_header_keys: ["X-Api-Key"],
    headers: { "x-tenant": marked("tenant") },
  };
  const sample = (key: string) => ({ ...definition, user_headers: { "X-Api-Key": key } });
  const refused = await admin.send("POST", "/api/mcp/client", sample(marked("wrong")));
  expect(refused.status, JSON.stringify(refused.body)).toBe(422);
  expect(JSON.stringify(refused.body)).not.toContain(marker);
  const { mcp_client_id } = await admin.createUpstream(sample(headerValue));
  const key = await admin.createKey("Alice", [upstreamId, mcp_client_id]);
  return { gateway, admin, operator, guarded, person: stage.person(key.value) };
}

journeys("ST-01 no secret is left anywhere", (stage) => {
  test("by the whole life of every kind of secret, with what goes wrong in it", async () => {
    const { gateway, guarded, person, admin, operator } = await furnished(stage);
    const { provider } = guarded;
    const signedIn = await stage.signIn(gateway, person);
    const { client, oauth } = signedIn;
    const tokens = { ...oauth.saved! };
    for (const value of [tokens.access_token, tokens.refresh_token]) expect(value).toContain(marker);

    // Connected, called, and the provider says secrets in its errors.
    assertPage(await person.connect(linkOf(await client.callTool(whoami), "protected")));
    expect(textOf(await client.callTool(whoami))).toBe("alice");
    const secretful = { error: "temporarily_unavailable", error_description: markedSecret() };
    provider.failNextToken({ status: 500, body: `<h1>${markedSecret()}</h1>` });
    provider.failNextToken({ status: 503, body: secretful });
    provider.failNextToken({
      status: 200,
      body: { access_token: `two ${markedSecret()}`, token_type: "bearer" },
    });
    for (let round = 0; round < 4; round++) {
      stage.advance(2 * 60 * 60_000);
      const result = await client.callTool(whoami).catch(({ message, data }) => ({ message, data }));
      expect(JSON.stringify(result)).not.toContain(marker);
    }
    expect(textOf(await client.callTool(whoami))).toBe("alice");
    provider.withdrawGrants();
    stage.advance(2 * 60 * 60_000);
    const link = linkOf(await client.callTool(whoami), "protected");
    provider.denyNext("access_denied", markedSecret());
    await person.browser.get(link);

    await misuse(gateway.baseUrl, admin, tokens.access_token);

    // A static client, another administrator's password.
    const clients = { client_name: "Static", redirect_uris: ["http://127.0.0.1:1/callback"] };
    const made = await admin.expect(201, "POST", "/api/oauth2/clients", clients);
    expect(JSON.stringify(made)).toContain(marker);
    const user = {
      email: "eve@example.com",
      name: "Eve",
      role: "admin",
      password: marked("correct horse battery"),
    };
    await admin.expect(200, "POST", "/api/users", user);
    const eve = new Dashboard(gateway.baseUrl);
    expect((await eve.signIn(user.email, user.password)).status).toBe(200);

    // Refreshed at us, used twice, and everything ended.
    const again = (refresh_token: string) =>
      told(
        new URL("/api/oauth/per-user/token", gateway.baseUrl),
        posted({ grant_type: "refresh_token", refresh_token, client_id: oauth.information!.client_id }),
      );
    const first = await again(tokens.refresh_token!);
    expect(first.text).toContain(marker);
    const successor = JSON.parse(first.text).refresh_token;
    expect((await again(successor)).status).toBe(200);
    expect((await again(tokens.refresh_token!)).status).toBe(400);
    for (const row of await admin.sessions())
      await admin.expect(204, "DELETE", `/api/mcp/sessions/${row.id}`);
    await operator.browser.get(new URL("/", gateway.baseUrl));

    await gateway.close();
    assertNoSecretLeft();
    for (const place of ["the log", "the metrics", "the answer", "the header"])
      expect(examined(place), place).toBeGreaterThan(1_000);
  });
});
