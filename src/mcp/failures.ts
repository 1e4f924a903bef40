import { type Json, type Log, Problem } from "../base/index.ts";
import type { Relayed, RelayFailure } from "../relay/index.ts";
import { isObject } from "./body.ts";
import type { Target } from "./catalog.ts";
import type { Client } from "./era.ts";
import { code, Refusal } from "./refusal.ts";
import { type Reply, type ServerInfo, toolFailure } from "./reply.ts";
import { linksOf } from "./upstream-input.ts";

const sentences: Record<RelayFailure, string> = {
  upstream_address_refused: "may not be reached from this gateway. An administrator must allow its address.",
  upstream_unreachable: "could not be reached. Try again later.",
  upstream_timeout: "did not answer in time. The call may still have had effects there.",
  upstream_protocol: "gave an answer that is not valid MCP. Its operator must look at it.",
  upstream_too_large: "gave an answer that is too large. Ask for less.",
  upstream_refused: "refused the call. An administrator must look at its credentials and permissions.",
  cancelled: "was told that the call is cancelled.",
  credential_unavailable:
    "cannot be called just now: its sign-in service does not answer. Try again in a moment.",
  client_refused:
    "cannot be called: its sign-in service does not accept this gateway. An administrator must check client_id and client_secret; nobody needs to connect again.",
};

/** MC-38: a code, the server's name and the request id; no address, nothing the upstream said. */
export function failureReply(
  { upstream }: Target,
  failed: Extract<Relayed, { outcome: "failed" }>,
  requestId: string,
): Reply {
  const data = {
    code: failed.code,
    mcp_client_name: upstream.name,
    retryable: failed.retryable,
    event_id: requestId,
  };
  const error = { code: code.internal, message: `${upstream.name} ${sentences[failed.code]}`, data };
  return { error, failed: failed.code };
}

interface UpstreamError {
  code: number;
  message: string;
  data?: Json;
}

/** An upstream's error passes; only codes that speak of one hop, or that the client's revision forbids, are put otherwise. */
export function upstreamError(
  client: Client,
  self: ServerInfo,
  { upstream }: Target,
  error: UpstreamError,
): Reply {
  switch (error.code) {
    case code.urlElicitationRequired: {
      // We declared no elicitation to an older upstream; what it asks for all the same is shown as text.
      const links = linksOf(isObject(error.data) ? error.data.elicitations : undefined);
      return toolFailure(
        client,
        self,
        `${upstream.name} needs you to open: ${links.join(" ") || "a page of its own"}`,
      );
    }
    case -32021:
      if (client.era === "modern") return { error, status: 400 };
      return toolFailure(
        client,
        self,
        `${upstream.name} needs a client with more capabilities for this tool.`,
      );
    case code.headerMismatch:
    case code.unsupportedVersion:
      // About our own request to the upstream, nothing the client could mend.
      return toolFailure(client, self, `${upstream.name} ${sentences.upstream_protocol}`);
    case code.resourceNotFound:
      // MUST NOT be emitted in 2026-07-28 (protocol section 1.4).
      return { error: client.era === "modern" ? { ...error, code: code.invalidParams } : error };
    default:
      return { error };
  }
}

/** A store that does not answer, in the words of JSON-RPC; anything else as it is. */
export function asRefusal(error: unknown, { requestId, log }: { requestId: string; log: Log }): unknown {
  if (!(error instanceof Problem) || error.kind !== "unavailable") return error;
  const { message, code: word, status, retryAfter, cause } = error;
  log.warn("request.failed", { ...error.log, code: word, status, error: cause });
  const data = { code: word, retryable: true, event_id: requestId };
  return new Refusal(code.internal, message, { status, retryAfter, data });
}

/** What was thrown, where it can no longer be the status of the answer. */
export function errorReply(error: unknown, { requestId, log }: { requestId: string; log: Log }): Reply {
  if (error instanceof Refusal) {
    const { message, data } = error;
    return {
      error: data === undefined ? { code: error.code, message } : { code: error.code, message, data },
    };
  }
  const data = { event_id: requestId };
  if (error instanceof Problem && error.kind !== "internal") {
    const { message, code: word, kind } = error;
    const retryable = kind === "too_many" || kind === "unavailable";
    return { error: { code: code.internal, message, data: { code: word, retryable, ...data } } };
  }
  log.error("mcp.call_crashed", { error });
  return { error: { code: code.internal, message: "Something went wrong on our side.", data } };
}
