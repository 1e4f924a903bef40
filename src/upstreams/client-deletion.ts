import type { Audit } from "../audit/index.ts";
import { Hidden, OutboundError, type Tls, type World } from "../base/index.ts";
import type { Database, Db, Delivery, Outbox, Settled, Tx } from "../db/index.ts";
import { tlsOf, tlsText } from "./tls-rows.ts";

const KIND = "delete_client";
const DELETED = "deleted";
const TIMEOUT_MS = 10_000;
const MAX_BYTES = 64 * 1024;
/** How often a revocation at the same server is tried before the client that it needs may go. */
const REVOCATION_TRIES = 4;
const MAX_TOKEN = 4096;

/** With what a registered client manages its own registration (RFC 7592 §3). */
export interface Management {
  uri: string;
  token: Hidden;
}

/** What hangs on the deletion of registrations. */
export interface ClientDeletionParts {
  world: World;
  database: Database;
  outbox?: Outbox;
  audit?: Pick<Audit, "append">;
}

/**
 * Reads it from the answer to a registration (RFC 7592 §3). Undefined where it is missing, or leads to another origin than the
 * registration endpoint's: the answer does not choose whom else we talk to (UP-13).
 */
export function readManagement(answer: Record<string, unknown>, endpoint: URL): Management | undefined {
  const { registration_client_uri: uri, registration_access_token: token } = answer;
  if (typeof uri !== "string" || typeof token !== "string") return undefined;
  const isToken = token.length <= MAX_TOKEN && /^[\x21-\x7e]+$/.test(token);
  const place = URL.parse(uri);
  if (!isToken || place?.origin !== endpoint.origin || place.username !== "" || place.password !== "")
    return undefined;
  return { uri: place.href, token: new Hidden(token) };
}

/** Queues it (RFC 7592 §2.3), in the transaction that gave the registration up. */
export async function queueDeletion(
  outbox: Outbox | undefined,
  tx: Db | Tx,
  { upstreamId, clientId, management, tls }: Registered,
): Promise<void> {
  const { uri, token } = management;
  const secured = tls ? { tls_origin: tls.origin, tls: tlsText(tls) } : undefined;
  const payload = { upstream_id: upstreamId, uri, token: token.reveal(), client_id: clientId, ...secured };
  await outbox?.put(tx, KIND, upstreamId, payload);
}

export interface Registered {
  upstreamId: string;
  clientId: string;
  management: Management;
  tls?: Tls;
}

/** Delivers queued deletions and writes on the audit trail what came of each. Once per gateway. */
export function handleDeletions(parts: ClientDeletionParts): void {
  parts.outbox?.handle(KIND, {
    deliver: (payload) => deliver(parts, payload),
    settled: (tx, settled) => noteSettled(parts, tx, settled),
  });
}

async function deliver(parts: ClientDeletionParts, payload: Record<string, string>): Promise<Delivery> {
  // RFC 7009 §2.1: tokens are revoked by the client that they were issued to.
  if (await isNeeded(parts, payload.upstream_id ?? "")) return { done: false, outcome: "revocations_first" };
  const { uri = "", token, tls, tls_origin } = payload;
  try {
    const { status } = await parts.world.outbound.fetch(uri, {
      method: "DELETE",
      headers: { authorization: `Bearer ${token}` },
      policy: "admin",
      maxBytes: MAX_BYTES,
      timeoutMs: TIMEOUT_MS,
      redirects: 0,
      tls: tls === undefined ? undefined : tlsOf(tls_origin!, tls),
    });
    if (status >= 500 || status === 429 || status === 408)
      return { done: false, outcome: `status_${status}` };
    // RFC 7592 §2.3: 401 where the client is gone already; other refusals will not change.
    return { done: true, outcome: status >= 200 && status < 300 ? DELETED : "refused" };
  } catch (error) {
    if (error instanceof OutboundError) return { done: false, outcome: error.reason };
    throw error;
  }
}

async function isNeeded({ database }: ClientDeletionParts, upstreamId: string): Promise<boolean> {
  const waiting = await database.db
    .selectFrom("outbox")
    .select("id")
    .where("kind", "=", "revoke_token")
    .where("subject", "=", upstreamId)
    .where("attempts", "<", REVOCATION_TRIES)
    .limit(1)
    .executeTakeFirst();
  return waiting !== undefined;
}

async function noteSettled({ audit }: ClientDeletionParts, tx: Tx, settled: Settled): Promise<void> {
  const { payload, subject, attempts, done, outcome } = settled;
  const event = done && outcome === DELETED ? "upstream.client_deleted" : "upstream.client_not_deleted";
  const detail = {
    client_id: payload?.client_id,
    attempts,
    ...(done ? { outcome } : { outcome: "gave_up", last: outcome }),
  };
  await audit?.append(tx, { event, actor: "system", upstreamId: subject, detail });
}
