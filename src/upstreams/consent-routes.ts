import { z } from "zod";
import { json, noContent, type Route } from "../http/index.ts";
import { route } from "../identity/index.ts";
import type { AdministrationParts } from "./administration-parts.ts";
import { oauthConfigAnswer, oauthStatusAnswer, upstreamAnswer } from "./answers.ts";
import { Consents } from "./consents.ts";

const params = z.object({ id: z.string().max(128) });
const common = { tag: "MCP clients", rate: "api", errors: "envelope", access: "admin", params } as const;
const post = { ...common, method: "POST", csrf: "session" } as const;
const read = { ...common, method: "GET", csrf: "none" } as const;
const configPath = "/api/oauth/config/{id}";

/** The credential that an administrator gives (contract section 7): connect it, again, anew, look at it, take it away. */
export function consentRoutes(parts: AdministrationParts): Route[] {
  const consents = new Consents(parts);
  return [...authorizationRoutes(consents), ...verificationRoutes(consents), ...configRoutes(consents)];
}

function authorizationRoutes(consents: Consents): Route[] {
  return [
    route({
      ...post,
      path: "/api/mcp/client/{id}/complete-oauth",
      operationId: "completeMcpClientOAuth",
      summary:
        "After connecting the account that is shared or lists the tools; the id is the oauth_config_id",
      refuses: [409, 502, 504],
      answers: { 200: { description: "Connected", schema: upstreamAnswer } },
      handle: async ({ params }) => json(await consents.complete(params.id)),
    }),
    route({
      ...post,
      path: "/api/mcp/client/{id}/reauthorize",
      operationId: "reauthorizeMcpClient",
      summary: "The administrator consents again; with client credentials, a new token is obtained",
      refuses: [409, 422, 502, 504],
      answers: { 200: { description: "What to open, or done", schema: upstreamAnswer } },
      handle: async ({ params, caller, requestId }) =>
        json(await consents.reauthorize(params.id, { caller, requestId })),
    }),
    route({
      ...post,
      path: "/api/mcp/client/{id}/reregister",
      operationId: "reregisterMcpClient",
      summary: "Registers the gateway anew as a client of the server's provider; everybody connects again",
      refuses: [409, 422, 502, 504],
      answers: { 200: { description: "Registered; what to open", schema: upstreamAnswer } },
      handle: async ({ params, caller, requestId }) =>
        json(await consents.reregister(params.id, { caller, requestId })),
    }),
  ];
}

function verificationRoutes(consents: Consents): Route[] {
  return [
    route({
      ...post,
      path: "/api/mcp/client/{id}/initiate-verification",
      operationId: "initiateMcpClientVerification",
      summary: "Starts connecting the account, or submitting the values, that list its tools",
      refuses: [409],
      answers: { 200: { description: "What to open, or which values to send", schema: upstreamAnswer } },
      handle: async ({ params }) => json(await consents.initiateVerification(params.id)),
    }),
    route({
      ...post,
      path: "/api/mcp/client/{id}/verify-headers",
      operationId: "verifyMcpClientHeaders",
      summary: "Tries header values on the server and keeps them to list its tools with",
      json: z.strictObject({ headers: z.record(z.string().max(128), z.string()) }),
      refuses: [409, 422, 502, 504],
      answers: { 200: { description: "Accepted and kept", schema: upstreamAnswer } },
      handle: async ({ params, body, caller, requestId }) =>
        json(await consents.verifyHeaders(params.id, body.headers, { caller, requestId })),
    }),
  ];
}

function configRoutes(consents: Consents): Route[] {
  return [
    route({
      ...read,
      path: `${configPath}/status`,
      operationId: "getOAuthConfigStatus",
      summary: "Whether that account is connected",
      refuses: [],
      answers: {
        200: { description: "pending, authorized, or what became of it", schema: oauthStatusAnswer },
      },
      handle: async ({ params }) => json(await consents.status(params.id)),
    }),
    route({
      ...read,
      path: configPath,
      operationId: "getOAuthConfig",
      summary: "How the gateway is a client of an MCP client's authorization server; no secrets",
      refuses: [],
      answers: { 200: { description: "What was given and found", schema: oauthConfigAnswer } },
      handle: async ({ params }) => json(await consents.describe(params.id)),
    }),
    route({
      ...common,
      method: "DELETE",
      csrf: "session",
      path: configPath,
      operationId: "deleteOAuthConfig",
      summary: "Disconnects that account; the provider is told",
      refuses: [409],
      answers: { 204: { description: "Disconnected" } },
      handle: async ({ params, caller, requestId }) => {
        await consents.disconnect(params.id, { caller, requestId });
        return noContent();
      },
    }),
  ];
}
