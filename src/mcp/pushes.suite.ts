import { expect } from "vitest";
import type { TellingUpstream } from "../../test/peers/telling-upstream.ts";
import { Events } from "../../test/support/events.ts";
import type { Owner } from "../base/index.ts";
import type { Upstream } from "../upstreams/index.ts";
import { type Bench, type Json, META } from "./endpoint.suite.ts";

export const changed = (list: string) => ({
  jsonrpc: "2.0",
  method: `notifications/${list}/list_changed`,
});
export const updated = (uri: string) => ({
  jsonrpc: "2.0",
  method: "notifications/resources/updated",
  params: { uri },
});

/** The stream that a client before 2026-07-28 keeps open, in a new session unless it has one. */
export async function standing(
  bench: Bench,
  key: string,
  given: { session?: Record<string, string>; headers?: Record<string, string>; path?: string } = {},
): Promise<{ events: Events; session: Record<string, string> }> {
  const session = given.session ?? (await bench.session(key, {}));
  const sent = {
    authorization: `Bearer ${key}`,
    ...session,
    accept: "text/event-stream",
    ...given.headers,
  };
  const response = await bench.fetch(undefined, sent, { method: "GET", path: given.path ?? "/mcp" });
  expect([response.status, response.headers.get("content-type")]).toEqual([200, "text/event-stream"]);
  return { events: new Events(response), session };
}

/** A request `subscriptions/listen` of a 2026-07-28 client, as it is answered. */
export function ask(
  bench: Bench,
  key: string,
  notifications: unknown,
  more: { headers?: Record<string, string>; id?: string | number; path?: string } = {},
): Promise<Response> {
  const _meta = { [`${META}protocolVersion`]: "2026-07-28", [`${META}clientCapabilities`]: {} };
  const message = {
    jsonrpc: "2.0",
    id: more.id ?? "sub-1",
    method: "subscriptions/listen",
    params: { notifications, _meta },
  };
  const headers = {
    authorization: `Bearer ${key}`,
    "mcp-protocol-version": "2026-07-28",
    "mcp-method": "subscriptions/listen",
    ...more.headers,
  };
  return bench.fetch(message, headers, { path: more.path ?? "/mcp" });
}

/** The stream of one, and what was acknowledged. */
export async function listening(
  bench: Bench,
  key: string,
  notifications: Json,
  more: { headers?: Record<string, string>; id?: string | number; path?: string } = {},
): Promise<{ events: Events; honoured: Json }> {
  const events = new Events(await ask(bench, key, notifications, more));
  const first = await events.next();
  expect(first).toMatchObject({
    jsonrpc: "2.0",
    method: "notifications/subscriptions/acknowledged",
    params: { _meta: { [`${META}subscriptionId`]: more.id ?? "sub-1" } },
  });
  return { events, honoured: first.params.notifications };
}

/** A message without what says which stream it belongs to. */
export function untagged({ params, ...message }: Json): Json {
  const { _meta, ...rest } = params ?? {};
  expect(_meta).toEqual({ [`${META}subscriptionId`]: "sub-1" });
  return Object.keys(rest).length > 0 ? { ...message, params: rest } : message;
}

/** An upstream of this peer with its lists stored, and read again when it says that they changed. */
export async function told(bench: Bench, peer: TellingUpstream, body: Json = {}): Promise<Upstream> {
  const { id } = await bench.upstream(peer.peer, { tool_pins: "accept", ...body });
  await store(bench, id, peer);
  await bench.upstreams.recordEra(id, peer.peer.era);
  return bench.upstreams.get(id);
}

/** Stores what the peer offers now, as a reading would. */
export async function store(bench: Bench, id: string, peer: TellingUpstream): Promise<void> {
  const { capabilities, resources, prompts } = peer;
  await bench.upstreams.recordTools(id, peer.peer.tools as never, {
    capabilities,
    resources,
    prompts,
    templates: [],
  });
}

/** Opens a per-person upstream's credential, or closes it. */
export async function disconnected(bench: Bench, owner: Owner, upstream: Upstream): Promise<void> {
  const found = (await bench.vault.statuses(owner, [upstream.id])).get(upstream.id);
  await bench.database.transaction((tx) => bench.vault.revoke(tx, found!.id, "test"));
}
