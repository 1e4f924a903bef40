import assert from "node:assert/strict";
import {
  type CallToolResult,
  Client,
  type ClientCapabilities,
  StreamableHTTPClientTransport,
  UnauthorizedError,
} from "@modelcontextprotocol/client";
import { OAuthPerson } from "../../peers/oauth-person.ts";
import type { Approver } from "./person.ts";

export type Era = "modern" | "legacy";

export interface ClientOptions {
  /** Default "modern" (2026-07-28); "legacy" is `initialize` and 2025-11-25. */
  era?: Era;
  capabilities?: ClientCapabilities;
  /** Default `/mcp`. */
  path?: string;
}

/** The official SDK v2 client, signed in at the gateway, and what it holds. */
export interface SignedIn {
  client: Client;
  oauth: OAuthPerson;
}

/**
 * The official client finds the authorization server by itself, registers, sends the person to the consent and
 * exchanges the code, as it does against any server.
 */
export async function signIn(
  baseUrl: string,
  person: Approver,
  options: ClientOptions = {},
): Promise<SignedIn> {
  const oauth = new OAuthPerson(person.browser, {
    walk: (_browser, url) => person.allow(url, oauth.redirectUrl),
  });
  const refused = new StreamableHTTPClientTransport(mcpUrl(baseUrl, options), { authProvider: oauth });
  await assert.rejects(newClient(options).connect(refused), UnauthorizedError);
  assert.ok(oauth.callback, "the client never asked the person");
  await refused.finishAuth(oauth.callback);
  return { client: await openClient(baseUrl, oauth, options), oauth };
}

/** Another connection with the tokens that a client holds already, to the same or another address of the gateway. */
export async function openClient(
  baseUrl: string,
  oauth: OAuthPerson,
  options: ClientOptions = {},
): Promise<Client> {
  const client = newClient(options);
  await client.connect(new StreamableHTTPClientTransport(mcpUrl(baseUrl, options), { authProvider: oauth }));
  return client;
}

/** The official client with a fixed bearer credential, a virtual key for example. */
export async function openWithBearer(
  baseUrl: string,
  bearer: string,
  options: ClientOptions = {},
): Promise<Client> {
  const client = newClient(options);
  const requestInit = { headers: { authorization: `Bearer ${bearer}` } };
  await client.connect(new StreamableHTTPClientTransport(mcpUrl(baseUrl, options), { requestInit }));
  return client;
}

/** How `/mcp`, or a virtual MCP, answers a bearer token now: the status of a ping of the older revision. */
export async function statusFor(baseUrl: string, bearer: string, path = "/mcp"): Promise<number> {
  const answer = await fetch(new URL(path, baseUrl), {
    method: "POST",
    headers: {
      authorization: `Bearer ${bearer}`,
      "content-type": "application/json",
      accept: "application/json, text/event-stream",
      "mcp-protocol-version": "2025-11-25",
    },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "ping" }),
  });
  await answer.text();
  return answer.status;
}

export function newClient({ era = "modern", capabilities = {} }: ClientOptions = {}): Client {
  return new Client(
    { name: "journey", version: "1.0.0" },
    { capabilities, versionNegotiation: { mode: era === "modern" ? { pin: "2026-07-28" } : "legacy" } },
  );
}

/** The text of a result that is one text block. */
export function textOf(result: CallToolResult): string {
  const [block] = result.content;
  assert.equal(block?.type, "text", JSON.stringify(result));
  return (block as { text: string }).text;
}

/** The link in an "authentication required" result; fails on any other result (contract section 5). */
export function linkOf(result: CallToolResult, upstream: string): string {
  const text = textOf(result);
  const [, url] =
    /^Authentication required for (?:.+)\. Open this URL to connect your account: (\S+)$/.exec(text) ?? [];
  assert.ok(result.isError && url, `a link was expected: ${text}`);
  assert.match(text, new RegExp(`^Authentication required for ${upstream}\\. `));
  const meta = result._meta?.mcp_auth_required as Record<string, unknown> | undefined;
  assert.equal(meta?.authorize_url, url);
  assert.equal(meta?.kind, "oauth");
  assert.equal(meta?.mcp_client_name, upstream);
  return url;
}

function mcpUrl(baseUrl: string, { path = "/mcp" }: ClientOptions): URL {
  return new URL(path, baseUrl);
}
