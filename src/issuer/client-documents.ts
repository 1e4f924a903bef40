import { z } from "zod";
import { Problem, parseStrictJson, type Settings, type World } from "../base/index.ts";
import { shownName } from "./client-name.ts";
import { redirectUriFault } from "./redirect-uri.ts";

const MAX_URL = 1000;
const MAX_BYTES = 5 * 1024;
const TIMEOUT_MS = 5_000;
const DEFAULT_LIFE_MS = 60 * 60_000;
const LONGEST_LIFE_MS = 24 * 60 * 60_000;
const SHORTEST_LIFE_MS = 60_000;
const FAILED_LIFE_MS = 30_000;
const MAX_ENTRIES = 2_000;
const MAX_IN_FLIGHT = 16;

export interface ClientDocument {
  name: string;
  redirectUris: string[];
  host: string;
}

/** draft-ietf-oauth-client-id-metadata-document §4; a public client of ours never has a shared secret. */
const documentSchema = z
  .looseObject({
    client_id: z.string(),
    client_name: z.string().min(1),
    redirect_uris: z.array(z.string()).default([]),
    grant_types: z.array(z.string()).default(["authorization_code"]), // RFC 7591 §2
    token_endpoint_auth_method: z.literal("none").optional(),
    client_secret: z.undefined().optional(),
  })
  .refine(
    ({ redirect_uris: uris, grant_types: grants }) =>
      uris.length > 0 || !grants.includes("authorization_code"),
    "redirect_uris is empty",
  );

/**
 * Whether a `client_id` may be the address of a client document (draft §3): https, a path, nothing that two readers
 * could read differently. http on loopback gets past here for tests; the egress guard lets it through only where
 * POSTERN_CIMD_ALLOW names it.
 */
export function isDocumentUrl(clientId: string): boolean {
  if (clientId.length > MAX_URL || !/^https?:\/\/[\x21-\x7e]+$/.test(clientId) || clientId.includes("#"))
    return false;
  const url = URL.parse(clientId);
  if (url === null || url.href !== clientId || url.username !== "" || url.password !== "") return false;
  if (url.protocol === "http:" && !["127.0.0.1", "localhost", "[::1]"].includes(url.hostname)) return false;
  return url.pathname.length > 1;
}

interface Entry {
  document: ClientDocument | undefined;
  until: number;
}

/** Client ID Metadata Documents: fetched under the strangers' policy, remembered within bounds, failures briefly (RG-13..16). */
export class ClientDocuments {
  readonly #world: World;
  readonly #settings: Settings;
  readonly #entries = new Map<string, Entry>();
  readonly #inFlight = new Map<string, Promise<Entry>>();

  constructor(world: World, settings: Settings) {
    this.#world = world;
    this.#settings = settings;
  }

  /** The document at this address, or undefined when there is no valid one; why stays in the log. */
  async find(clientId: string): Promise<ClientDocument | undefined> {
    const now = this.#world.now().getTime();
    const known = this.#entries.get(clientId);
    if (known && known.until > now) return known.document;
    const { document } = await (this.#inFlight.get(clientId) ?? this.#start(clientId));
    return document;
  }

  #start(clientId: string): Promise<Entry> {
    if (this.#inFlight.size >= MAX_IN_FLIGHT) {
      throw new Problem(
        "unavailable",
        "busy",
        "Too many client documents are being read. Try again in a moment.",
        {
          retryAfter: 5,
        },
      );
    }
    const fetching = this.#fetch(clientId).then((entry) => {
      this.#inFlight.delete(clientId);
      this.#keep(clientId, entry);
      return entry;
    });
    this.#inFlight.set(clientId, fetching);
    return fetching;
  }

  #keep(clientId: string, entry: Entry): void {
    this.#entries.delete(clientId);
    this.#entries.set(clientId, entry);
    if (this.#entries.size > MAX_ENTRIES) this.#entries.delete(this.#entries.keys().next().value!);
  }

  /** Never throws: whatever goes wrong with a stranger's document, the client is unknown. */
  async #fetch(clientId: string): Promise<Entry> {
    try {
      const answer = await this.#world.outbound.fetch(clientId, {
        policy: "stranger",
        headers: { accept: "application/json" },
        maxBytes: MAX_BYTES,
        timeoutMs: TIMEOUT_MS,
        redirects: 0,
      });
      const document = await this.#read(clientId, answer);
      return { document, until: this.#world.now().getTime() + lifeOf(answer.headers) };
    } catch (error) {
      this.#world.log.info("client_document.refused", { host: new URL(clientId).host, error });
      return { document: undefined, until: this.#world.now().getTime() + FAILED_LIFE_MS };
    }
  }

  async #read(clientId: string, answer: Response): Promise<ClientDocument> {
    if (answer.status !== 200) throw new Error("the answer is not 200");
    const type = (answer.headers.get("content-type") ?? "").split(";")[0]!.trim().toLowerCase();
    if (type !== "application/json" && !/^application\/[a-z0-9.-]+\+json$/.test(type))
      throw new Error("not JSON");
    const parsed = documentSchema.parse(parseStrictJson(new Uint8Array(await answer.arrayBuffer())));
    if (parsed.client_id !== clientId) throw new Error("client_id differs from the address"); // draft §4.1
    const fault = parsed.redirect_uris.map((uri) => redirectUriFault(uri, this.#settings)).find(Boolean);
    if (fault !== undefined) throw new Error(fault);
    const name = shownName(parsed.client_name) || new URL(clientId).host;
    return { name, redirectUris: parsed.redirect_uris, host: new URL(clientId).host };
  }
}

/** What the host asks for, within our bounds: never longer than a day, never so short that we can be made to hammer it. */
function lifeOf(headers: Headers): number {
  const control = headers.get("cache-control") ?? "";
  if (/\bno-(store|cache)\b/i.test(control)) return SHORTEST_LIFE_MS;
  const seconds = /\bmax-age=(\d+)/i.exec(control)?.[1];
  const asked = seconds === undefined ? DEFAULT_LIFE_MS : Number(seconds) * 1000;
  return Math.min(LONGEST_LIFE_MS, Math.max(SHORTEST_LIFE_MS, asked));
}
