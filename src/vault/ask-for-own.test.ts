import { text } from "node:stream/consumers";
import { afterEach, expect, it } from "vitest";
import { startLoopbackServer } from "../../test/peers/loopback-server.ts";
import { testWorld } from "../../test/support/world.ts";
import { Hidden, openOutbound } from "../base/index.ts";
import { clientAuthentication } from "../upstreams/index.ts";
import { askForOwn } from "./ask-for-own.ts";
import type { ProviderAuthorization } from "./parts.ts";

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const ID_JAG = "urn:ietf:params:oauth:token-type:id-jag";

/** A token endpoint that answers what the test says. */
async function endpoint(answer: { status?: number; json: unknown }) {
  const seen: { form: Record<string, string>; authorization: string | undefined }[] = [];
  const server = await startLoopbackServer(async (request, response) => {
    const form = Object.fromEntries(new URLSearchParams(await text(request)));
    seen.push({ form, authorization: request.headers.authorization });
    response.writeHead(answer.status ?? 200, { "content-type": "application/json" });
    response.end(JSON.stringify(answer.json));
  });
  closing.push(() => server.close());
  return { ...server, seen, answer };
}

async function start() {
  const as = await endpoint({ json: { access_token: "up-token", token_type: "Bearer", expires_in: 60 } });
  const idp = await endpoint({
    json: { access_token: "e30.e30.c2ln", issued_token_type: ID_JAG, token_type: "N_A" },
  });
  const allow = [as, idp].map(({ port }) => `127.0.0.1:${port}`);
  const outbound = openOutbound({ allow: { admin: allow, stranger: [] } });
  closing.push(() => outbound.close());
  const world = testWorld(outbound);
  const authorization: ProviderAuthorization = {
    configId: "oauth_1",
    version: 1,
    clientSource: "given",
    issuer: as.origin,
    server: { issuer: as.origin, token_endpoint: `${as.origin}/token` },
    client: { client_id: "gateway" },
    clientAuth: clientAuthentication("none", {}),
    authMethod: "none",
    scopes: ["read", "write"],
    resource: "https://mcp.example/mcp",
    assertion: async () => new Hidden("the.workload.jwt"),
  };
  const exchanging: ProviderAuthorization = {
    ...authorization,
    clientAuth: clientAuthentication("client_secret_basic", { clientSecret: new Hidden("as-secret") }),
    assertion: async () => new Hidden("the-id-token"),
    idp: {
      tokenUrl: `${idp.origin}/token`,
      clientId: "gateway-at-idp",
      clientSecret: new Hidden("idp-secret"),
      subjectTokenType: "id_token",
    },
  };
  return { world, as, idp, authorization, exchanging };
}

it("shows a workload's JWT and nothing else (RFC 7523 §2.1)", async () => {
  const { world, as, authorization } = await start();
  const answer = await askForOwn(world, authorization);
  expect(answer).toMatchObject({ outcome: "token", token: { refreshToken: undefined } });
  expect(answer.outcome === "token" && answer.token.accessToken.reveal()).toBe("up-token");
  expect(as.seen).toEqual([
    {
      form: {
        grant_type: JWT_BEARER,
        assertion: "the.workload.jwt",
        client_id: "gateway",
        scope: "read write",
        resource: "https://mcp.example/mcp",
      },
      authorization: undefined,
    },
  ]);
});

it("asks again in no other way when the JWT is refused", async () => {
  const { world, as, authorization } = await start();
  Object.assign(as.answer, { status: 400, json: { error: "invalid_grant" } });
  expect(await askForOwn(world, authorization)).toEqual({ outcome: "refused", error: "invalid_grant" });
  expect(as.seen).toHaveLength(1);
});

it("sends nothing while there is nothing to show", async () => {
  const { world, as, authorization } = await start();
  const answer = await askForOwn(world, { ...authorization, assertion: async () => undefined });
  expect(answer).toEqual({ outcome: "unavailable", reason: "assertion_unreadable" });
  expect(as.seen).toEqual([]);
});

it("exchanges an identity assertion first, each server given its own client's secret and no other (SEP-990)", async () => {
  const { world, as, idp, exchanging } = await start();
  expect((await askForOwn(world, exchanging)).outcome).toBe("token");
  const basic = (pair: string) => `Basic ${Buffer.from(pair).toString("base64")}`;
  expect(idp.seen).toEqual([
    {
      form: {
        grant_type: "urn:ietf:params:oauth:grant-type:token-exchange",
        requested_token_type: ID_JAG,
        audience: as.origin,
        resource: "https://mcp.example/mcp",
        scope: "read write",
        subject_token: "the-id-token",
        subject_token_type: "urn:ietf:params:oauth:token-type:id_token",
      },
      authorization: basic("gateway-at-idp:idp-secret"),
    },
  ]);
  expect(as.seen[0]).toMatchObject({
    form: { grant_type: JWT_BEARER, assertion: "e30.e30.c2ln" },
    authorization: basic("gateway:as-secret"),
  });
  expect(JSON.stringify(as.seen)).not.toContain("the-id-token");
});

it.each([
  [
    { status: 400, json: { error: "invalid_grant" } },
    { outcome: "refused", error: "invalid_grant" },
  ],
  [
    { status: 503, json: {} },
    { outcome: "unavailable", reason: "status_503" },
  ],
  [
    {
      json: {
        access_token: "e30.e30.c2ln",
        issued_token_type: "urn:ietf:params:oauth:token-type:access_token",
      },
    },
    { outcome: "unavailable", reason: "malformed_token" },
  ],
  [
    { json: { access_token: "no jwt\r\nx: y", issued_token_type: ID_JAG } },
    { outcome: "unavailable", reason: "malformed_token" },
  ],
  [{ json: ["nothing"] }, { outcome: "unavailable", reason: "malformed_token" }],
])("UP-19 shows the upstream's server nothing when the exchange comes to %j", async (given, expected) => {
  const { world, as, idp, exchanging } = await start();
  Object.assign(idp.answer, given);
  expect(await askForOwn(world, exchanging)).toMatchObject(expected);
  expect(as.seen).toEqual([]);
});

it("an unreachable identity provider is one to ask later", async () => {
  const { world, idp, exchanging } = await start();
  await idp.close();
  expect((await askForOwn(world, exchanging)).outcome).toBe("unavailable");
});
