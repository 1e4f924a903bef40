import { sql } from "kysely";
import { newId, Problem, type Seal, type Settings, sameTls, type World } from "../base/index.ts";
import type { Database, Outbox, Tx } from "../db/index.ts";
import { checkDefinition, type Definition, type DefinitionBody, type DefinitionPatch } from "./definition.ts";
import { lostFailure } from "./lost-credential.ts";
import { OAuthRecords, type RecordedOAuth } from "./oauth-records.ts";
import { mergePatch } from "./patch.ts";
import { definitionColumns, readUpstream, type UpstreamRow } from "./rows.ts";
import { Snapshot } from "./snapshot.ts";
import { ToolPins, type UpstreamColumns } from "./tool-pins.ts";
import { forgetOffers } from "./tool-version-rows.ts";
import {
  authorizationMoved,
  type Era,
  type Failure,
  type Features,
  obtainsOwnToken,
  type Source,
  sameHeaderKeys,
  type ToolDefinition,
  type Upstream,
  type UpstreamListener,
  type UpstreamState,
} from "./upstream.ts";
import { definitionOf } from "./view.ts";

export interface UpstreamsParts {
  world: World;
  database: Database;
  seal: Seal;
  settings: Settings;
  /** For what authorization servers are told when an upstream is deleted or becomes another. */
  outbox?: Outbox;
}

/** Work of the caller that belongs into the same transaction (for example the keys named in `vk_configs`). */
export type Also = (tx: Tx, upstream: Upstream) => Promise<void>;

/** The configured upstreams: the rows, and all of them in memory for whoever must not wait. */
export class Upstreams {
  /** What must follow a change, inside its transaction; filled in app.ts. */
  readonly listeners: UpstreamListener[] = [];
  readonly pins: ToolPins;
  readonly #world: World;
  readonly #database: Database;
  readonly #seal: Seal;
  readonly #settings: Settings;
  readonly #snapshot: Snapshot;
  readonly #records: OAuthRecords;

  constructor(parts: UpstreamsParts) {
    this.#world = parts.world;
    this.#database = parts.database;
    this.#seal = parts.seal;
    this.#settings = parts.settings;
    this.#records = new OAuthRecords(parts);
    this.#snapshot = new Snapshot(parts);
    this.pins = new ToolPins({
      ...parts,
      listeners: this.listeners,
      locked: async (tx, id) => readUpstream(await this.#lockedRow(tx, id), this.#seal, this.#settings),
      note: (tx, id) => this.#note(tx, id),
      settled: () => this.#snapshot.settled(),
    });
  }

  /** Reads all upstreams into memory; once, before anything else is asked. */
  load(): Promise<void> {
    return this.#snapshot.load();
  }

  /** Rises whenever what `all()` returns changes: catalogues and rules compare it. */
  get version(): number {
    return this.#snapshot.version;
  }

  /** All of them by name; no I/O. */
  all(): readonly Upstream[] {
    return this.#snapshot.all();
  }

  find(id: string): Upstream | undefined {
    return this.#snapshot.find(id);
  }

  findByName(name: string): Upstream | undefined {
    return this.#snapshot.findByName(name);
  }

  /** Throws 404. */
  get(id: string): Upstream {
    const upstream = this.find(id);
    if (!upstream) throw unknownUpstream();
    return upstream;
  }

  newId(): string {
    return newId(this.#world, "mcp");
  }

  /** `checkDefinition` for this gateway: what its operator allows decides whether a certificate may stay unchecked. */
  check(body: DefinitionBody, isFromFile = false): Definition {
    const isNamed = (url: URL) => this.#world.outbound.isNamed(url);
    return checkDefinition(body, undefined, isNamed, isFromFile);
  }

  /** Stores a checked definition; with `found`, also what discovery and registration came to. 409 when the name is taken. */
  async create(
    definition: Definition,
    source: Source,
    options: { id?: string; found?: RecordedOAuth; also?: Also } = {},
  ): Promise<Upstream> {
    const id = options.id ?? this.newId();
    await this.#database.transaction(async (tx) => {
      await this.#refuseTakenName(tx, definition.name);
      await this.#insert(tx, id, definition, source);
      if (definition.oauth) {
        await this.#records.create(tx, id, definition);
        const row = await this.#records.find(tx, id);
        if (options.found) await this.#records.record(tx, row!, options.found);
      }
      await options.also?.(tx, await this.#read(tx, id));
      await this.#note(tx, id);
    });
    await this.#snapshot.settled();
    return this.get(id);
  }

  /**
   * Changes what `patch` names (nested `oauth_config` too; `headers` and lists are replaced whole). Throws 404, 409
   * `name_taken`, 400 `immutable_field`, `secret_required` and what `checkDefinition` throws.
   */
  async update(id: string, patch: DefinitionPatch, also?: Also): Promise<Upstream> {
    const isNamed = (url: URL) => this.#world.outbound.isNamed(url);
    return this.#change(id, (before, row) => mergePatch(before, row, patch, isNamed), also);
  }

  /** Replaces the whole definition, address and kind included: only the configuration file may. */
  async replace(id: string, definition: Definition): Promise<Upstream> {
    return this.#change(id, () => definition);
  }

  /** Removes it with everything that hangs on it (listeners first, then the row). Throws 404. */
  async delete(id: string, also?: Also): Promise<void> {
    await this.#database.transaction(async (tx) => {
      const before = await this.#read(tx, id);
      await also?.(tx, before);
      for (const listener of this.listeners) await listener.deleted?.(tx, before);
      const oauth = await this.#records.find(tx, id);
      if (oauth) await this.#records.retire(tx, oauth);
      await tx.deleteFrom("upstreams").where("id", "=", id).execute();
      await this.#note(tx, id);
    });
    await this.#snapshot.settled();
  }

  async recordEra(id: string, era: Era): Promise<void> {
    if (this.find(id)?.era !== era) await this.#set(id, { era });
  }

  /**
   * A tool list was read: the upstream is healthy, and what differs from what was approved is held. Without `features`
   * those stay as they were. Throws 404.
   */
  async recordTools(id: string, tools: readonly ToolDefinition[], features?: Features): Promise<void> {
    await this.pins.record(id, tools, {
      ...(features && { features_json: JSON.stringify(features) }),
      tools_synced_at: this.#world.now().getTime(),
      // Read with a credential that died meanwhile: only a new one ends that.
      state: sql`case state when 'needs_reauth' then state else 'healthy' end`,
      failure_json: sql`case state when 'needs_reauth' then failure_json end`,
    });
  }

  /** `undefined`: it works again. A failure leaves the tools as they were last read, and a lost credential the reason. */
  async recordFailure(id: string, failure: Failure | undefined): Promise<void> {
    const upstream = this.find(id);
    if (!upstream || (!failure && !upstream.lastFailure)) return;
    const failed: UpstreamState = upstream.toolsSyncedAt === undefined ? "error" : "unstable";
    const json = failure ? JSON.stringify(failure) : null;
    await this.#set(id, {
      state: sql`case state when 'needs_reauth' then state else ${failure ? failed : "healthy"} end`,
      failure_json: sql`case state when 'needs_reauth' then failure_json else ${json} end`,
    });
  }

  /** The shared credential is dead: says so, in the transaction in which it died. `reason`: a word of the vault's. */
  async recordLost(tx: Tx, id: string, reason: string): Promise<void> {
    const row = await this.#snapshot.row(tx, id);
    const upstream = row && readUpstream(row, this.#seal, this.#settings);
    // Gone with its upstream, or left over from when that was of another kind.
    if (!upstream?.shared) return;
    const failure = lostFailure(upstream, reason, this.#world.now().getTime());
    await tx
      .updateTable("upstreams")
      .set({ state: "needs_reauth", failure_json: JSON.stringify(failure) })
      .where("id", "=", id)
      .execute();
    await this.#note(tx, id);
  }

  /** There is a shared credential again, or a new attempt at one. */
  async recordRegained(tx: Tx, id: string): Promise<void> {
    const result = await tx
      .updateTable("upstreams")
      .set((eb) => ({
        state: eb
          .case()
          .when("tools_synced_at", "is", null)
          .then("pending_verification")
          .else("healthy")
          .end(),
        failure_json: null,
      }))
      .where("id", "=", id)
      .where("state", "=", "needs_reauth")
      .executeTakeFirst();
    if (result.numUpdatedRows > 0n) await this.#note(tx, id);
  }

  /** Does `work` in one transaction if the upstream is still the one that was looked at; else 404 or 409 `mcp_client_changed`. */
  async whileUnchanged(upstream: Upstream, work: (tx: Tx) => Promise<void>): Promise<void> {
    await this.#database.transaction(async (tx) => {
      const row = await this.#lockedRow(tx, upstream.id);
      if (row.generation !== upstream.generation) throw changedMeanwhile();
      await work(tx);
    });
    await this.#snapshot.settled();
  }

  async setState(id: string, state: UpstreamState): Promise<void> {
    if (this.find(id)?.state !== state) await this.#set(id, { state });
  }

  /** Resolves when the memory shows every change committed so far. */
  settled(): Promise<void> {
    return this.#snapshot.settled();
  }

  async #change(
    id: string,
    next: (before: Upstream, row: UpstreamRow) => Definition,
    also?: Also,
  ): Promise<Upstream> {
    await this.#database.transaction(async (tx) => {
      const row = await this.#lockedRow(tx, id);
      const before = readUpstream(row, this.#seal, this.#settings);
      const definition = next(before, row);
      if (definition.name !== before.name) await this.#refuseTakenName(tx, definition.name);
      const after = await this.#write(tx, before, definition);
      // `vk_configs` first: what they give back must not be orphaned by what the same change takes away.
      await also?.(tx, after);
      for (const listener of this.listeners) await listener.changed?.(tx, before, after);
      await this.#note(tx, id);
    });
    await this.#snapshot.settled();
    return this.get(id);
  }

  async #write(tx: Tx, before: Upstream, definition: Definition): Promise<Upstream> {
    const columns = definitionColumns(before.id, definition, this.#seal);
    await tx.updateTable("upstreams").set(columns).where("id", "=", before.id).execute();
    await this.#writeOAuth(tx, before, definition);
    const after = await this.#read(tx, before.id);
    const moved = authorizationMoved(before, after);
    const addressed = before.url.href !== after.url.href;
    const reheaded = headersOf(before) !== headersOf(after) || !sameHeaderKeys(before, after);
    const otherwise = reheaded || !sameTls(before.tls, after.tls);
    // Attack case MC-21: another address may not bring other tools under the names that were approved.
    if (addressed) await forgetOffers(tx, before.id);
    if (before.toolPins !== after.toolPins || `${before.toolsToExecute}` !== `${after.toolsToExecute}`)
      await this.pins.relist(tx, after);
    const changed =
      moved || otherwise || JSON.stringify(definitionOf(before)) !== JSON.stringify(definitionOf(after));
    if (!changed) return after;
    await tx
      .updateTable("upstreams")
      .set({
        updated_at: this.#world.now().getTime(),
        ...(moved || otherwise ? { generation: before.generation + 1 } : {}),
        ...(moved ? { state: "pending_verification", failure_json: null } : {}),
        ...(addressed ? unread : {}),
      })
      .where("id", "=", before.id)
      .execute();
    return this.#read(tx, before.id);
  }

  async #writeOAuth(tx: Tx, before: Upstream, definition: Definition): Promise<void> {
    const row = await this.#records.find(tx, before.id);
    if (!definition.oauth) {
      if (!row) return;
      await this.#records.retire(tx, row);
      await tx.deleteFrom("oauth_configs").where("id", "=", row.id).execute();
      return;
    }
    if (!row) {
      await this.#records.create(tx, before.id, definition);
      return;
    }
    const after = await this.#read(tx, before.id);
    // Attack rule R9: what was discovered and registered for one address is not used for another.
    if (authorizationMoved(before, after)) {
      await this.#records.reset(tx, row, definition);
      return;
    }
    if (definition.oauth.clientId || obtainsOwnToken(definition))
      await this.#records.keepProof(tx, row, before.oauth, definition);
    // The next person is asked for these; who connected before keeps what was granted then.
    const { scopes } = definition.oauth;
    if (scopes.length > 0) await this.#records.setScopes(tx, row, scopes);
  }

  async #insert(tx: Tx, id: string, definition: Definition, source: Source): Promise<void> {
    const now = this.#world.now().getTime();
    const result = await tx
      .insertInto("upstreams")
      .values({
        id,
        source,
        ...definitionColumns(id, definition, this.#seal),
        state: "pending_verification",
        failure_json: null,
        generation: 1,
        tools_approved_at: null,
        ...unread,
        created_at: now,
        updated_at: now,
      })
      // Two at once: the database decides which of them has the name.
      .onConflict((conflict) => conflict.column("name").doNothing())
      .executeTakeFirst();
    if (result.numInsertedOrUpdatedRows === 0n) throw nameTaken();
  }

  async #refuseTakenName(tx: Tx, name: string): Promise<void> {
    const taken = await tx.selectFrom("upstreams").select("id").where("name", "=", name).executeTakeFirst();
    if (taken) throw nameTaken();
  }

  async #set(id: string, values: UpstreamColumns): Promise<void> {
    await this.#database.transaction(async (tx) => {
      const result = await tx.updateTable("upstreams").set(values).where("id", "=", id).executeTakeFirst();
      if (result.numUpdatedRows > 0n) await this.#note(tx, id);
    });
    await this.#snapshot.settled();
  }

  async #lockedRow(tx: Tx, id: string): Promise<UpstreamRow> {
    // Two changes at once: the second must build on the first. SQLite runs one transaction at a time.
    if (this.#database.kind === "postgres")
      await tx.selectFrom("upstreams").select("id").where("id", "=", id).forUpdate().execute();
    const row = await this.#snapshot.row(tx, id);
    if (!row) throw unknownUpstream();
    return row;
  }

  async #read(tx: Tx, id: string): Promise<Upstream> {
    const row = await this.#snapshot.row(tx, id);
    if (!row) throw unknownUpstream();
    return readUpstream(row, this.#seal, this.#settings);
  }

  #note(tx: Tx, id: string): Promise<void> {
    return this.#database.changes.note(tx, "upstream", id, this.#world.now().getTime());
  }
}

/** Nothing was asked at this address yet. */
const unread = { era: null, tools_json: null, held_tools: 0, features_json: null, tools_synced_at: null };

function headersOf(upstream: Upstream): string {
  return JSON.stringify(Object.entries(upstream.headers).map(([name, value]) => [name, value.reveal()]));
}

function changedMeanwhile(): Problem {
  return new Problem("conflict", "mcp_client_changed", "The MCP client was changed meanwhile. Try again.");
}

function nameTaken(): Problem {
  return new Problem("conflict", "name_taken", "Another MCP client has this name. Choose a different one.", {
    param: "name",
  });
}

function unknownUpstream(): Problem {
  return new Problem(
    "not_found",
    "mcp_client_not_found",
    "There is no such MCP client. List them to find its id.",
  );
}
