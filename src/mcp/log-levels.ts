import type { World } from "../base/index.ts";
import type { Database } from "../db/index.ts";
import { isBelow, severities } from "../relay/index.ts";
import type { Client } from "./era.ts";
import { code, Refusal } from "./refusal.ts";
import type { NotificationSink } from "./reply.ts";

const MAX_SESSIONS = 100_000;
const TOPIC = "log_level";

/**
 * What `logging/setLevel` asked for, by session (2025-11-25 "Logging"). Kept in memory and told to the other replicas; one
 * that started since sends everything again, which the specification leaves to a server that knows no level.
 */
export class LogLevels {
  readonly #world: Pick<World, "now">;
  readonly #database: Database;
  readonly #bySession = new Map<string, string>();

  constructor({ world, database }: { world: World; database: Database }) {
    this.#world = world;
    this.#database = database;
    database.changes.listen(({ topic, key }) => {
      if (topic === TOPIC) this.#learn(key);
    });
  }

  /** Throws `Refusal` -32602 for a level that is none. Without a session there is nothing to keep it by. */
  async set({ session }: Client, level: unknown): Promise<void> {
    if (typeof level !== "string" || !severities.includes(level)) {
      throw new Refusal(code.invalidParams, `Send "level" as one of ${severities.join(", ")}.`, {
        status: 200,
      });
    }
    if (session === undefined || this.#bySession.get(session) === level) return;
    const now = this.#world.now().getTime();
    await this.#database.transaction((tx) =>
      this.#database.changes.note(tx, TOPIC, `${session} ${level}`, now),
    );
  }

  /** The level of the client's session; undefined: it named none. */
  of({ session }: Client): string | undefined {
    if (this.#bySession.size === 0 || session === undefined) return undefined;
    return this.#bySession.get(session);
  }

  #learn(key: string): void {
    const [session = "", level = ""] = key.split(" ");
    if (this.#bySession.size >= MAX_SESSIONS) this.#bySession.clear();
    this.#bySession.set(session, level);
  }
}

/** `sink` without log messages that are less severe than `level`. */
export function fromLevel(sink: NotificationSink, level: string): NotificationSink {
  return (notification) =>
    notification.method === "notifications/message" && isBelow(notification.params?.level, level)
      ? undefined
      : sink(notification);
}
