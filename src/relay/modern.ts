import type { World } from "../base/index.ts";
import { type Attempt, type Attempted, refusal } from "./attempt.ts";
import { deliver } from "./deliver.ts";
import { type Answered, post } from "./exchange.ts";
import { RelayFault } from "./fault.ts";
import { isObject, type RpcError } from "./message.ts";
import type { Patience } from "./patience.ts";
import { addExtraHeaders, type Implementation, modernBody, modernHeaders } from "./request.ts";
import { modernVersion } from "./revisions.ts";

/** Codes only a modern server knows (protocol section 1.4): who answers so is one. */
const modernCodes = {
  headerMismatch: -32020,
  missingCapability: -32021,
  unsupportedVersion: -32022,
} as const;

export function isModernCode(code: number | undefined): boolean {
  return Object.values<number | undefined>(modernCodes).includes(code);
}

/** Requests to upstreams of revision 2026-07-28: one POST each, nothing kept between them. */
export class ModernUpstreams {
  readonly #world: World;
  readonly #self: Implementation;

  constructor(world: World, self: Implementation) {
    this.#world = world;
    this.#self = self;
  }

  /** Throws `RelayFault`. */
  call(attempt: Attempt, id: number, patience: Patience): Promise<Attempted> {
    const { call } = attempt;
    const headers = modernHeaders(call);
    attempt.authorize(headers);
    addExtraHeaders(headers, call);
    return post(this.#world.outbound, {
      url: call.upstream.url,
      tls: call.upstream.tls,
      headers,
      body: modernBody(call, id, this.#self),
      id,
      patience,
      onMessage: (message) => {
        // 2026-07-28: "server MUST NOT send requests"; they travel in `input_required`.
        if (message.kind === "request") throw new RelayFault("upstream_protocol");
        return deliver(call, id, message);
      },
    }).then(judge);
  }

  /** Whether the upstream is modern; asks `server/discover`, which has no effects. */
  async probe(attempt: Attempt, id: number, patience: Patience): Promise<Attempted | { outcome: "modern" }> {
    const call = {
      ...attempt.call,
      method: "server/discover",
      params: undefined,
      paramHeaders: undefined,
      extraHeaders: undefined,
    };
    const outcome = await this.call(attempt.with(call), id, patience);
    if (outcome.outcome === "result") {
      const versions = outcome.result.supportedVersions;
      const modern = Array.isArray(versions) && versions.includes(modernVersion);
      return { outcome: modern ? "modern" : "other_era" };
    }
    if (outcome.outcome !== "error") return outcome;
    return { outcome: isModernCode(outcome.error.code) ? "modern" : "other_era" };
  }
}

/** What an answer of a modern upstream means. */
export function judge(answer: Answered): Attempted {
  switch (answer.kind) {
    case "result":
      return { outcome: "result", result: answer.result };
    case "error":
      return { outcome: "error", error: answer.error };
    case "accepted":
      throw new RelayFault("upstream_protocol");
    case "refused":
      break;
  }
  const general = refusal(answer);
  if (general) return general;
  const { error } = answer;
  if (error?.code === modernCodes.unsupportedVersion && !supportsModern(error))
    return { outcome: "other_era" };
  if (error && (isModernCode(error.code) || (answer.ours && !isLegacyCode(error.code)))) {
    return { outcome: "error", error };
  }
  // Protocol section 1.13: any other 4xx comes from a server that does not know this revision.
  return { outcome: "other_era" };
}

/** "Invalid request" and -32000 to -32019 (legacy by the 2026-07-28 code policy): "no session", "unsupported version", … */
function isLegacyCode(code: number): boolean {
  return code === -32600 || (code <= -32000 && code >= -32019);
}

function supportsModern(error: RpcError): boolean {
  const supported = isObject(error.data) ? error.data.supported : undefined;
  return Array.isArray(supported) && supported.includes(modernVersion);
}
