import { expect } from "vitest";
import { Events } from "../../support/events.ts";

/** A message to `/mcp`, as a client sends it. */
export function post(
  baseUrl: string,
  token: string,
  message: object,
  headers: Record<string, string> = {},
): Promise<Response> {
  return fetch(`${baseUrl}/mcp`, {
    method: "POST",
    headers: {
      authorization: `Bearer ${token}`,
      "content-type": "application/json",
      accept: "application/json, text/event-stream",
      ...headers,
    },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, ...message }),
  });
}

/** The stream of a `subscriptions/listen` that has begun. */
export async function listening(baseUrl: string, token: string): Promise<Events> {
  const method = "subscriptions/listen";
  const meta = "io.modelcontextprotocol";
  const _meta = { [`${meta}/protocolVersion`]: "2026-07-28", [`${meta}/clientCapabilities`]: {} };
  const headers = { "mcp-protocol-version": "2026-07-28", "mcp-method": method };
  const params = { notifications: { toolsListChanged: true }, _meta };
  const events = new Events(await post(baseUrl, token, { method, params }, headers));
  expect((await events.next()).method).toBe("notifications/subscriptions/acknowledged");
  return events;
}

/** The stream of a new session. */
export async function standing(baseUrl: string, token: string): Promise<Events> {
  const params = { protocolVersion: "2025-06-18", capabilities: {}, clientInfo: { name: "c", version: "1" } };
  const begun = await post(baseUrl, token, { method: "initialize", params });
  const session = begun.headers.get("mcp-session-id") ?? "";
  const headers = {
    authorization: `Bearer ${token}`,
    accept: "text/event-stream",
    "mcp-session-id": session,
  };
  return new Events(await fetch(`${baseUrl}/mcp`, { headers }));
}
