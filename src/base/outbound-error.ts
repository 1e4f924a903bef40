export type OutboundFault =
  | "refused"
  | "unresolvable"
  | "unreachable"
  | "timeout"
  | "too_large"
  | "tls"
  | "aborted"
  | "protocol";

const sentences: Record<OutboundFault, string> = {
  refused: "The address may not be reached from here.",
  unresolvable: "The host name could not be resolved.",
  unreachable: "The server could not be reached or closed the connection.",
  timeout: "The server did not answer in time.",
  too_large: "The answer is larger than allowed.",
  tls: "No trusted TLS connection could be made to the server.",
  aborted: "The request was cancelled.",
  protocol: "The answer is not valid HTTP.",
};

/**
 * Why an outgoing request failed. The message never holds an address, a port or anything of the answer, so that nobody
 * learns from it what our network looks like (RG-13); `code` (`ECONNREFUSED`, …) is for the log only.
 */
export class OutboundError extends Error {
  readonly reason: OutboundFault;
  readonly code: string | undefined;

  constructor(reason: OutboundFault, code?: string) {
    super(sentences[reason]);
    this.name = "OutboundError";
    this.reason = reason;
    this.code = code;
  }
}

const reasons: Record<string, OutboundFault> = {
  ENOTFOUND: "unresolvable",
  EAI_AGAIN: "unresolvable",
  EAI_FAIL: "unresolvable",
  EAI_NODATA: "unresolvable",
  ETIMEDOUT: "timeout",
  UND_ERR_CONNECT_TIMEOUT: "timeout",
  UND_ERR_HEADERS_TIMEOUT: "timeout",
  UND_ERR_BODY_TIMEOUT: "timeout",
  UND_ERR_HEADERS_OVERFLOW: "too_large",
  UND_ERR_RES_EXCEEDED_MAX_SIZE: "too_large",
  UND_ERR_ABORTED: "aborted",
  UND_ERR_DESTROYED: "aborted",
  UND_ERR_CLOSED: "aborted",
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: "protocol",
  EPROTO: "tls",
};

/**
 * Translates what `undici` and Node throw, also from the body stream of `Outbound.request`. A failure that is neither
 * theirs nor an abort is a bug of ours and comes back as it is.
 */
export function outboundFailure(error: unknown): unknown {
  if (error instanceof OutboundError) return error;
  if (!(error instanceof Error)) return new OutboundError("aborted");
  // fetch wraps the socket's error, sometimes twice; several addresses tried make an AggregateError.
  if (error.cause instanceof Error && (error instanceof TypeError || error.name === "AbortError")) {
    return outboundFailure(error.cause);
  }
  if (error.name === "TimeoutError") return new OutboundError("timeout");
  if (error.name === "AbortError") return new OutboundError("aborted");
  // Undici's parser keeps a piece of the answer on this one, and not always a code.
  if (error.name === "HTTPParserError") return new OutboundError("protocol");
  const code = "code" in error && typeof error.code === "string" ? error.code : undefined;
  if (code === undefined) return error instanceof AggregateError ? new OutboundError("unreachable") : error;
  return new OutboundError(reasons[code] ?? reasonByFamily(code), code);
}

function reasonByFamily(code: string): OutboundFault {
  if (/^(HPE_|Z_|ERR_BROTLI|ERR_ZSTD|ERR__ERROR|UND_ERR_(INVALID|NOT_SUPPORTED|REQ))/.test(code))
    return "protocol";
  if (/^ERR_(TLS|SSL|OSSL)|CERT|UNABLE_TO|SELF_SIGNED|HOSTNAME_MISMATCH/.test(code)) return "tls";
  return "unreachable";
}
