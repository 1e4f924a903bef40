import { type KeyedHash, Problem } from "../base/index.ts";
import type { Row } from "../db/index.ts";
import type { Clients } from "./clients.ts";

export interface ProvedClient {
  /** As it came on the wire. */
  id: string;
  idHash: string;
  /** Absent: a registration of ours, or a client document, that nobody ever approved. */
  row?: Row<"clients">;
}

/**
 * Which client sends a token or revocation request (RFC 6749 §2.3): public clients name themselves, static ones prove
 * their secret in one way. `documents`: a client document's client may be one that no consent has recorded yet. Throws 401
 * `invalid_client`, 400 `invalid_request` for two ways at once.
 */
export async function authenticateClient(
  clients: Clients,
  hash: KeyedHash,
  request: Request,
  form: { client_id?: string; client_secret?: string },
  { documents = false }: { documents?: boolean } = {},
): Promise<ProvedClient> {
  const header = request.headers.get("authorization");
  const basic = header === null ? undefined : readBasic(header);
  if (basic && form.client_secret !== undefined) throw twoWays();
  if (basic && form.client_id !== undefined && form.client_id !== basic.id) throw twoWays();
  const id = basic?.id ?? form.client_id;
  const secret = basic?.secret || form.client_secret;
  if (id === undefined) {
    throw new Problem("invalid", "invalid_request", "client_id is missing. Send it in the form.", {
      param: "client_id",
    });
  }
  const client = await clients.known(id, documents);
  const expected = client?.row?.secret_hash ?? undefined;
  const given = secret === undefined ? undefined : hash.of("client_secret", secret);
  // A public client has no secret: one that comes with it is not who it says (TK-03).
  if (!client || expected !== given) throw unknownClient(basic !== undefined);
  return client;
}

function readBasic(header: string): { id: string; secret: string } {
  const encoded = /^basic +([A-Za-z0-9+/=]+)$/i.exec(header)?.[1];
  const text = encoded === undefined ? "" : Buffer.from(encoded, "base64").toString("utf8");
  const colon = text.indexOf(":");
  if (colon < 0) throw unknownClient(true);
  try {
    // RFC 6749 §2.3.1: both parts are form-encoded before they are joined.
    const [id, secret] = [text.slice(0, colon), text.slice(colon + 1)].map((part) =>
      decodeURIComponent(part.replaceAll("+", " ")),
    );
    return { id: id!, secret: secret! };
  } catch {
    throw unknownClient(true);
  }
}

function twoWays(): Problem {
  return new Problem(
    "invalid",
    "invalid_request",
    "Identify the client in one way: the Authorization header or the form.",
  );
}

/** `basic`: it proved itself by that header (RFC 6749 §5.2). */
export function unknownClient(basic = false): Problem {
  const headers: Record<string, string> = basic ? { "www-authenticate": 'Basic realm="postern"' } : {};
  return new Problem(
    "unauthenticated",
    "invalid_client",
    "This client is not known or not authenticated. Register again.",
    {
      headers,
    },
  );
}
