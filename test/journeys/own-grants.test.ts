import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { expect, test } from "vitest";
import type { Config } from "../../src/config.ts";
import { startLoopbackServer } from "../peers/loopback-server.ts";
import { startScriptedUpstream } from "../peers/scripted-upstream.ts";
import { eventually } from "./steps/eventually.ts";
import { Management } from "./steps/management.ts";
import { openWithBearer } from "./steps/mcp-client.ts";
import { journeys, type Stage } from "./steps/stage.ts";

const ID_JAG = "urn:ietf:params:oauth:token-type:id-jag";
const TOKEN = "the-upstream-token";

/** A token endpoint: an answer for each form, or `invalid_grant`. */
async function tokenEndpoint(stage: Stage, answer: (form: URLSearchParams) => object | undefined) {
  const forms: URLSearchParams[] = [];
  const server = stage.keep(
    await startLoopbackServer(async (request, response) => {
      response.setHeader("content-type", "application/json");
      if (request.method === "GET") {
        const issuer = `http://${request.headers.host}`;
        response.end(JSON.stringify({ issuer, token_endpoint: `${issuer}/token` }));
        return;
      }
      const form = new URLSearchParams(await text(request));
      forms.push(form);
      const given = answer(form);
      response.statusCode = given ? 200 : 400;
      response.end(JSON.stringify(given ?? { error: "invalid_grant" }));
    }),
  );
  return { ...server, forms };
}

/** An upstream that takes one token, which its authorization server gives for what `isGood`. */
async function office(stage: Stage, isGood: (assertion: string | null) => boolean) {
  const as = await tokenEndpoint(stage, (form) =>
    isGood(form.get("assertion"))
      ? { access_token: TOKEN, token_type: "Bearer", expires_in: 3600 }
      : undefined,
  );
  const upstream = stage.keep(await startScriptedUpstream({ requireBearer: { token: TOKEN } }));
  upstream.documents["/.well-known/oauth-protected-resource/mcp"] = {
    resource: upstream.url,
    authorization_servers: [as.origin],
    scopes_supported: ["tools"],
  };
  return { as, upstream, allow: [new URL(as.origin).host, new URL(upstream.url).host] };
}

async function entryOf(admin: Management) {
  return (await admin.expect(200, "GET", "/api/mcp/clients")).clients[0];
}

journeys("a token of the gateway's own", (stage) => {
  test("RFC7523-2.1 is had for the JWT that the platform writes, also after that was rotated", async () => {
    const folder = await mkdtemp(join(tmpdir(), "postern-workload-"));
    stage.keep({ close: () => rm(folder, { recursive: true }) });
    const file = join(folder, "token");
    let current = "first.jwt.sig";
    await writeFile(file, `${current}\n`);
    const { as, upstream, allow } = await office(stage, (assertion) => assertion === current);
    const definition = {
      name: "metrics",
      connection_string: upstream.url,
      auth_type: "oauth" as const,
      tools_to_execute: ["*"],
      allow_on_all_virtual_keys: true,
      oauth_config: { grant_type: "jwt_bearer" as const, client_id: "workload", assertion_file: file },
    };
    const plain = await stage.gateway(allow);
    await plain.close();
    // Its operator declares it in the file and starts anew.
    const configure = (config: Config) => {
      config.upstreams = [definition];
    };
    const gateway = await stage.open({ ...plain.options, configure });
    const admin = new Management(gateway.baseUrl, gateway.adminToken);
    await eventually("its tools are read", async () => (await entryOf(admin))?.state === "healthy");
    expect(as.forms[0]?.get("scope")).toBe("tools");
    const { value } = await admin.createKey("robot", []);
    const client = stage.keep(await openWithBearer(gateway.baseUrl, value));
    expect((await client.callTool({ name: "metrics-echo" })).isError).not.toBe(true);
    stage.advance(3_600_000);
    current = "second.jwt.sig";
    await writeFile(file, current);
    const before = as.forms.length;
    expect((await client.callTool({ name: "metrics-echo" })).isError).not.toBe(true);
    expect(as.forms.slice(before).map((form) => form.get("assertion"))).toEqual([current]);
    expect(JSON.stringify(await entryOf(admin))).not.toContain(current);
  });

  test("is had for an exchanged identity assertion; a refused one is an administrator's to replace, at once", async () => {
    const idp = await tokenEndpoint(stage, (form) =>
      form.get("subject_token") === "good-id-token"
        ? { access_token: "e30.e30.c2ln", issued_token_type: ID_JAG, token_type: "N_A" }
        : undefined,
    );
    const { as, upstream, allow } = await office(stage, (assertion) => assertion === "e30.e30.c2ln");
    const gateway = await stage.gateway([...allow, new URL(idp.origin).host]);
    const admin = new Management(gateway.baseUrl, gateway.adminToken);
    const { mcp_client_id: id } = await admin.createUpstream({
      name: "wiki",
      connection_string: upstream.url,
      auth_type: "oauth",
      allow_on_all_virtual_keys: true,
      oauth_config: {
        grant_type: "token_exchange",
        client_id: "gateway",
        client_secret: "as-secret",
        assertion: "stale-id-token",
        idp: { token_url: `${idp.origin}/token`, client_id: "gateway-at-idp" },
      },
    });
    await eventually("it is refused", async () => (await entryOf(admin)).state === "needs_reauth");
    expect((await entryOf(admin)).last_failure.message).toContain("Give a new assertion");
    expect(as.forms).toEqual([]);
    const { value } = await admin.createKey("robot", []);
    const client = stage.keep(await openWithBearer(gateway.baseUrl, value));
    // SEP-1933, SEP-990: nothing is tried again by itself.
    const asked = idp.forms.length;
    await client.callTool({ name: "connect_wiki" }).catch(() => {});
    expect(idp.forms).toHaveLength(asked);

    await admin.expect(200, "PUT", `/api/mcp/client/${id}`, { oauth_config: { assertion: "good-id-token" } });
    await eventually("its tools are read", async () => (await entryOf(admin)).state === "healthy");
    expect((await client.callTool({ name: "wiki-echo" })).isError).not.toBe(true);
    expect(as.forms).toHaveLength(1);
    expect(idp.forms.at(-1)?.get("audience")).toBe(as.origin);
  });
});
