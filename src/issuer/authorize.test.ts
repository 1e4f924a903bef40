import { expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { readJson } from "../../test/support/read.ts";
import {
  ADMIN_TOKEN,
  addKey,
  authorizePath,
  BASE,
  consented,
  exchange,
  type Gateway,
  pkce,
  REDIRECT,
  register,
  setUp,
  startConsent,
} from "./issuer.suite.ts";

onBothDatabases("authorize", (open) => {
  const { challenge } = pkce();
  async function registered(gateway: Gateway, redirectUris: string[] = [REDIRECT]) {
    return (await readJson(await register(gateway, { client_name: "C1", redirect_uris: redirectUris })))
      .client_id;
  }

  async function ask(gateway: Gateway, parameters: Record<string, string | undefined>) {
    const path = authorizePath({
      redirect_uri: REDIRECT,
      response_type: "code",
      code_challenge: challenge,
      code_challenge_method: "S256",
      state: "s",
      ...parameters,
    });
    return gateway.call(path);
  }

  const flows = async (gateway: Gateway) =>
    (await gateway.database.db.selectFrom("flows").select("id").execute()).length;

  /** A page, no redirect, no cookie, no flow. */
  async function expectPage(gateway: Gateway, response: Response, code: string) {
    expect(response.status).toBe(400);
    expect(response.headers.get("content-type")).toContain("text/html");
    expect(response.headers.get("location")).toBeNull();
    expect(response.headers.get("set-cookie")).toBeNull();
    expect(await response.text()).toContain(code);
    expect(await flows(gateway)).toBe(0);
  }

  it("AZ-01 AZ-02 AZ-04 a redirect URI that is not registered, or missing, is never followed", async () => {
    const gateway = await setUp(open);
    const client_id = await registered(gateway, [REDIRECT, "https://app.example/cb"]);
    for (const redirect_uri of [
      "https://evil.example/cb",
      "https://app.example/cb/",
      "https://app.example/cb/../x",
      "https://app.example/cb%2f..%2fx",
      "https://app.example/CB",
      "https://app.example/cb?x=1",
      "https://app.example/cb#f",
      "https://app.example/cb;x",
      "https://app.example.evil.example/cb",
      "https://app.example@evil.example/cb",
      "https://app.example\\@evil.example/cb",
      "https://app.example%00.evil.example/cb",
      "HTTPS://APP.EXAMPLE/cb",
      "https://app.example:443/cb",
      "https://app.example./cb",
      " https://app.example/cb",
      "https://app.example/cb\t",
      "//evil.example/cb",
      "",
      undefined,
    ]) {
      await expectPage(gateway, await ask(gateway, { client_id, redirect_uri }), "invalid_redirect_uri");
    }
  });

  it("AZ-06 unknown clients look alike and leave no trace", async () => {
    const gateway = await setUp(open);
    for (const client_id of [
      undefined,
      "",
      "x",
      "pstc_x",
      `pstc_${"A".repeat(200)}`,
      "client_x",
      "a\0b",
      "https://",
    ]) {
      await expectPage(gateway, await ask(gateway, { client_id }), "unknown_client");
    }
  });

  it("AZ-05 AZ-09 repeated parameters and an endless state: a page", async () => {
    const gateway = await setUp(open);
    const client_id = await registered(gateway);
    const path = authorizePath({ client_id, redirect_uri: REDIRECT, response_type: "code", state: "s" });
    for (const more of [
      "redirect_uri=https://evil.example/cb",
      "client_id=x",
      "state=t",
      "scope=a&scope=b",
    ]) {
      await expectPage(gateway, await gateway.call(`${path}&${more}`), "invalid_request");
    }
    await expectPage(gateway, await ask(gateway, { client_id, state: "x".repeat(2049) }), "state_too_long");
  });

  it("AZ-15 two resource parameters are invalid_target, not a malformed request", async () => {
    const gateway = await setUp(open);
    const client_id = await registered(gateway);
    const url = new URL(`${BASE}/api/oauth/per-user/authorize`);
    url.search = new URLSearchParams({
      client_id,
      redirect_uri: REDIRECT,
      response_type: "code",
      code_challenge: "a".repeat(43),
      code_challenge_method: "S256",
    }).toString();
    url.searchParams.append("resource", `${BASE}/mcp`);
    url.searchParams.append("resource", `${BASE}/mcp/other`);
    const refused = await gateway.call(url.pathname + url.search);
    await expectPage(gateway, refused.clone(), "invalid_target");
  });

  it.each([
    ["AZ-07", { response_type: "token" }, "unsupported_response_type"],
    ["AZ-07", { response_type: "code token" }, "unsupported_response_type"],
    ["AZ-07", { response_type: "CODE" }, "unsupported_response_type"],
    ["AZ-07", { response_type: undefined }, "invalid_request"],
    ["AZ-08", { response_mode: "fragment" }, "invalid_request"],
    ["PK-01", { code_challenge: undefined }, "invalid_request"],
    ["PK-01", { code_challenge: "" }, "invalid_request"],
    ["PK-01", { code_challenge_method: "plain" }, "invalid_request"],
    ["PK-01", { code_challenge_method: undefined }, "invalid_request"],
    ["PK-03", { code_challenge: "a".repeat(42) }, "invalid_request"],
    ["PK-03", { code_challenge: `${"a".repeat(42)}=` }, "invalid_request"],
    ["AZ-14", { scope: "a\u0001b" }, "invalid_scope"],
    ["AZ-15", { resource: "https://evil.example/mcp" }, "invalid_target"],
    ["AZ-15", { resource: `${BASE}/mcp#f` }, "invalid_target"],
    ["AZ-15", { resource: "/mcp" }, "invalid_target"],
    ["AZ-15", { resource: BASE }, "invalid_target"],
  ] as [string, Record<string, string | undefined>, string][])(
    "%s AZ-21 %j: a page with a button for a self-registered client, a redirect for an administrator's",
    async (_id, fault, error) => {
      const gateway = await setUp(open);
      const client_id = await registered(gateway);
      const refused = await ask(gateway, { client_id, ...fault });
      await expectPage(gateway, refused.clone(), error);
      expect(await refused.text()).toContain(`href="${REDIRECT}?error=${error}&amp;`);
      const made = await gateway.call("/api/oauth2/clients", {
        method: "POST",
        headers: { authorization: `Bearer ${ADMIN_TOKEN}`, "content-type": "application/json" },
        body: JSON.stringify({
          client_name: "Own",
          redirect_uris: [REDIRECT],
          token_endpoint_auth_method: "none",
        }),
      });
      const trusted = await ask(gateway, { client_id: (await readJson(made)).client_id, ...fault });
      expect(trusted.status).toBe(302);
      const { searchParams } = new URL(trusted.headers.get("location")!);
      expect([searchParams.get("error"), searchParams.get("state"), searchParams.get("iss")]).toEqual([
        error,
        "s",
        BASE,
      ]);
      expect(await flows(gateway)).toBe(0);
    },
  );

  it("AZ-09 AZ-12 state comes back byte-exact, the client's own query stays, scopes narrow, prompt changes nothing", async () => {
    const gateway = await setUp(open);
    const key = await addKey(gateway);
    const redirectUri = "http://127.0.0.1:7777/cb?tenant=1";
    const clientId = await registered(gateway, [redirectUri]);
    for (const state of [
      "a",
      "\r\nSet-Cookie:x=1",
      "\0",
      '"><script>',
      "é😀",
      "a=b&code=evil",
      "x".repeat(2048),
    ]) {
      const more = { state, scope: "mcp admin *", prompt: "none", resource: `${BASE}/mcp/` };
      const started = await startConsent(gateway, { clientId, redirectUri, more });
      const { location, code } = await consented(gateway, key.value, started);
      expect(location.href.startsWith(`${redirectUri}&code=${code}&`)).toBe(true);
      expect(location.searchParams.getAll("code")).toHaveLength(1);
      expect(location.searchParams.get("state")).toBe(state);
      const answer = await exchange(gateway, { ...started, code }, { redirect_uri: redirectUri });
      expect((await readJson(answer)).scope).toBe("mcp");
    }
  });

  it("AZ-18 HEAD, OPTIONS, prefetch and POST start nothing", async () => {
    const gateway = await setUp(open);
    const client_id = await registered(gateway);
    const path = authorizePath({
      client_id,
      redirect_uri: REDIRECT,
      response_type: "code",
      code_challenge: challenge,
      code_challenge_method: "S256",
    });
    for (const init of [
      { method: "HEAD" },
      { method: "OPTIONS" },
      { method: "POST" },
      { headers: { "sec-purpose": "prefetch" } },
    ]) {
      expect((await gateway.call(path, init)).headers.get("set-cookie")).toBeNull();
    }
    expect(await flows(gateway)).toBe(0);
  });

  it("a missing state is left out of the answer", async () => {
    const gateway = await setUp(open);
    const started = await startConsent(gateway, { more: { state: "" } });
    const key = await addKey(gateway);
    const { location } = await consented(gateway, key.value, started);
    expect([...location.searchParams.keys()]).toEqual(["code", "iss"]);
  });
});
