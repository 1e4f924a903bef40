import { type Seal, type Settings, sameTls, type World } from "../base/index.ts";
import { type Database, type Db, EVERYTHING, type Tx } from "../db/index.ts";
import { readUpstream, type UpstreamRow } from "./rows.ts";
import type { Upstream } from "./upstream.ts";

const RETRY_MS = 1000;

interface Parts {
  world: World;
  database: Database;
  seal: Seal;
  settings: Settings;
}

/** All upstreams in memory, following the change topic `upstream` of this and other replicas. */
export class Snapshot {
  version = 0;
  readonly #parts: Parts;
  #byId = new Map<string, Upstream>();
  #byName = new Map<string, Upstream>();
  #sorted: readonly Upstream[] = [];
  #reading: Promise<void> = Promise.resolve();

  constructor(parts: Parts) {
    this.#parts = parts;
    parts.database.changes.listen(({ topic, key }) => {
      if (topic === "upstream") this.#enqueue(() => this.#reload(key));
      else if (topic === EVERYTHING) this.#enqueue(() => this.load());
    });
  }

  async load(): Promise<void> {
    const rows = await select(this.#parts.database.db).execute();
    const before = this.#byId;
    this.#byId = new Map(rows.map((row) => [row.id, this.#open(row)]));
    for (const upstream of before.values()) this.#dropPool(upstream);
    this.#publish();
  }

  all(): readonly Upstream[] {
    return this.#sorted;
  }

  find(id: string): Upstream | undefined {
    return this.#byId.get(id);
  }

  findByName(name: string): Upstream | undefined {
    return this.#byName.get(name);
  }

  settled(): Promise<void> {
    return this.#reading;
  }

  row(db: Db | Tx, id: string): Promise<UpstreamRow | undefined> {
    return select(db).where("upstreams.id", "=", id).executeTakeFirst();
  }

  #enqueue(read: () => Promise<void>): void {
    this.#reading = this.#reading.then(read).catch((error) => {
      // A missed change would leave a deleted or disabled upstream in use: read everything again, until it works.
      this.#parts.world.log.warn("upstreams.reload_failed", { error });
      setTimeout(() => this.#enqueue(() => this.load()), RETRY_MS).unref();
    });
  }

  async #reload(id: string): Promise<void> {
    const row = await this.row(this.#parts.database.db, id);
    const before = this.#byId.get(id);
    if (row) this.#byId.set(id, this.#open(row));
    else this.#byId.delete(id);
    if (before) this.#dropPool(before);
    this.#publish();
  }

  #publish(): void {
    this.#sorted = [...this.#byId.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
    this.#byName = new Map(this.#sorted.map((upstream) => [upstream.name, upstream]));
    this.version += 1;
  }

  /** Connections of a TLS configuration that counts no more serve nobody; those of an equal one open anew. */
  #dropPool({ id, tls }: Upstream): void {
    if (tls && !sameTls(tls, this.#byId.get(id)?.tls)) this.#parts.world.outbound.drop(tls);
  }

  #open(row: UpstreamRow): Upstream {
    return readUpstream(row, this.#parts.seal, this.#parts.settings);
  }
}

function select(db: Db | Tx) {
  return db
    .selectFrom("upstreams")
    .leftJoin("oauth_configs", "oauth_configs.upstream_id", "upstreams.id")
    .selectAll("upstreams")
    .select([
      "oauth_configs.id as oauth_config_id",
      "oauth_configs.redirect_uri as redirect_uri",
      "oauth_configs.updated_at as oauth_version",
    ]);
}
