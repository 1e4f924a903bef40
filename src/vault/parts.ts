import type * as oauth from "oauth4webapi";
import type { Audit } from "../audit/index.ts";
import type { Hidden, Owner, Seal, Tls, World } from "../base/index.ts";
import type { Database, Db, Flows, Outbox, Tx } from "../db/index.ts";
import type {
  AuthMethod,
  ClientSource,
  IdentityProvider,
  ProviderFacts,
  RegisteredAgain,
  Upstreams,
} from "../upstreams/index.ts";
import { bindingKey } from "./credential.ts";

/** How we are a client of one upstream's authorization server; upstreams/ recorded it. */
export interface ProviderAuthorization {
  configId: string;
  /** Another one after every change of what is recorded. */
  version: number;
  /** Who registered the client: an administrator, or the gateway itself. */
  clientSource: ClientSource;
  /** When the gateway last registered anew by itself; milliseconds since 1970. */
  registeredAgainAt?: number;
  issuer: string;
  server: oauth.AuthorizationServer;
  client: oauth.Client;
  clientAuth: oauth.ClientAuth;
  /** Of what `clientAuth` is made, to make it again when nothing is recorded any more. */
  authMethod: AuthMethod;
  clientSecret?: Hidden;
  privateKey?: Hidden;
  privateKeyId?: string;
  /** Asked for where no person does (RFC 6749 §4.4.2). */
  scopes?: readonly string[];
  resource?: string;
  /** What is shown for a token of the gateway's own (RFC 7523 §2.1); undefined: it cannot be read now. */
  assertion?(): Promise<Hidden | undefined>;
  /** Where it is exchanged first (RFC 8693). */
  idp?: IdentityProvider;
  /** Tokens are asked for with a key that they are bound to (RFC 9449). */
  proofs?: boolean;
  facts?: ProviderFacts;
  /** The upstream's; for a server of the same origin. */
  tls?: Tls;
}

export interface VaultParts {
  world: World;
  database: Database;
  seal: Seal;
  flows: Flows;
  outbox: Outbox;
  audit: Pick<Audit, "append">;
  oauth: {
    /** From the database only, no network; inside a transaction through it. Undefined when there is none (any more). */
    recorded(upstream: { id: string }, db?: Tx): Promise<ProviderAuthorization | undefined>;
    /** What is recorded, or else discovery now (network); throws `Problem`. For tokens that we obtain ourselves. */
    prepareOwn?(upstreamId: string): Promise<ProviderAuthorization>;
    /**
     * The provider does not know the client any more that was recorded as `version`, or its secret has ended: registers
     * another one (network), once for everybody.
     */
    registerAgain?(upstreamId: string, version: number | undefined): Promise<RegisteredAgain>;
  };
  /** Told in the same transaction what becomes of the credential that an upstream has itself (owner mode `shared`). */
  upstreams?: Pick<Upstreams, "recordLost" | "recordRegained" | "recordFailure">;
}

export interface Binding {
  owner: Owner;
  upstreamId: string;
  account: string;
}

/** A shared credential died: its upstream says so from the same moment. Others concern nobody but their owner. */
export async function noteLost(
  parts: VaultParts,
  tx: Tx,
  { owner, upstreamId }: Pick<Binding, "owner" | "upstreamId">,
  reason: string,
): Promise<void> {
  if (owner.mode === "shared") await parts.upstreams?.recordLost(tx, upstreamId, reason);
}

/** A shared credential serves again: so does its upstream. */
export async function noteRegained(
  parts: VaultParts,
  tx: Tx,
  { owner, upstreamId }: Pick<Binding, "owner" | "upstreamId">,
): Promise<void> {
  if (owner.mode === "shared") await parts.upstreams?.recordRegained(tx, upstreamId);
}

/** The columns that say whose a row is, as a `where`. */
export function bindingColumns({ owner, upstreamId, account }: Binding) {
  return { owner_mode: owner.mode, owner_id: owner.id, upstream_id: upstreamId, account };
}

export function findRow(db: Db | Tx, binding: Binding) {
  const where = bindingColumns(binding);
  return db
    .selectFrom("credentials")
    .selectAll()
    .where("owner_mode", "=", where.owner_mode)
    .where("owner_id", "=", where.owner_id)
    .where("upstream_id", "=", where.upstream_id)
    .where("account", "=", where.account)
    .executeTakeFirst();
}

export function findById(db: Db | Tx, id: string) {
  return db.selectFrom("credentials").selectAll().where("id", "=", id).executeTakeFirst();
}

/** Tells every cache that this binding changed. */
export async function noteBinding(parts: VaultParts, tx: Tx, binding: Binding): Promise<void> {
  const key = bindingKey(binding.owner, binding.upstreamId, binding.account);
  await parts.database.changes.note(tx, "credential", key, parts.world.now().getTime());
}

/** The same for every binding of an upstream at once. No owner mode is called `upstream`. */
export async function noteUpstream(parts: VaultParts, tx: Tx, upstreamId: string): Promise<void> {
  await parts.database.changes.note(tx, "credential", `upstream:${upstreamId}`, parts.world.now().getTime());
}
