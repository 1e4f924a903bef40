import { type Hidden, type KeyedHash, newSecret, Problem, type Settings, type World } from "../base/index.ts";
import type { Database, Flows } from "../db/index.ts";
import type { Sessions, StartedSession } from "./sessions.ts";
import type { User } from "./user-rows.ts";
import { ADMINISTRATORS, type Users } from "./users.ts";

const LINK_MS = 24 * 60 * 60 * 1000;

export interface SetupParts {
  database: Database;
  flows: Flows;
  hash: KeyedHash;
  settings: Settings;
  world: World;
  users: Users;
  sessions: Sessions;
}

/** The first administrator: by a one-time link printed at the start, or named in the environment. Never a default password. */
export class Setup {
  readonly #parts: SetupParts;

  constructor(parts: SetupParts) {
    this.#parts = parts;
  }

  /** A fresh link, valid for a day and once; earlier ones end. Undefined when an administrator exists. */
  async link(): Promise<string | undefined> {
    const { database, flows, users, world, settings } = this.#parts;
    const token = newSecret(world);
    const started = await database.transaction(async (tx) => {
      if (await users.hasAdmin(tx)) return false;
      await flows.end(tx, { kind: "setup" }, "replaced");
      await flows.start(tx, { kind: "setup", handleHash: this.#hash(token), data: {}, ttlMs: LINK_MS });
      return true;
    });
    if (!started) return undefined;
    const url = new URL("/setup", settings.baseUrl);
    url.searchParams.set("token", token);
    return url.href;
  }

  /** Whether this token would still make an administrator. */
  async accepts(token: string): Promise<boolean> {
    const { database, flows } = this.#parts;
    return (await flows.peek(database.db, "setup", { handleHash: this.#hash(token) })).state === "pending";
  }

  /** Uses the link up, makes the administrator and signs them in, all or nothing. */
  async finish(
    token: string,
    { email, password }: { email: string; password: Hidden },
    request: Request,
  ): Promise<StartedSession> {
    const { database, flows, users, sessions } = this.#parts;
    const prepared = await users.prepareAdmin(email, password);
    return database.transaction(async (tx) => {
      const taken = await flows.take(tx, "setup", { handleHash: this.#hash(token) }, "used");
      if (!taken || (await users.hasAdmin(tx))) throw spentLink();
      const user = await users.insertAdmin(tx, prepared);
      return sessions.start(user, tx, { method: "link", request });
    });
  }

  /** From POSTERN_ADMIN_EMAIL and POSTERN_ADMIN_PASSWORD; does nothing when an administrator exists. */
  async ensureAdmin(email: string, password: Hidden): Promise<User | undefined> {
    const { database, users } = this.#parts;
    if (await users.hasAdmin()) return undefined;
    const prepared = await users.prepareAdmin(email, password);
    return database.transaction(async (tx) => {
      // Several replicas may start at once.
      await database.hold(tx, ADMINISTRATORS);
      return (await users.hasAdmin(tx)) ? undefined : users.insertAdmin(tx, prepared);
    });
  }

  #hash(token: string): string {
    return this.#parts.hash.of("setup", token);
  }
}

export function spentLink(): Problem {
  return new Problem(
    "gone",
    "setup_link_spent",
    "This set-up link has been used or has expired. Sign in, or restart the gateway to get a new link while there is no administrator.",
  );
}
