import { type KeyedHash, newId, type Seal, type Settings, type World } from "../base/index.ts";
import type { Database, Db, Row, Tx } from "../db/index.ts";
import { type Client, clientIdHash } from "./client.ts";
import { ClientDocuments, isDocumentUrl } from "./client-documents.ts";
import { isRegistrationId, openRegistration } from "./registration.ts";

/** Finds clients, however they came to us: self-registered, by their own document, or made by an administrator. */
export class Clients {
  readonly #parts: { world: World; database: Database; seal: Seal; hash: KeyedHash; settings: Settings };
  readonly #documents: ClientDocuments;

  constructor(parts: { world: World; database: Database; seal: Seal; hash: KeyedHash; settings: Settings }) {
    this.#parts = parts;
    this.#documents = new ClientDocuments(parts.world, parts.settings);
  }

  /** For authorize; may fetch a client document. Undefined: unknown, for whatever reason. */
  async find(clientId: string): Promise<Client | undefined> {
    const idHash = clientIdHash(this.#parts.hash, clientId);
    if (isDocumentUrl(clientId)) {
      const document = await this.#documents.find(clientId);
      if (!document) return undefined;
      const { name, redirectUris, host } = document;
      return { kind: "cimd", idHash, name, redirectUris, verified: false, documentHost: host };
    }
    const registration = openRegistration(this.#parts.seal, clientId);
    if (registration) return { kind: "dcr", idHash, verified: false, ...registration };
    const row = await this.row(this.#parts.database.db, idHash);
    return row && clientOfRow(row);
  }

  /**
   * For the token and revocation endpoints: the row that a consent or an administrator made, or, without one, whether
   * the id is a registration of ours or, with `documents`, the address of a client document. Never fetches: a client's host
   * being down must not end its grants.
   */
  async known(
    id: string,
    documents = false,
  ): Promise<{ id: string; idHash: string; row?: Row<"clients"> } | undefined> {
    const idHash = clientIdHash(this.#parts.hash, id);
    const row = await this.row(this.#parts.database.db, idHash);
    if (row) return { id, idHash, row };
    const isOurs = isRegistrationId(id) && openRegistration(this.#parts.seal, id) !== undefined;
    return isOurs || (documents && isDocumentUrl(id)) ? { id, idHash } : undefined;
  }

  row(db: Db | Tx, idHash: string): Promise<Row<"clients"> | undefined> {
    return db.selectFrom("clients").selectAll().where("client_id_hash", "=", idHash).executeTakeFirst();
  }

  /**
   * The row behind a consent, made at the first one; a client document's row follows the document. Returns the row id,
   * or undefined when an administrator deleted the client meanwhile.
   */
  async record(
    tx: Tx,
    client: Pick<Client, "kind" | "idHash" | "name" | "redirectUris">,
  ): Promise<string | undefined> {
    if (client.kind === "static") return (await this.row(tx, client.idHash))?.id;
    const shown = { name: client.name, redirect_uris_json: JSON.stringify(client.redirectUris) };
    const { id } = await tx
      .insertInto("clients")
      .values({
        id: newId(this.#parts.world, "client"),
        kind: client.kind,
        client_id_hash: client.idHash,
        ...shown,
        secret_hash: null,
        created_at: this.#parts.world.now().getTime(),
      })
      .onConflict((conflict) => conflict.column("client_id_hash").doUpdateSet(shown))
      .returning("id")
      .executeTakeFirstOrThrow();
    return id;
  }
}

function clientOfRow(row: Row<"clients">): Client {
  return {
    // No `client_id` leads to the row of a workload rule.
    kind: row.kind as Client["kind"],
    idHash: row.client_id_hash,
    name: row.name,
    redirectUris: JSON.parse(row.redirect_uris_json),
    verified: row.kind === "static",
    registeredAt: row.kind === "dcr" ? row.created_at : undefined,
  };
}
