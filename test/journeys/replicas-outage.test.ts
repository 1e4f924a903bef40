import { expect, test } from "vitest";
import { PostgresProxy } from "../postgres/proxy.ts";
import { eventually } from "./steps/eventually.ts";
import { linkOf, statusFor, textOf } from "./steps/mcp-client.ts";
import { assertPage } from "./steps/person.ts";
import { journeys, type Stage } from "./steps/stage.ts";

const whoami = { name: "protected-whoami" };
/** AV-05: everything is well again within ten seconds, without a restart. */
const RECOVERS_MS = 10_000;

/** A gateway, a replica that reaches the database through a proxy, and a person whose call is warm there. */
async function cutOff(stage: Stage) {
  const { gateway, person, admin } = await stage.household();
  const proxy = await PostgresProxy.before(gateway.options.databaseUrl!);
  stage.keep({ close: () => proxy[Symbol.asyncDispose]() });
  const replica = await stage.replica({
    ...gateway,
    options: { ...gateway.options, databaseUrl: proxy.url },
  });
  const signedIn = await stage.signIn(gateway, person);
  const client = await stage.client(replica, signedIn);
  assertPage(await person.connect(linkOf(await client.callTool(whoami), "protected")));
  /** Cuts the replica off as soon as the call is warm there: what changed just before it may still have to hear. */
  const cut = () =>
    eventually("the call is warm", async () => {
      await client.callTool(whoami);
      proxy.refuse();
      const isWarm = await client.callTool(whoami).then(
        (result) => textOf(result) === "alice",
        () => false,
      );
      if (isWarm) return true;
      proxy.restore();
      await eventually("it is back", async () => (await fetch(`${replica.baseUrl}/ready`)).ok);
      return false;
    });
  return { gateway, replica, proxy, cut, admin, oauth: signedIn.oauth, client };
}

/** How one door answers. */
async function answer(url: string, init?: RequestInit) {
  const response = await fetch(url, init);
  const text = await response.text();
  const isJson = response.headers.get("content-type")?.startsWith("application/json");
  return {
    status: response.status,
    retryAfter: Number(response.headers.get("retry-after")),
    type: response.headers.get("content-type")?.split(";")[0],
    text,
    body: isJson ? JSON.parse(text) : undefined,
  };
}

function rpc(token: string, headers: Record<string, string> = {}): RequestInit {
  const params = { name: whoami.name, arguments: {} };
  return {
    method: "POST",
    headers: {
      authorization: `Bearer ${token}`,
      "content-type": "application/json",
      accept: "application/json, text/event-stream",
      "mcp-protocol-version": "2025-11-25",
      ...headers,
    },
    body: JSON.stringify({ jsonrpc: "2.0", id: 7, method: "tools/call", params }),
  };
}

journeys(
  "Postgres that is away",
  (stage) => {
    test("warm calls go on, everything else says 503 in its own words, and all is well again by itself (AV-05)", async () => {
      const { gateway, replica, proxy, cut, admin, oauth, client } = await cutOff(stage);
      const token = oauth.saved?.access_token ?? "";
      const at = (path: string) => replica.baseUrl + path;
      const calls = async () =>
        (await admin.expect(200, "GET", "/api/audit?event=call.made&limit=500")).count;
      await eventually("the first calls stand in the audit", async () => (await calls()) >= 1);
      const before = await calls();

      await cut();
      for (let call = 0; call < 50; call++) expect(textOf(await client.callTool(whoami))).toBe("alice");

      const bearer = { authorization: `Bearer ${gateway.adminToken}` };
      const envelope = await answer(at("/api/oauth2/sessions"), { headers: bearer });
      expect(envelope).toMatchObject({
        status: 503,
        body: { is_bifrost_error: true, error: { code: "database_unavailable" } },
      });
      const page = await answer(at("/"), { headers: { accept: "text/html" } });
      expect(page).toMatchObject({ status: 503, type: "text/html" });
      expect(page.text).toContain("database_unavailable");
      const metadata = await answer(at("/.well-known/oauth-authorization-server"));
      const refresh = new URLSearchParams({
        grant_type: "refresh_token",
        refresh_token: oauth.saved?.refresh_token ?? "",
        client_id: oauth.clientInformation()?.client_id ?? "",
      });
      const tokenPath = new URL(metadata.body.token_endpoint).pathname;
      const refused = await answer(at(tokenPath), { method: "POST", body: refresh });
      expect(refused).toMatchObject({ status: 503, body: { error: "temporarily_unavailable" } });
      // Neither a stranger nor somebody without an account: it is not known.
      const stranger = await answer(at("/mcp"), rpc(`${token.slice(0, -4)}AAAA`));
      expect(stranger).toMatchObject({ status: 503, body: { error: { code: "database_unavailable" } } });
      const cold = await answer(at("/mcp"), rpc(token, { "x-bf-mcp-accounts": "protected=work" }));
      expect(cold).toMatchObject({
        status: 503,
        body: { jsonrpc: "2.0", id: 7, error: { code: -32603, data: { code: "database_unavailable" } } },
      });
      for (const { retryAfter, text } of [envelope, page, refused, stranger, cold]) {
        expect(retryAfter).toBeGreaterThan(0);
        expect(text).not.toMatch(/ECONN|127\.0\.0\.1:5|postgres:/);
      }
      expect((await answer(at("/ready"))).status).toBe(503);
      expect((await answer(at("/health"))).status).toBe(200);

      proxy.restore();
      await eventually("it is ready", async () => (await answer(at("/ready"))).status === 200, RECOVERS_MS);
      expect((await answer(at(tokenPath), { method: "POST", body: refresh })).status).toBe(200);
      await eventually(
        "every call that went on stands in the audit",
        async () => (await calls()) - before >= 50,
        RECOVERS_MS,
      );
    });

    test("what was revoked elsewhere meanwhile is known as soon as it is back (AV-14)", async () => {
      const { replica, proxy, cut, admin, oauth, client } = await cutOff(stage);
      const status = () => statusFor(replica.baseUrl, oauth.saved?.access_token ?? "");
      await cut();
      const { sessions } = await admin.expect(200, "GET", "/api/oauth2/sessions");
      await admin.expect(204, "DELETE", `/api/oauth2/sessions/${sessions[0].id}`);
      expect(textOf(await client.callTool(whoami))).toBe("alice");
      proxy.restore();
      await eventually("it is refused", async () => (await status()) === 401, RECOVERS_MS);
    });

    test("a sign-in of which every commit's answer is lost goes through, with one grant and one pair of tokens (AV-09)", async () => {
      const { gateway: before, person, admin } = await stage.household();
      const proxy = await PostgresProxy.before(before.options.databaseUrl!);
      stage.keep({ close: () => proxy[Symbol.asyncDispose]() });
      await before.close();
      const gateway = await stage.open({ ...before.options, databaseUrl: proxy.url });
      proxy.losesAnswers = true;
      const { oauth } = await stage.signIn(gateway, person);
      const lost = proxy.lostAnswers;
      expect(lost).toBeGreaterThan(3);
      const { sessions } = await admin.expect(200, "GET", "/api/oauth2/sessions");
      expect(sessions).toHaveLength(1);
      const { token_endpoint } = (await answer(`${gateway.baseUrl}/.well-known/oauth-authorization-server`))
        .body;
      const body = new URLSearchParams({
        grant_type: "refresh_token",
        refresh_token: oauth.saved?.refresh_token ?? "",
        client_id: oauth.clientInformation()?.client_id ?? "",
      });
      const refresh = () =>
        answer(gateway.baseUrl + new URL(token_endpoint).pathname, { method: "POST", body });
      const first = await refresh();
      expect(first.status).toBe(200);
      expect(proxy.lostAnswers).toBeGreaterThan(lost);
      // The same successor: nobody was given a second one.
      expect((await refresh()).body.refresh_token).toBe(first.body.refresh_token);
      proxy.losesAnswers = false;
      expect(await statusFor(gateway.baseUrl, first.body.access_token)).toBe(200);
    });
  },
  ["postgres"],
);
