import { expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { readJson } from "../../test/support/read.ts";
import { DENY, KEY, SUBMIT } from "./consent.suite.ts";
import {
  ADMIN_TOKEN,
  addKey,
  authorizePath,
  BASE,
  exchange,
  pkce,
  register,
  setUp,
  startConsent,
  Tab,
} from "./issuer.suite.ts";
import { errorOf } from "./token.suite.ts";

const PAGE = `${BASE}/oauth/code`;

onBothDatabases("a client that no redirect reaches", (open, kind) => {
  async function withClient() {
    const gateway = await setUp(open);
    const created = await gateway.call("/api/oauth2/clients", {
      method: "POST",
      headers: { authorization: `Bearer ${ADMIN_TOKEN}`, "content-type": "application/json" },
      body: JSON.stringify({
        client_name: "Cluster shell",
        redirect_uris: [PAGE],
        token_endpoint_auth_method: "none",
      }),
    });
    const { client_id: clientId } = await readJson(created);
    return { gateway, clientId };
  }

  it("gets its answer through its person: one string, in no address, with iss and state", async () => {
    const { gateway, clientId } = await withClient();
    const key = await addKey(gateway);
    const started = await startConsent(gateway, { clientId, redirectUri: PAGE });
    const { tab, flowId } = started;
    const consent = await (await tab.get(`/oauth/consent?flow_id=${flowId}`)).text();
    expect(consent).toContain("a code to paste into the app");
    expect(consent).toContain("give the code to nobody else");
    await tab.post(KEY, { flow_id: flowId, vk: key.value });
    const end = await tab.post(SUBMIT, { flow_id: flowId });
    expect([end.status, end.headers.get("location"), end.headers.get("cache-control")]).toEqual([
      200,
      null,
      "no-store",
    ]);
    const shown = (await end.text()).replaceAll("&amp;", "&");
    const pasted = new URL(/<pre>(\S+)<\/pre>/.exec(shown)![1]!);
    expect(pasted.origin + pasted.pathname).toBe(PAGE);
    expect(Object.fromEntries(pasted.searchParams)).toEqual({
      code: expect.any(String),
      state: "the state",
      iss: BASE,
    });
    const code = pasted.searchParams.get("code")!;
    expect(shown).toContain(`<pre>${code}</pre>`);
    expect(await errorOf(await exchange(gateway, { ...started, code, verifier: pkce().verifier }))).toEqual([
      400,
      "invalid_grant",
    ]);
    const again = await startConsent(gateway, { clientId, redirectUri: PAGE });
    await again.tab.post(KEY, { flow_id: again.flowId, vk: key.value });
    const second = (await (await again.tab.post(SUBMIT, { flow_id: again.flowId })).text()).replaceAll(
      "&amp;",
      "&",
    );
    const fresh = new URL(/<pre>(\S+)<\/pre>/.exec(second)![1]!).searchParams.get("code")!;
    const answer = await exchange(gateway, { ...again, code: fresh }, { redirect_uri: PAGE });
    expect(answer.status).toBe(200);
  });

  it.runIf(kind === "sqlite")(
    "is told when its person refuses; nobody else may be answered there; the address alone shows nothing",
    async () => {
      const { gateway, clientId } = await withClient();
      const { tab, flowId } = await startConsent(gateway, { clientId, redirectUri: PAGE });
      const refused = await (await tab.post(DENY, { flow_id: flowId })).text();
      expect(refused).toContain("error=access_denied");
      const self = await register(gateway, { client_name: "C1", redirect_uris: [PAGE] });
      expect(await errorOf(self)).toEqual([400, "invalid_redirect_uri"]);
      // The port of a loopback address is free, but not to arrive here (RFC 8252 §7.3).
      const beside = `http://localhost:9999/oauth/code`;
      const { client_id } = await readJson(
        await register(gateway, { client_name: "C1", redirect_uris: [beside] }),
      );
      const { challenge } = pkce();
      const asked = await new Tab(gateway).get(
        authorizePath({
          client_id,
          redirect_uri: PAGE,
          response_type: "code",
          code_challenge: challenge,
          code_challenge_method: "S256",
        }),
      );
      expect(asked.status).toBe(400);
      const opened = await (await new Tab(gateway).get("/oauth/code?code=abcdefgh&state=s")).text();
      expect(opened).not.toContain("abcdefgh");
    },
  );
});
