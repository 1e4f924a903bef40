import { type JsonObject, type Owner, sha256, type World } from "../base/index.ts";
import type { Database } from "../db/index.ts";
import { isReadableTask, type Notification, type TaskForm, type TaskNews } from "../relay/index.ts";
import type { Upstream } from "../upstreams/index.ts";
import type { Caller } from "./caller.ts";
import type { ClientStreams } from "./client-streams.ts";
import type { Client } from "./era.ts";
import type { Listener } from "./listener.ts";
import type { Mailbox } from "./mailbox.ts";
import type { McpParts } from "./parts.ts";
import { isOver, taskAs, withRelated } from "./task-words.ts";

/** Tasks followed for one caller and in all, and the longest that one is. */
const MAX_OF_CALLER = 64;
const MAX_FOLLOWED = 4_000;
const LONGEST_MS = 24 * 3_600_000;
/** How long a replica may take that holds the stream, and how long it is not looked for when none did. */
const TAKEN_MS = 3_000;
const QUIET_MS = 15_000;
const TOPIC = "task_over";
const MAX_TOLD = 10_000;

interface Parts extends Pick<McpParts, "relay"> {
  world: World;
  database: Database;
  mailbox: Mailbox;
  streams: ClientStreams;
}

/** A task that a client of 2025-11-25 was given in a session. */
export interface GivenTask {
  caller: Caller;
  client: Client;
  /** As the client calls it. */
  id: string;
  /** The upstream's own. */
  own: string;
  /** What the client calls its progress by. */
  token: string | number | undefined;
  /** Milliseconds that the upstream keeps it; undefined: it did not say. */
  ttl: number | undefined;
}

interface Followed extends GivenTask {
  /** Of the id, for the other replicas. */
  digest: string;
  session: string;
  /** The state that was told last. */
  told: string;
  isOver: boolean;
  /** One after another, and none after the end. */
  telling: Promise<void>;
  stop(): void;
}

interface Travelling {
  binding: string;
  session: string;
  id: string;
  notification: Notification;
}

/**
 * What upstreams tell of tasks after the call was answered, for clients of 2025-11-25: progress and status, on the standing
 * stream of the session that was given the task, whichever replica holds it. 2026-07-28 has no progress of tasks (SEP-2663),
 * and its status is what `TaskFollowers` tells.
 */
export class TaskNewsDesk {
  /** Whether whoever listens may hear of a task now; set by whoever decides. */
  mayHear: (listener: Listener, id: string) => Promise<boolean> = async () => false;
  readonly #parts: Parts;
  readonly #followed = new Map<string, Followed>();
  /** Sessions whose stream nobody held, until when that is taken for granted. */
  readonly #quiet = new Map<string, number>();
  /** Ends that the other replicas were told of. */
  readonly #toldOver = new Set<string>();

  constructor(parts: Parts) {
    this.#parts = parts;
    const { mailbox, streams, database } = parts;
    mailbox.holders.push((address) => {
      const [kind, binding, session] = address.split("/");
      if (kind !== "session" || binding === undefined || session === undefined) return false;
      return streams.of(decodeURIComponent(binding), session)?.isGone === false;
    });
    mailbox.on<Travelling>("task_news", (news) => void this.#sendHere(news));
    database.changes.listen(({ topic, key }) => {
      if (topic !== TOPIC) return;
      for (const one of this.#followed.values()) if (one.digest === key) this.#end(one);
    });
    streams.closing.push(() => {
      for (const one of [...this.#followed.values()]) this.#end(one);
    });
  }

  get size(): number {
    return this.#followed.size;
  }

  /** Of an upstream of 2025-11-25, which tells in the session the task was made in. */
  follow(given: GivenTask, news: TaskNews | undefined): void {
    if (!news) return;
    const one = this.#add(given, () => news.stop());
    if (!one) {
      news.stop();
      return;
    }
    news.whenEnded(() => this.#end(one));
    news.hear(({ method, params = {} }) => {
      if (method === "notifications/progress") this.#progress(one, params);
      else this.#status(one, params, "core");
    });
  }

  /** Of an upstream of 2026-07-28, which tells whoever listens with the same credential. */
  watch(given: GivenTask, upstream: Upstream, owner: Owner | undefined, account: string | undefined): void {
    let one: Followed | undefined;
    const target = { upstream, owner, account };
    const listener = {
      notification: (_method: string, params: JsonObject) => one && this.#status(one, params, "extension"),
    };
    const watching = { close: () => {} };
    one = this.#add(given, () => watching.close());
    if (!one) return;
    const opened = this.#parts.relay.watch(target, { taskIds: [given.own] }, listener);
    watching.close = () => opened.close();
  }

  /** It is known that a task is over: nothing is told of it any more, by any replica. */
  over(id: string, { era }: Client): void {
    const one = this.#followed.get(id);
    if (one) {
      this.#end(one);
      return;
    }
    const { database, world } = this.#parts;
    const key = sha256(id);
    // Only older clients hear of tasks in this way, and SQLite serves one process.
    if (era === "modern" || database.kind === "sqlite" || this.#toldOver.has(key)) return;
    if (this.#toldOver.size >= MAX_TOLD) this.#toldOver.clear();
    this.#toldOver.add(key);
    database
      .transaction((tx) => database.changes.note(tx, TOPIC, key, world.now().getTime()))
      .catch((error) => world.log.warn("mcp.task_end_not_told", { error }));
  }

  /** Nobody can listen in this session any more. */
  endSession(session: string): void {
    for (const one of [...this.#followed.values()]) if (one.session === session) this.#end(one);
  }

  #add(given: GivenTask, stop: () => void): Followed | undefined {
    const { binding } = given.caller;
    const { session } = given.client;
    if (session === undefined || this.#followed.size >= MAX_FOLLOWED) return undefined;
    let own = 0;
    for (const { caller } of this.#followed.values()) if (caller.binding === binding) own += 1;
    if (own >= MAX_OF_CALLER) return undefined;
    const lives = Math.min(given.ttl ?? LONGEST_MS, LONGEST_MS);
    const late = setTimeout(() => this.#end(one), lives).unref();
    const one: Followed = {
      ...given,
      digest: sha256(given.id),
      session,
      told: "",
      isOver: false,
      telling: Promise.resolve(),
      stop: () => {
        clearTimeout(late);
        stop();
      },
    };
    this.#followed.set(given.id, one);
    return one;
  }

  #end(one: Followed): void {
    if (one.isOver) return;
    one.isOver = true;
    if (this.#followed.get(one.id) === one) this.#followed.delete(one.id);
    one.stop();
  }

  /** 2025-11-25 "Task Progress": under the client's own token, and saying which task it belongs to. */
  #progress(one: Followed, params: JsonObject): void {
    const { token, id } = one;
    if (token === undefined) return;
    const said = withRelated({ ...params, progressToken: token }, id);
    this.#tell(one, { method: "notifications/progress", params: said });
  }

  #status(one: Followed, params: JsonObject, form: TaskForm): void {
    if (!isReadableTask(params, one.own)) return;
    const task = taskAs("core", one.id, params, form);
    const state = JSON.stringify(task);
    if (state === one.told) return;
    one.told = state;
    this.#tell(one, { method: "notifications/tasks/status", params: task });
    if (isOver(task)) one.telling = one.telling.then(() => this.#end(one));
  }

  #tell(one: Followed, notification: Notification): void {
    one.telling = one.telling
      .then(async () => {
        if (!one.isOver) await this.#deliver(one, notification);
      })
      .catch((error: unknown) => this.#parts.world.log.warn("mcp.task_news_lost", { error }));
  }

  async #deliver({ caller: { binding }, session, id }: Followed, notification: Notification): Promise<void> {
    const { streams, database, world } = this.#parts;
    const news = { binding, session, id, notification };
    const here = streams.of(binding, session);
    // SQLite serves one process.
    const isElsewhere = here?.isGone !== false && database.kind === "postgres";
    if (!isElsewhere || (this.#quiet.get(session) ?? 0) > world.now().getTime()) return this.#sendHere(news);
    await this.#travel(news);
  }

  /** To whichever replica holds the stream. */
  async #travel(news: Travelling): Promise<void> {
    const { mailbox, world } = this.#parts;
    const { binding, session } = news;
    this.#quiet.delete(session);
    const address = `session/${encodeURIComponent(binding)}/${session}`;
    const message = await mailbox.send(address, "task_news", news);
    setTimeout(() => {
      mailbox.withdraw(message).then(
        (unread) => {
          if (!unread) return;
          if (this.#quiet.size >= MAX_FOLLOWED) this.#quiet.clear();
          this.#quiet.set(session, world.now().getTime() + QUIET_MS);
          void this.#sendHere(news);
        },
        (error) => world.log.warn("mcp.task_news_lost", { error }),
      );
    }, TAKEN_MS).unref();
  }

  /** Also to a stream that broke: who resumes it finds it. */
  async #sendHere({ binding, session, id, notification }: Travelling): Promise<void> {
    const listener = this.#parts.streams.of(binding, session);
    if (listener) await this.#send(listener, id, notification);
  }

  /** What was allowed when the task was made may not be now. */
  async #send(listener: Listener, id: string, notification: Notification): Promise<void> {
    try {
      if (await this.mayHear(listener, id)) listener.send(notification);
    } catch (error) {
      this.#parts.world.log.warn("mcp.task_news_lost", { error });
    }
  }
}
