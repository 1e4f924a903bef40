import type { JsonObject } from "../base/index.ts";
import type { HeaderReader } from "../http/index.ts";
import { metaKey } from "../relay/index.ts";
import { checkAccounts } from "./accounts.ts";
import type { Message } from "./body.ts";
import type { Caller, Callers } from "./caller.ts";
import type { ClientStreams, Opening } from "./client-streams.ts";
import type { Client } from "./era.ts";
import { readFilters } from "./filters.ts";
import { FollowedResources } from "./followed-resources.ts";
import { ListChanges } from "./list-changes.ts";
import { ListWatches } from "./list-watches.ts";
import { honour } from "./listen-filter.ts";
import { Listener } from "./listener.ts";
import type { Methods } from "./methods.ts";
import type { McpParts } from "./parts.ts";
import { complete, writeReply } from "./reply.ts";
import { SeenLists } from "./seen-lists.ts";
import { selfAt } from "./self.ts";
import { noteDenied } from "./subscriptions.ts";
import { TaskFollowers } from "./task-followers.ts";

const LISTEN = "subscriptions/listen";

interface Parts {
  mcp: McpParts;
  streams: ClientStreams;
  callers: Callers;
  methods: Methods;
}

/** Who wants to listen, and with what the request came. */
export interface Wish {
  caller: Caller;
  client: Client;
  headers: HeaderReader;
}

/**
 * What clients are told without having asked just then: that a list of theirs changed, that a resource they follow did.
 * Opens the streams for it in both eras and keeps what is watched at upstreams in step with who listens.
 */
export class Pushes {
  readonly #parts: Parts;
  readonly #seen: SeenLists;
  readonly #followed: FollowedResources;
  readonly #tasks: TaskFollowers;
  readonly #changes: ListChanges;
  /** What is read for a listener one after another, so that the last reading counts. */
  readonly #reading = new WeakMap<Listener, Promise<void>>();

  constructor(parts: Parts) {
    const { mcp, streams, callers, methods } = parts;
    const { offers, plain, subscriptions } = methods;
    this.#parts = parts;
    this.#seen = new SeenLists({ mcp, offers, plain, tools: (view) => methods.shownTools(view) });
    this.#followed = new FollowedResources(mcp, offers);
    const watches = new ListWatches(mcp, streams);
    this.#changes = new ListChanges({
      mcp,
      callers,
      streams,
      seen: this.#seen,
      followed: this.#followed,
      watches,
    });
    this.#tasks = new TaskFollowers(methods.tasks, streams, mcp.world.log);
    streams.opened.push((listener, how) => this.#opened(listener, how));
    streams.left.push((listener) => {
      this.#followed.drop(listener);
      this.#changes.soon();
    });
    streams.closing.push(() => {
      this.#changes.close();
      watches.close();
    });
    subscriptions.changed.push((session) => {
      for (const listener of streams.all()) if (listener.session === session) void this.#reload(listener);
    });
  }

  /** The stream of an older client's session. Throws 429 when its caller has too many. */
  async open(wish: Wish, lastEventId: string | null): Promise<ReadableStream<Uint8Array>> {
    checkAccounts(wish.headers);
    const listener = new Listener(wish);
    listener.seen = await this.#seen.of(listener);
    return this.#parts.streams.open(listener, lastEventId).body;
  }

  /**
   * 2026-07-28 "Subscriptions": acknowledges what is honoured, and ends at once where that is nothing. Throws `Refusal` for
   * a filter that is none, 429 for too many streams or resources.
   */
  async listen(
    wish: Wish,
    message: Message & { id: string | number },
    requestId: string,
  ): Promise<ReadableStream<Uint8Array>> {
    const { mcp, streams, methods } = this.#parts;
    const { caller, client, headers } = wish;
    checkAccounts(headers);
    const offer = methods.offers.of(await mcp.access.rulesFor(caller));
    const params = message.params ?? {};
    const { lists, uris, unknown, notifications } = honour(params, offer, readFilters(headers));
    const [denied] = unknown;
    if (denied !== undefined) noteDenied(mcp.audit, { caller, requestId }, LISTEN, denied);
    const taskIds = await this.#tasks.honour(wish, (params.notifications as JsonObject).taskIds);
    if (taskIds.length > 0) notifications.taskIds = taskIds;
    const listener = new Listener({ ...wish, wants: lists, uris });
    listener.seen = await this.#seen.of(listener);
    const tag: JsonObject = { _meta: { [metaKey.subscriptionId]: message.id } };
    const farewell = writeReply(message.id, {
      result: complete(client, selfAt(methods.self, caller), tag),
    });
    const body = streams.listen(listener, { id: message.id, acknowledged: { notifications }, farewell });
    const honoured = lists.length + uris.length + taskIds.length;
    if (honoured === 0) streams.end((one) => one === listener);
    this.#tasks.follow(listener, taskIds, requestId);
    return body;
  }

  /** The client of a stream of 2024-11-05 has a session now, and with it a name and subscriptions. */
  follow(listener: Listener, client: Client): void {
    if (listener.session === client.session) return;
    listener.client = client;
    if (client.session !== undefined) this.#parts.streams.name(listener, client.session);
    void this.#reload(listener);
    this.#changes.soon(listener);
  }

  #opened(listener: Listener, how: Opening): void {
    // Something may have changed since the lists were looked at.
    this.#changes.soon(listener);
    if (how === "missed") this.#changes.tellAll(listener);
    if (listener.session === undefined) this.#followed.settle(listener);
    else
      void this.#reload(listener).then(() => {
        if (how !== "new") this.#followed.tellAll(listener);
      });
  }

  /** Reads what a session follows; never rejects. */
  #reload(listener: Listener): Promise<void> {
    const { methods, streams, mcp } = this.#parts;
    const read = async () => {
      const { session } = listener;
      if (session === undefined) return;
      try {
        listener.uris = await methods.subscriptions.of(session);
        this.#followed.settle(listener);
      } catch (error) {
        // It comes back and is served then, rather than stay and hear nothing.
        mcp.world.log.warn("mcp.subscriptions_not_read", { error });
        streams.end((one) => one === listener);
      }
    };
    const reading = (this.#reading.get(listener) ?? Promise.resolve()).then(read);
    this.#reading.set(listener, reading);
    return reading;
  }
}
