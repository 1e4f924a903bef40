import { newId, type Owner, type Seal, type World } from "../base/index.ts";
import type { Db, Tx } from "./open.ts";
import type { FlowKind, Row } from "./tables.ts";

/** Plain JSON data of a flow. Nothing secret: that goes into `secret`, which is sealed. */
export type FlowData = Record<string, unknown>;

export interface Flow<D extends FlowData = FlowData> {
  id: string;
  kind: FlowKind;
  browserHash?: string;
  owner?: Owner;
  upstreamId?: string;
  account: string;
  parentId?: string;
  data: D;
  /** Opens the sealed part; `{}` when there was none. */
  secret(): Record<string, string>;
  createdAt: number;
  expiresAt: number;
}

/** How a handle is found: by its public id, or by the keyed hash of a secret handle (`code`, `state`). */
export type FlowKey = { id: string } | { handleHash: string };

export type FlowState<D extends FlowData = FlowData> =
  | { state: "pending"; flow: Flow<D> }
  | { state: "ended"; outcome: string; flowId: string; parentId?: string }
  | { state: "expired"; flowId: string; parentId?: string }
  | { state: "unknown" };

export interface NewFlow<D extends FlowData> {
  kind: FlowKind;
  id?: string;
  handleHash?: string;
  browserHash?: string;
  owner?: Owner;
  upstreamId?: string;
  account?: string;
  parentId?: string;
  data: D;
  secret?: Record<string, string>;
  ttlMs: number;
}

const EMPTIED = { data_json: "{}", sealed: null };

/**
 * Single-use, short-lived things (attack rule R2): started once, consumed by one statement on any replica, then a
 * tombstone for 24 hours so that "used", "expired" and "unknown" stay different answers.
 */
export class Flows {
  readonly #world: World;
  readonly #seal: Seal;

  constructor(world: World, seal: Seal) {
    this.#world = world;
    this.#seal = seal;
  }

  async start<D extends FlowData>(db: Db | Tx, flow: NewFlow<D>): Promise<Flow<D>> {
    const now = this.#world.now().getTime();
    const id = flow.id ?? newId(this.#world, "flow");
    const sealed = flow.secret && this.#seal.seal(JSON.stringify(flow.secret), ["flows", flow.kind, id]);
    const row = await db
      .insertInto("flows")
      .values({
        id,
        kind: flow.kind,
        handle_hash: flow.handleHash ?? null,
        browser_hash: flow.browserHash ?? null,
        owner_mode: flow.owner?.mode ?? null,
        owner_id: flow.owner?.id ?? null,
        upstream_id: flow.upstreamId ?? null,
        account: flow.account ?? "",
        parent_id: flow.parentId ?? null,
        data_json: JSON.stringify(flow.data),
        sealed: sealed ?? null,
        created_at: now,
        expires_at: now + flow.ttlMs,
        ended_at: null,
        outcome: null,
      })
      .returningAll()
      .executeTakeFirstOrThrow();
    return this.#read<D>(row);
  }

  /** Looks without consuming. */
  async peek<D extends FlowData = FlowData>(
    db: Db | Tx,
    kind: FlowKind,
    key: FlowKey,
  ): Promise<FlowState<D>> {
    const row = await db
      .selectFrom("flows")
      .selectAll()
      .where("kind", "=", kind)
      .$if("id" in key, (query) => query.where("id", "=", (key as { id: string }).id))
      .$if("handleHash" in key, (query) =>
        query.where("handle_hash", "=", (key as { handleHash: string }).handleHash),
      )
      .executeTakeFirst();
    if (!row) return { state: "unknown" };
    const where = { flowId: row.id, parentId: row.parent_id ?? undefined };
    if (row.outcome === "expired") return { state: "expired", ...where };
    if (row.ended_at !== null) return { state: "ended", outcome: row.outcome ?? "ended", ...where };
    if (row.expires_at <= this.#world.now().getTime()) return { state: "expired", ...where };
    return { state: "pending", flow: this.#read<D>(row) };
  }

  /** Replaces the data of a pending flow if nobody changed it meanwhile; false when somebody did (read again). */
  async update<D extends FlowData>(db: Db | Tx, flow: Flow<D>, data: D): Promise<boolean> {
    const result = await db
      .updateTable("flows")
      .set({ data_json: JSON.stringify(data) })
      .where("id", "=", flow.id)
      .where("ended_at", "is", null)
      .where("data_json", "=", JSON.stringify(flow.data))
      .executeTakeFirst();
    return result.numUpdatedRows > 0n;
  }

  /** Consumes a pending flow: at most one caller, on any replica, gets it. */
  async take<D extends FlowData = FlowData>(
    tx: Tx,
    kind: FlowKind,
    key: FlowKey,
    outcome: string,
  ): Promise<Flow<D> | undefined> {
    const now = this.#world.now().getTime();
    const row = await tx
      .updateTable("flows")
      .set({ ended_at: now, outcome })
      .where("kind", "=", kind)
      .where("ended_at", "is", null)
      .where("expires_at", ">", now)
      .$if("id" in key, (query) => query.where("id", "=", (key as { id: string }).id))
      .$if("handleHash" in key, (query) =>
        query.where("handle_hash", "=", (key as { handleHash: string }).handleHash),
      )
      .returningAll()
      .executeTakeFirst();
    if (!row) return undefined;
    await tx.updateTable("flows").set(EMPTIED).where("id", "=", row.id).execute();
    return this.#read<D>(row);
  }

  /**
   * Ends every pending flow that matches; returns their ids. For revocation, replacement and parents that ended. Not what
   * holds a provider's tokens (`swap`): those are drained, or they would be lost without the provider hearing of it.
   */
  async end(
    tx: Tx,
    match: { kind?: FlowKind; parentId?: string; owner?: Owner; upstreamId?: string; account?: string },
    outcome: string,
  ): Promise<string[]> {
    const rows = await tx
      .updateTable("flows")
      .set({ ended_at: this.#world.now().getTime(), outcome, ...EMPTIED })
      .where("ended_at", "is", null)
      .where("kind", "!=", "swap")
      .$if(match.kind !== undefined, (query) => query.where("kind", "=", match.kind!))
      .$if(match.parentId !== undefined, (query) => query.where("parent_id", "=", match.parentId!))
      .$if(match.upstreamId !== undefined, (query) => query.where("upstream_id", "=", match.upstreamId!))
      .$if(match.account !== undefined, (query) => query.where("account", "=", match.account!))
      .$if(match.owner !== undefined, (query) =>
        query.where("owner_mode", "=", match.owner!.mode).where("owner_id", "=", match.owner!.id),
      )
      .returning("id")
      .execute();
    return rows.map((row) => row.id);
  }

  /** Ends one that has not ended, expired or not, and hands it over: for what must not be lost with its flow. */
  async drain<D extends FlowData = FlowData>(
    tx: Tx,
    kind: FlowKind,
    id: string,
    outcome: string,
  ): Promise<Flow<D> | undefined> {
    const row = await tx
      .updateTable("flows")
      .set({ ended_at: this.#world.now().getTime(), outcome })
      .where("kind", "=", kind)
      .where("id", "=", id)
      .where("ended_at", "is", null)
      .returningAll()
      .executeTakeFirst();
    if (!row) return undefined;
    await tx.updateTable("flows").set(EMPTIED).where("id", "=", row.id).execute();
    return this.#read<D>(row);
  }

  #read<D extends FlowData>(row: Row<"flows">): Flow<D> {
    return {
      id: row.id,
      kind: row.kind,
      browserHash: row.browser_hash ?? undefined,
      owner: row.owner_mode && row.owner_id !== null ? { mode: row.owner_mode, id: row.owner_id } : undefined,
      upstreamId: row.upstream_id ?? undefined,
      account: row.account,
      parentId: row.parent_id ?? undefined,
      data: JSON.parse(row.data_json) as D,
      secret: () =>
        row.sealed ? JSON.parse(this.#seal.openText(row.sealed, ["flows", row.kind, row.id])) : {},
      createdAt: row.created_at,
      expiresAt: row.expires_at,
    };
  }
}
