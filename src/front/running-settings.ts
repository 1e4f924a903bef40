import { Problem, type World } from "../base/index.ts";
import { type Database, EVERYTHING, type Tx } from "../db/index.ts";
import { type Running, type Setting, settingList } from "./setting-list.ts";

export type Source = "default" | "file" | "database";

/** A value to keep, or null to go back to the default; by path (`client.allowed_origins`). */
export type SettingChanges = ReadonlyMap<string, unknown>;

export interface RunningSettingsParts {
  database: Database;
  world: World;
  running: Running;
  /** The paths that the configuration file names: it wins. */
  given: ReadonlySet<string>;
}

const RETRY_MS = 1000;

/**
 * The settings that change while the gateway runs: kept in the database, in force where the file is silent, here as soon
 * as a change is answered and on other replicas within a second.
 */
export class RunningSettings {
  /** What must follow a change that counts here by now, by its path; filled in app.ts. */
  readonly listeners: ((changed: readonly string[]) => Promise<void>)[] = [];
  readonly #parts: RunningSettingsParts;
  /** What counts without the database: the file's, or the default. */
  readonly #initial: ReadonlyMap<string, unknown>;
  #stored: ReadonlyMap<string, unknown> = new Map();
  #reading: Promise<void> = Promise.resolve();

  constructor(parts: RunningSettingsParts) {
    this.#parts = parts;
    this.#initial = new Map(settingList.map((setting) => [pathOf(setting), setting.read(parts.running)]));
    parts.database.changes.listen(({ topic }) => {
      if (topic === "settings" || topic === EVERYTHING) this.#enqueue();
    });
  }

  /** Reads what is stored and puts it in force. */
  async load(): Promise<void> {
    const rows = await this.#parts.database.db.selectFrom("settings").selectAll().execute();
    const stored = new Map<string, unknown>();
    for (const setting of settingList) {
      const path = pathOf(setting);
      const row = rows.find(({ name }) => name === path);
      const checked = row && setting.schema.safeParse(JSON.parse(row.value_json));
      // Another version may have allowed more.
      if (checked && !checked.success) this.#parts.world.log.warn("setting.ignored", { setting: path });
      if (checked?.success) stored.set(path, checked.data);
      const counts = checked?.success && !this.#parts.given.has(path);
      setting.write(this.#parts.running, (counts ? checked.data : this.#initial.get(path)) as never);
    }
    this.#stored = stored;
  }

  /** What counts now, as the file would write it, and where each value comes from. */
  current(): { values: Record<Setting["group"], Record<string, unknown>>; sources: Record<string, Source> } {
    const values: Record<Setting["group"], Record<string, unknown>> = { client: {}, limits: {} };
    const sources: Record<string, Source> = {};
    for (const setting of settingList) {
      values[setting.group][setting.name] = setting.read(this.#parts.running);
      sources[pathOf(setting)] = this.#sourceOf(pathOf(setting));
    }
    return { values, sources };
  }

  /** Keeps the changes, and resolves when they count here. Throws 409 for what the file names. */
  async change(changes: SettingChanges, also: (tx: Tx, changed: string[]) => Promise<void>): Promise<void> {
    const { database, world } = this.#parts;
    const changed = this.#effective(changes);
    if (changed.length === 0) return;
    await database.transaction(async (tx) => {
      const now = world.now().getTime();
      for (const path of changed) await write(tx, path, changes.get(path), now);
      await also(tx, changed);
      await database.changes.note(tx, "settings", "all", now);
    });
    await this.settled();
    for (const listener of this.listeners) await listener(changed);
  }

  /** Resolves when everything heard of so far counts here. */
  settled(): Promise<void> {
    return this.#reading;
  }

  /** What the file names stays; sending back the value that counts changes nothing. */
  #effective(changes: SettingChanges): string[] {
    const { values } = this.current();
    return [...changes.keys()].filter((path) => {
      const [group, name] = path.split(".") as [Setting["group"], string];
      if (!this.#parts.given.has(path)) return true;
      if (JSON.stringify(changes.get(path)) === JSON.stringify(values[group][name])) return false;
      throw new Problem(
        "conflict",
        "managed_by_file",
        "The configuration file names this setting. Change it there and restart, or remove it there first.",
        { param: path },
      );
    });
  }

  #sourceOf(path: string): Source {
    if (this.#parts.given.has(path)) return "file";
    return this.#stored.has(path) ? "database" : "default";
  }

  #enqueue(): void {
    this.#reading = this.#reading
      .then(() => this.load())
      .catch((error) => {
        // A missed change would leave this replica with other rules than the rest.
        this.#parts.world.log.warn("settings.reload_failed", { error });
        setTimeout(() => this.#enqueue(), RETRY_MS).unref();
      });
  }
}

export function pathOf({ group, name }: Setting): string {
  return `${group}.${name}`;
}

async function write(tx: Tx, name: string, value: unknown, now: number): Promise<void> {
  if (value === null) {
    await tx.deleteFrom("settings").where("name", "=", name).execute();
    return;
  }
  const columns = { value_json: JSON.stringify(value), updated_at: now };
  await tx
    .insertInto("settings")
    .values({ name, ...columns })
    .onConflict((conflict) => conflict.column("name").doUpdateSet(columns))
    .execute();
}
