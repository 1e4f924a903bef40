import { Problem } from "../base/index.ts";
import type { Tx } from "../db/index.ts";
import { readHeaderValues, type Upstream } from "../upstreams/index.ts";
import { endedLink, type Link, type LinkData } from "./links.ts";
import type { ConnectParts } from "./parts.ts";
import { refuseSwitchedOff } from "./standing.ts";

export interface Submission {
  link: Link;
  upstream: Upstream;
  /** By name as it came; what is not declared is dropped. */
  given: Readonly<Record<string, string>>;
  /** Who submits, for the audit line. */
  actor: string;
}

export interface Submitted {
  id: string;
  /** Milliseconds since 1970. */
  updatedAt: number;
}

/**
 * Verifies header values once on the live upstream and only then stores them, on the row the binding has already if there
 * is one. Throws 400 for the values, 422, 502 or 504 from the upstream (the link stays pending), 409 when the upstream
 * changed meanwhile, 410 when the link or the access ended.
 */
export async function submitHeaders(parts: ConnectParts, submission: Submission): Promise<Submitted> {
  const { upstream, given } = submission;
  const headers = readHeaderValues(upstream.perUserHeaderKeys, given, "headers");
  await refuseSwitchedOff(parts, submission.link);
  await parts.verifyHeaders(upstream, headers);
  parts.world.reach("headers.1.verified");
  // Again: the upstream may have taken its time.
  await refuseSwitchedOff(parts, submission.link);
  const stored = await parts.database.transaction((tx) => store(parts, tx, submission, headers));
  parts.world.reach("headers.5.committed");
  if (stored) return stored;
  throw new Problem(
    "gone",
    "connection_withdrawn",
    "Access to the service was withdrawn meanwhile, so nothing was stored. Go back to your app and ask again.",
  );
}

type Headers = ReturnType<typeof readHeaderValues>;

/** Only while the link is still pending: whatever took access away or replaced it has ended it (ID-26). */
async function store(
  parts: ConnectParts,
  tx: Tx,
  { link, upstream, actor }: Submission,
  headers: Headers,
): Promise<Submitted | undefined> {
  await refuseChanged(parts, tx, upstream);
  const taken = await parts.flows.take<LinkData>(tx, "connect", { id: link.id }, "connected");
  if (!taken) throw endedLink();
  parts.world.reach("headers.2.link_taken");
  const { owner, account } = link;
  const secret = { kind: "headers" as const, headers };
  const stored = await parts.vault.put(tx, { owner, upstreamId: upstream.id, account, secret });
  if (!stored) {
    await tx.updateTable("flows").set({ outcome: "access_lost" }).where("id", "=", link.id).execute();
    return undefined;
  }
  parts.world.reach("headers.3.credential_stored");
  const detail = { session_id: stored.id, generation: stored.generation, flow_id: link.id };
  const upstreamId = upstream.id;
  await parts.audit.append(tx, { event: "credential.connected", actor, owner, upstreamId, detail });
  parts.world.reach("headers.4.audited");
  return { id: stored.id, updatedAt: parts.world.now().getTime() };
}

/** Values for other names, or verified at another address, are not what the upstream wants now. */
async function refuseChanged(parts: ConnectParts, tx: Tx, { id, generation }: Upstream): Promise<void> {
  const row = await tx
    .selectFrom("upstreams")
    .select("generation")
    .where("id", "=", id)
    .$if(parts.database.kind === "postgres", (query) => query.forShare())
    .executeTakeFirst();
  if (!row) throw endedLink();
  if (row.generation === generation) return;
  throw new Problem("conflict", "mcp_client_changed", "The service was changed meanwhile. Try again.");
}
