import { JsonFault, OutboundError, parseStrictJson, type Tls } from "../base/index.ts";
import type { Delivery } from "../db/index.ts";
import { type RevocationCall, type RevocationTokens, revocationRequest } from "../upstreams/index.ts";
import type { VaultParts } from "./parts.ts";

const MAX_BYTES = 64 * 1024;
const TIMEOUT_MS = 10_000;
const TRANSIENT_STATUS = new Set([408, 429]);

/** Ends tokens in the way that the provider's profile describes, where there is no RFC 7009 endpoint. */
export async function callProvider(
  parts: Pick<VaultParts, "world">,
  call: RevocationCall,
  tokens: RevocationTokens,
  tls?: Tls,
): Promise<Delivery> {
  const request = revocationRequest(call, tokens);
  if (!request) return { done: true, outcome: "nothing_to_revoke" };
  const { url, ...init } = request;
  try {
    const bounds = {
      policy: "admin",
      maxBytes: MAX_BYTES,
      timeoutMs: TIMEOUT_MS,
      redirects: 0,
      tls,
    } as const;
    const response = await parts.world.outbound.fetch(url, { ...init, ...bounds });
    const { status } = response;
    if (status >= 500 || TRANSIENT_STATUS.has(status)) return { done: false, outcome: `status_${status}` };
    const told = status >= 200 && status < 300 && (await saysYes(call, response));
    return { done: true, outcome: told ? "revoked" : "refused" };
  } catch (error) {
    if (error instanceof OutboundError) return { done: false, outcome: error.reason };
    throw error;
  }
}

async function saysYes({ success }: RevocationCall, response: Response): Promise<boolean> {
  if (!success) return true;
  try {
    const answer = parseStrictJson(new Uint8Array(await response.arrayBuffer()));
    return (answer as Record<string, unknown> | null)?.[success.member] === success.is;
  } catch (error) {
    if (error instanceof JsonFault) return false;
    throw error;
  }
}
