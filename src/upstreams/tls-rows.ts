import { Hidden, type Seal, type SealContext, Tls, type TlsSettings } from "../base/index.ts";
import type { Db, Tx } from "../db/index.ts";

type Sealed = Omit<TlsSettings, "clientKeyPem"> & { clientKeyPem?: string };

/** All of it is sealed, not the key alone: whoever can write to the database must not choose whom we trust. */
export function sealTls(id: string, tls: Tls | undefined, seal: Seal): Buffer | null {
  if (!tls) return null;
  return seal.seal(tlsText(tls), tlsContext(id));
}

export function openTls(
  row: { id: string; connection_string: string | null; sealed_tls: Uint8Array | null },
  seal: Seal,
): Tls | undefined {
  if (!row.sealed_tls) return undefined;
  return tlsOf(row.connection_string!, seal.openText(row.sealed_tls, tlsContext(row.id)));
}

/** All of a configuration but its origin, the private key too: only for what is sealed. */
export function tlsText({ settings }: Tls): string {
  const plain: Sealed = { ...settings, clientKeyPem: settings.clientKeyPem?.reveal() };
  return JSON.stringify(plain);
}

/** What `tlsText` made, for the origin of `url`. */
export function tlsOf(url: string, text: string): Tls {
  const { clientKeyPem, ...settings } = JSON.parse(text) as Sealed;
  return new Tls(new URL(url), {
    ...settings,
    clientKeyPem: clientKeyPem === undefined ? undefined : new Hidden(clientKeyPem),
  });
}

/** From the database, in the transaction if there is one. */
export async function findTls(db: Db | Tx, id: string, seal: Seal): Promise<Tls | undefined> {
  const row = await db
    .selectFrom("upstreams")
    .select(["id", "connection_string", "sealed_tls"])
    .where("id", "=", id)
    .executeTakeFirst();
  return row && openTls(row, seal);
}

export function tlsContext(id: string): SealContext {
  return ["upstreams", "sealed_tls", id, "", "", id];
}
