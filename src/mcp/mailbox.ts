import { newId, type Seal, type World } from "../base/index.ts";
import type { Database } from "../db/index.ts";

const TOPIC = "replica_message";
const LIFE_MS = 10 * 60_000;
const PURPOSE = "replica_messages";

export interface MailboxParts {
  world: World;
  database: Database;
  seal: Seal;
}

/**
 * What one replica has to tell another about what the other holds: a call, a connection, a stream of a client. It goes
 * through the database, sealed, and is taken once.
 */
export class Mailbox {
  /** This process; another after a restart. */
  readonly replica: string;
  /** Whether an address that is no replica's is here, in the word of each who knows some. */
  readonly holders: ((address: string) => boolean)[] = [];
  readonly #parts: MailboxParts;
  readonly #handlers = new Map<string, (body: never) => void>();

  constructor(parts: MailboxParts) {
    this.#parts = parts;
    this.replica = Buffer.from(parts.world.random(9)).toString("base64url");
    parts.database.changes.listen(({ topic, key }) => {
      if (topic !== TOPIC) return;
      const [to, id] = key.split(" ");
      if (to === undefined || id === undefined) return;
      if (to !== this.replica && !this.holders.some((holds) => holds(to))) return;
      this.#take(to, id).catch((error) => parts.world.log.warn("mcp.message_lost", { error }));
    });
  }

  /** Who is told of messages of one kind. */
  on<T>(kind: string, handler: (body: T) => void): void {
    this.#handlers.set(kind, handler as (body: never) => void);
  }

  /** Returns an id to `withdraw` by. `to`: a replica, or an address that one of them holds. `id`: to send the same thing at most once. */
  async send(to: string, kind: string, body: unknown, id?: string): Promise<string> {
    const { world, database, seal } = this.#parts;
    const message = id ?? newId(world, "msg");
    const sealed = seal.seal(JSON.stringify({ kind, body }), [PURPOSE, message, to]);
    const now = world.now().getTime();
    await database.transaction(async (tx) => {
      await tx.deleteFrom("replica_messages").where("expires_at", "<=", now).execute();
      await tx
        .insertInto("replica_messages")
        .values({ id: message, sealed, expires_at: now + LIFE_MS })
        .onConflict((conflict) => conflict.doNothing())
        .execute();
      await database.changes.note(tx, TOPIC, `${to} ${message}`, now);
    });
    return message;
  }

  /** True: nobody had taken it, and now nobody will. */
  async withdraw(id: string): Promise<boolean> {
    return (await this.#delete(id)) !== undefined;
  }

  async #take(to: string, id: string): Promise<void> {
    const row = await this.#delete(id);
    if (!row) return;
    const text = this.#parts.seal.openText(row.sealed, [PURPOSE, id, to]);
    const { kind, body } = JSON.parse(text) as { kind: string; body: never };
    this.#handlers.get(kind)?.(body);
  }

  #delete(id: string) {
    const { db } = this.#parts.database;
    return db.deleteFrom("replica_messages").where("id", "=", id).returning("sealed").executeTakeFirst();
  }
}
