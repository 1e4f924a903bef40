import { type Owner, Problem } from "../base/index.ts";
import type { Flow, FlowData, Tx } from "../db/index.ts";
import type { ConnectParts } from "./parts.ts";

/** A pending connect link (flow kind `connect`). */
export interface LinkData extends FlowData {
  /** Where the person goes when it is done: a path of ours, or null for the page that says so. */
  return_to: string | null;
  /** It was made with a one-time token, which stands in its address only. */
  token?: true;
  /** Of a consent: for whom. What that identity has already is not replaced by another account without asking (UP-31). */
  identity?: Owner;
}

export type Link = Flow<LinkData> & { owner: Owner; upstreamId: string };

export interface LinkOptions {
  /** Ends the pending one instead of handing it out. */
  replace?: boolean;
  /** Who asked, for the log; not who will finish. */
  by?: string;
  /** The consent that the link belongs to; it ends with it. */
  parentId?: string;
  returnTo?: string;
  /** Keyed hash of a one-time token that replaces the proof of who finishes it. */
  tokenHash?: string;
  identity?: Owner;
  /** Asked once nobody else can change the binding's links; throws when there must be no link any more. */
  unless?(tx: Tx): Promise<void>;
}

export const LINK_MS = 15 * 60_000;
const STILL_GOOD_MS = 5 * 60_000;

/** The page behind a link. The id is no secret and proves nothing (protocol document §3.3). */
export function linkPath(flowId: string, kind: "oauth" | "headers" = "oauth"): string {
  const query = new URLSearchParams({ flow: flowId, ...(kind === "headers" ? { kind } : {}) });
  return `/workspace/mcp-sessions/auth?${query}`;
}

/**
 * The one pending link of a binding. The database allows one; whoever comes second waits and finds it. A pending one is
 * handed out while five minutes remain, so that parallel calls never end an open tab.
 */
export async function startLink(
  parts: ConnectParts,
  binding: { owner: Owner; upstreamId: string; account: string },
  options: LinkOptions,
): Promise<Link> {
  return parts.database.transaction(async (tx) => {
    await holdBinding(parts, tx, binding);
    await options.unless?.(tx);
    return pendingOrNew(parts, tx, binding, options);
  });
}

/** Links of one binding are made, replaced and deleted one at a time; two at once would end each other's. */
export function holdBinding(
  parts: Pick<ConnectParts, "database">,
  tx: Tx,
  { owner, upstreamId, account }: { owner: Owner; upstreamId: string; account: string },
): Promise<void> {
  return parts.database.hold(tx, ["connect", owner.mode, owner.id, upstreamId, account]);
}

async function pendingOrNew(
  parts: ConnectParts,
  tx: Tx,
  binding: { owner: Owner; upstreamId: string; account: string },
  options: LinkOptions,
): Promise<Link> {
  const pending = await findPending(parts, tx, binding);
  const enough = pending && pending.expiresAt - parts.world.now().getTime() >= STILL_GOOD_MS;
  if (pending && enough && !options.replace) return pending;
  for (const id of await parts.flows.end(tx, { kind: "connect", ...binding }, "replaced")) {
    await parts.flows.end(tx, { kind: "state", parentId: id }, "replaced");
    await parts.vault.releaseHeld(tx, id, "replaced");
  }
  const data: LinkData = { return_to: options.returnTo ?? null, identity: options.identity };
  if (options.tokenHash !== undefined) data.token = true;
  const flow = await parts.flows.start(tx, {
    kind: "connect",
    ...binding,
    parentId: options.parentId,
    handleHash: options.tokenHash,
    data,
    ttlMs: LINK_MS,
  });
  const { upstreamId, owner } = binding;
  parts.world.log.info("connect.link_made", {
    flow: flow.id,
    upstream: upstreamId,
    mode: owner.mode,
    by: options.by,
  });
  return asLink(flow);
}

async function findPending(
  parts: ConnectParts,
  tx: Tx,
  { owner, upstreamId, account }: { owner: Owner; upstreamId: string; account: string },
): Promise<Link | undefined> {
  const row = await tx
    .selectFrom("flows")
    .select("id")
    .where("kind", "=", "connect")
    .where("owner_mode", "=", owner.mode)
    .where("owner_id", "=", owner.id)
    .where("upstream_id", "=", upstreamId)
    .where("account", "=", account)
    .where("ended_at", "is", null)
    .executeTakeFirst();
  const found = row && (await parts.flows.peek<LinkData>(tx, "connect", { id: row.id }));
  return found?.state === "pending" ? asLink(found.flow) : undefined;
}

/** The pending link; throws 404 or 410 with what to do instead. */
export async function getLink(parts: ConnectParts, flowId: string): Promise<Link> {
  const found = await parts.flows.peek<LinkData>(parts.database.db, "connect", { id: flowId });
  switch (found.state) {
    case "pending":
      return asLink(found.flow);
    case "unknown":
      throw unknownLink();
    case "expired":
      throw new Problem(
        "gone",
        "link_expired",
        "This link has expired. Go back to your app and ask again for a new one.",
      );
    case "ended":
      throw endedLink();
  }
}

export function unknownLink(): Problem {
  return new Problem(
    "not_found",
    "flow_not_found",
    "There is no such link. Go back to your app and ask again for a new one.",
  );
}

export function endedLink(): Problem {
  return new Problem(
    "gone",
    "link_ended",
    "This link is no longer valid: it was used, replaced by a newer one, or withdrawn. Go back to your app and ask again.",
  );
}

/** Keeps a link open for a trip to the provider that starts in its last minutes; throws 410 when it ended meanwhile. */
export async function extendLink(
  parts: ConnectParts,
  tx: Tx,
  link: Link,
  untilAtLeast: number,
): Promise<void> {
  const result = await tx
    .updateTable("flows")
    .set({ expires_at: Math.max(link.expiresAt, untilAtLeast) })
    .where("id", "=", link.id)
    .where("ended_at", "is", null)
    .where("expires_at", ">", parts.world.now().getTime())
    .executeTakeFirst();
  if (result.numUpdatedRows === 0n) throw endedLink();
}

function asLink(flow: Flow<LinkData>): Link {
  const { owner, upstreamId } = flow;
  if (!owner || upstreamId === undefined) throw new Error("a connect flow without owner or upstream");
  return { ...flow, owner, upstreamId };
}
