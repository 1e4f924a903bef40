import type { KeyedHash } from "../base/index.ts";

/** A client as authorize and the pages know it, wherever it came from. */
export interface Client {
  kind: "dcr" | "cimd" | "static";
  /** Keyed hash of the wire `client_id`; how rows and codes name the client. */
  idHash: string;
  /** Already fit to be shown (client-name.ts). */
  name: string;
  redirectUris: readonly string[];
  /** Registered by an administrator. The others named themselves. */
  verified: boolean;
  /** `dcr`: when it registered, milliseconds since 1970. */
  registeredAt?: number;
  /** `cimd`: the host its document came from. */
  documentHost?: string;
}

export function clientIdHash(hash: KeyedHash, clientId: string): string {
  return hash.of("client_id", clientId);
}
