import { type JsonObject, Problem, sha256, type World } from "../base/index.ts";
import type { Database, Tx } from "../db/index.ts";
import type { HeaderReader } from "../http/index.ts";
import type { Caller } from "./caller.ts";
import type { Client } from "./era.ts";
import { readFilters } from "./filters.ts";
import { canFollow } from "./followed-resources.ts";
import type { Offer } from "./offers.ts";
import type { McpParts } from "./parts.ts";
import { code, Refusal } from "./refusal.ts";

/** Resources that one session may follow, and all sessions of one caller. */
export const MOST_URIS = 100;
const MOST_OF_CALLER = 1_000;
export const LONGEST_URI = 2_048;
/** As long as a session can live. */
const LIFE_MS = 7 * 24 * 3_600_000;
const TOPIC = "resource_subscription";

interface Subscribing {
  requestId: string;
  caller: Caller;
  client: Client;
  headers: HeaderReader;
  offer: Offer;
}

/**
 * What sessions of older clients follow (`resources/subscribe`), by the URIs they know. It is stored, because the request
 * may reach another replica than the one that holds the session's stream, and outlives both.
 */
export class Subscriptions {
  /** Told the session whose subscriptions changed, wherever that was. */
  readonly changed: ((session: string) => void)[] = [];
  readonly #world: Pick<World, "now">;
  readonly #database: Database;
  readonly #audit: McpParts["audit"];

  constructor({ world, database, audit }: Pick<McpParts, "world" | "database" | "audit">) {
    this.#world = world;
    this.#audit = audit;
    this.#database = database;
    database.changes.listen(({ topic, key }) => {
      if (topic === TOPIC) for (const hear of this.changed) hear(key);
    });
  }

  /**
   * 2025-11-25 "Subscriptions". Throws `Refusal` for what the caller cannot read or nobody tells of, `Problem` when there
   * are too many.
   */
  async add(asked: Subscribing, params: JsonObject): Promise<void> {
    const { caller, offer, headers } = asked;
    const session = sessionOf(asked);
    const uri = uriIn(params);
    const found = isStorable(uri) ? offer.names.find(uri) : undefined;
    // ID-30: what is not allowed looks like what does not exist.
    if (!found || !readFilters(headers).allowUpstream(found.upstream)) {
      noteDenied(this.#audit, asked, "resources/subscribe", uri);
      throw unknownResource(uri);
    }
    if (!canFollow(found.upstream)) {
      const message = "The server of this resource does not tell when it changes. Read it again instead.";
      throw new Refusal(code.invalidParams, message, { status: 200, data: { uri } });
    }
    const now = this.#world.now().getTime();
    const row = { id: idOf(session, uri), session, uri, binding: caller.binding, expires_at: now + LIFE_MS };
    await this.#database.transaction(async (tx) => {
      await tx.deleteFrom("resource_subscriptions").where("expires_at", "<=", now).execute();
      const own = await this.#ofCaller(tx, caller);
      if (own.some(({ id }) => id === row.id)) return;
      const ofSession = own.filter((other) => other.session === session);
      if (own.length >= MOST_OF_CALLER || ofSession.length >= MOST_URIS) throw tooManySubscriptions();
      await tx
        .insertInto("resource_subscriptions")
        .values(row)
        .onConflict((conflict) => conflict.doNothing())
        .execute();
      await this.#note(tx, session, now);
    });
  }

  /** A subscription that there is none of is over already. */
  async remove(asked: Subscribing, params: JsonObject): Promise<void> {
    const session = sessionOf(asked);
    const id = idOf(session, uriIn(params));
    await this.#database.transaction(async (tx) => {
      const gone = await tx.deleteFrom("resource_subscriptions").where("id", "=", id).executeTakeFirst();
      if (gone.numDeletedRows > 0n) await this.#note(tx, session, this.#world.now().getTime());
    });
  }

  /** What a session follows. */
  async of(session: string): Promise<Set<string>> {
    const rows = await this.#database.db
      .selectFrom("resource_subscriptions")
      .select("uri")
      .where("session", "=", session)
      .where("expires_at", ">", this.#world.now().getTime())
      .orderBy("uri")
      .execute();
    return new Set(rows.map(({ uri }) => uri));
  }

  #ofCaller(tx: Tx, { binding }: Caller): Promise<{ id: string; session: string }[]> {
    return tx
      .selectFrom("resource_subscriptions")
      .select(["id", "session"])
      .where("binding", "=", binding)
      .execute();
  }

  #note(tx: Tx, session: string, now: number): Promise<void> {
    return this.#database.changes.note(tx, TOPIC, session, now);
  }
}

/** ID-30: that somebody asked for what they may not see, or what does not exist. */
export function noteDenied(
  audit: McpParts["audit"],
  { caller: { actor, owner }, requestId }: Pick<Subscribing, "caller" | "requestId">,
  method: string,
  uri: string,
): void {
  const detail = { method, target: uri.slice(0, 256) };
  audit.note({ event: "call.denied", actor, owner, requestId, detail });
}

export function tooManySubscriptions(): Problem {
  const message = `A client may follow ${MOST_URIS} resources at a time, and all of one identity ${MOST_OF_CALLER}. Unsubscribe from some.`;
  return new Problem("too_many", "too_many_subscriptions", message, { retryAfter: 60 });
}

function sessionOf({ client }: Subscribing): string {
  if (client.session !== undefined) return client.session;
  const message = "A subscription belongs to a session. Initialize, and send Mcp-Session-Id.";
  throw new Refusal(code.invalidRequest, message);
}

/** Neither without end nor with what Postgres cannot hold. */
function isStorable(uri: string): boolean {
  return uri.length <= LONGEST_URI && !uri.includes("\0");
}

function uriIn({ uri }: JsonObject): string {
  if (typeof uri === "string" && uri !== "") return uri;
  throw new Refusal(code.invalidParams, 'Send "uri" as a string.', { status: 200 });
}

function unknownResource(uri: string): Refusal {
  const message = "Unknown resource. List the resources to see what there is.";
  return new Refusal(code.resourceNotFound, message, { status: 200, data: { uri: uri.slice(0, 1024) } });
}

/** A URI may be longer than a key of the database can be. */
function idOf(session: string, uri: string): string {
  return sha256(`${session} ${uri}`);
}
