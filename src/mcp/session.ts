import type { JsonObject, Seal, World } from "../base/index.ts";
import { type Database, EVERYTHING } from "../db/index.ts";
import { isObject } from "./body.ts";
import type { Caller } from "./caller.ts";
import type { ClientName } from "./client-behaviour.ts";
import { code, Refusal } from "./refusal.ts";

/** What an older client told us at `initialize`. */
export interface ClientSession {
  version: string;
  /** Whether it can open links (elicitation in URL mode, 2025-11-25). */
  opensUrls: boolean;
  /** `clientInfo`, shortened: the id travels with every request. */
  client?: { name?: string; version?: string };
  /** What it can be asked, in the words of `initialize`, no more than that. */
  capabilities: JsonObject;
}

/** `name` says which session it is where the whole id would be too much; 128 random bits (MC-14). */
export type OpenSession = Readonly<Sealed>;

interface Sealed extends ClientSession {
  name: string;
  expiresAt: number;
}

const LIFE_MS = 7 * 24 * 3_600_000;
const MAX_KNOWN = 10_000;
const MAX_TEXT = 64;
const MAX_ID = 2_048;
const PURPOSE = "mcp_session";
const TOPIC = "client_session";

/**
 * Session ids of older clients: the id is the sealed session, so any replica serves it, and only ended ones are stored. It
 * proves nothing about who calls; it opens only for the caller it was made for.
 */
export class ClientSessions {
  readonly #world: World;
  readonly #seal: Seal;
  readonly #database: Database;
  /** Opened before, so that a warm call neither decrypts nor asks the database: binding and id to session. */
  readonly #known = new Map<string, Sealed>();
  /** Told the name of a session that ended, wherever that was. */
  readonly ended: ((name: string) => void)[] = [];
  #endings = 0;

  constructor({ world, seal, database }: { world: World; seal: Seal; database: Database }) {
    this.#world = world;
    this.#seal = seal;
    this.#database = database;
    database.changes.listen(({ topic, key }) => {
      if (topic === TOPIC) this.#forget(key);
      else if (topic === EVERYTHING) this.#forgetAll();
    });
  }

  start(caller: Caller, session: ClientSession): string {
    const name = Buffer.from(this.#world.random(16)).toString("base64url");
    const sealed: Sealed = { ...session, name, expiresAt: this.#world.now().getTime() + LIFE_MS };
    return this.#seal.seal(JSON.stringify(sealed), [PURPOSE, caller.binding]).toString("base64url");
  }

  /** A session this replica has opened before; undefined: ask `open`. */
  known(caller: Caller, id: string): OpenSession | undefined {
    const session = this.#known.get(`${caller.binding} ${id}`);
    return session && session.expiresAt > this.#world.now().getTime() ? session : undefined;
  }

  /** Rejects with the 404 after which a client starts anew: unknown, ended, or another caller's (MC-14). */
  async open(caller: Caller, id: string): Promise<OpenSession> {
    const session = this.known(caller, id) ?? this.#unseal(caller, id);
    const now = this.#world.now().getTime();
    const endings = this.#endings;
    const alive = session && session.expiresAt > now && !(await this.#hasEnded(session.name));
    if (!alive) throw unknownSession();
    // Somebody's session ended while we looked: ask again next time rather than remember what may be old.
    if (endings !== this.#endings) return session;
    if (this.#known.size >= MAX_KNOWN) this.#known.clear();
    this.#known.set(`${caller.binding} ${id}`, session);
    return session;
  }

  /** Ends it on every replica: 2025-11-25 "Session Management". Rejects as `open` does. */
  async end(caller: Caller, id: string): Promise<void> {
    const { name, expiresAt } = await this.open(caller, id);
    const now = this.#world.now().getTime();
    await this.#database.transaction(async (tx) => {
      await tx.deleteFrom("ended_sessions").where("expires_at", "<=", now).execute();
      await tx
        .insertInto("ended_sessions")
        .values({ id: name, expires_at: expiresAt })
        .onConflict((conflict) => conflict.doNothing())
        .execute();
      await tx.deleteFrom("resource_subscriptions").where("session", "=", name).execute();
      await this.#database.changes.note(tx, TOPIC, name, now);
    });
  }

  async #hasEnded(name: string): Promise<boolean> {
    const { db } = this.#database;
    return (
      (await db.selectFrom("ended_sessions").select("id").where("id", "=", name).executeTakeFirst()) !==
      undefined
    );
  }

  #forget(name: string): void {
    this.#endings += 1;
    for (const [key, session] of this.#known) if (session.name === name) this.#known.delete(key);
    for (const listener of this.ended) listener(name);
  }

  /** Whether one of them ended is asked again. */
  #forgetAll(): void {
    this.#endings += 1;
    this.#known.clear();
  }

  #unseal(caller: Caller, id: string): Sealed | undefined {
    if (id.length > MAX_ID) return undefined;
    try {
      return JSON.parse(
        this.#seal.open(Buffer.from(id, "base64url"), [PURPOSE, caller.binding]).toString("utf8"),
      );
    } catch {
      return undefined;
    }
  }
}

function unknownSession(): Refusal {
  const message = "This session is not known here. Initialize again.";
  return new Refusal(code.sessionNotFound, message, { status: 404 });
}

/** What a client declared that somebody could ask it for, shortened to what has a meaning. */
export function declaredOf(capabilities: JsonObject): JsonObject {
  const declared: JsonObject = {};
  for (const [name, members] of Object.entries(askedFor)) {
    const said = capabilities[name];
    if (!isObject(said)) continue;
    declared[name] = Object.fromEntries(members.filter((m) => isObject(said[m])).map((m) => [m, {}]));
  }
  return declared;
}

const askedFor = { elicitation: ["form", "url"], sampling: ["tools", "context"], roots: [] } as const;

/** What is kept of `clientInfo`. */
export function shortName({ name, version }: ClientName): ClientSession["client"] {
  const short = (text: unknown) => (typeof text === "string" ? text.slice(0, MAX_TEXT) : undefined);
  return { name: short(name), version: short(version) };
}
