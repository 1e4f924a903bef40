import { type Gone, type JsonObject, stringifyJson } from "../base/index.ts";
import type { Attempt } from "./attempt.ts";
import type { Channel } from "./channel.ts";
import { RelayFault } from "./fault.ts";
import { Patience } from "./patience.ts";
import { modernMessage } from "./request.ts";
import type { End, Hearing } from "./watch-feed.ts";
import { ListenEvents, type ListenParts, listenCall } from "./watch-modern.ts";
import { isNothing, offeredOf } from "./watch-wanted.ts";

/** How long an acknowledgement may take. */
const ACKNOWLEDGED_MS = 10_000;

/** Listens on one connection that carries everything (stdio, HTTP with SSE), until it is over. Throws `RelayFault`. */
export async function watchChannel(
  parts: ListenParts,
  channel: Channel,
  attempt: Attempt,
  hearing: Hearing,
  gone: Gone,
): Promise<End> {
  const over = Promise.withResolvers<End>();
  const leave = () => over.resolve({ why: "ended" });
  gone.addEventListener("abort", leave);
  if (gone.aborted) leave();
  const unlisten = channel.whenLost(() => over.reject(new RelayFault("upstream_unreachable")));
  const run = channel.era === "modern" ? listenOn : subscribeOn;
  const end = run(parts, channel, attempt, hearing, over);
  try {
    return await over.promise;
  } finally {
    gone.removeEventListener("abort", leave);
    hearing.changed = undefined;
    unlisten();
    end();
  }
}

type Over = Pick<PromiseWithResolvers<End>, "resolve" | "reject">;

/** 2026-07-28: `subscriptions/listen`; a changed wish is another one, and the one before is cancelled after it. */
function listenOn(
  { self, nextId }: ListenParts,
  channel: Channel,
  attempt: Attempt,
  hearing: Hearing,
  { resolve, reject }: Over,
): () => void {
  let standing: { id: number; stop(): void } | undefined;
  let opening: typeof standing;
  const cancel = (one: typeof standing) => {
    if (!one) return;
    one.stop();
    const params = { requestId: one.id };
    void channel.tell({ jsonrpc: "2.0", method: "notifications/cancelled", params }, attempt);
  };
  const open = () => {
    cancel(opening);
    const id = nextId();
    const late = setTimeout(() => resolve({ why: "not_offered" }), ACKNOWLEDGED_MS).unref();
    const events = new ListenEvents(id, hearing, () => {
      clearTimeout(late);
      if (opening?.id !== id) return;
      cancel(standing);
      standing = opening;
      opening = undefined;
      hearing.stands();
    });
    const unhear = channel.overhear((message) => {
      if (!isFor(message, id)) return false;
      try {
        events.take(message);
      } catch (error) {
        reject(error);
      }
      if (events.end) resolve(events.end);
      return true;
    });
    const stop = () => {
      clearTimeout(late);
      unhear();
    };
    opening = { id, stop };
    void channel.tell(modernMessage(listenCall(attempt.call, hearing.wanted), id, self), attempt);
  };
  hearing.changed = open;
  open();
  return () => {
    cancel(opening);
    cancel(standing);
  };
}

/** An answer to it, or a notification that carries its id (2026-07-28 "Subscriptions"). */
function isFor(message: JsonObject, id: number): boolean {
  if (typeof message.method !== "string") return message.id === id;
  if (message.id !== undefined) return false;
  const params = message.params as JsonObject | undefined;
  const meta = params?._meta as JsonObject | undefined;
  return meta?.["io.modelcontextprotocol/subscriptionId"] === id;
}

const changes: ReadonlySet<unknown> = new Set([
  "notifications/tools/list_changed",
  "notifications/prompts/list_changed",
  "notifications/resources/list_changed",
  "notifications/resources/updated",
]);

/** 2025-11-25 and before: changes come by themselves, updates of resources after `resources/subscribe`. */
function subscribeOn(
  { nextId }: ListenParts,
  channel: Channel,
  attempt: Attempt,
  hearing: Hearing,
  { resolve, reject }: Over,
): () => void {
  const followed = new Set<string>();
  let settling = Promise.resolve();
  let isOver = false;
  const ask = async (method: string, uri: string) => {
    const id = nextId();
    const { signal } = new AbortController();
    const patience = new Patience(signal, attempt.call.upstream.timeoutMs);
    const body = stringifyJson({ jsonrpc: "2.0", id, method, params: { uri } });
    // What it refuses is not followed, and that is all.
    await channel.ask({ id, body, attempt, patience, silent: true }).finally(() => patience.stop());
  };
  const settle = async (uris: readonly string[]) => {
    const wanted = new Set(uris);
    for (const uri of followed) {
      if (wanted.has(uri)) continue;
      await ask("resources/unsubscribe", uri);
      followed.delete(uri);
    }
    for (const uri of wanted) {
      if (isOver || followed.has(uri)) continue;
      await ask("resources/subscribe", uri);
      followed.add(uri);
    }
  };
  const change = () => {
    const offered = offeredOf(hearing.wanted, channel.capabilities);
    if (isNothing(offered)) return resolve({ why: "not_offered" });
    settling = settling.then(() => settle(offered.resourceSubscriptions)).then(() => hearing.stands());
    settling.catch(reject);
  };
  const unhear = channel.overhear(({ method, id, params }) => {
    if (id !== undefined || !changes.has(method)) return false;
    hearing.heard(method as string, (params ?? {}) as JsonObject);
    return true;
  });
  hearing.changed = change;
  change();
  return () => {
    isOver = true;
    unhear();
    // The connection may go on: a program serves everybody.
    if (!channel.lost) settling.then(() => settle([])).catch(() => {});
  };
}
