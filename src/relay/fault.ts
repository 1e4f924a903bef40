import { JsonFault, OutboundError } from "../base/index.ts";
import type { RelayFailure } from "./call.ts";

/** Why an exchange with an upstream came to nothing. Only a code: nothing an upstream said travels in it. */
export class RelayFault extends Error {
  readonly code: RelayFailure;
  /** The upstream cannot have acted on the request, so repeating it is safe. */
  readonly retryable: boolean;

  constructor(code: RelayFailure, options: { retryable?: boolean; cause?: unknown } = {}) {
    super(code, { cause: options.cause });
    this.name = "RelayFault";
    this.code = code;
    this.retryable = options.retryable ?? false;
  }
}

/** Nothing was sent: no connection came about. */
const unsent = new Set(["ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH", "UND_ERR_CONNECT_TIMEOUT"]);

/** Translates what the network and the JSON reader throw; a bug of ours comes back as it is. */
export function relayFault(error: unknown): unknown {
  if (error instanceof RelayFault) return error;
  if (error instanceof JsonFault) {
    const code = error.reason === "too_large" ? "upstream_too_large" : "upstream_protocol";
    return new RelayFault(code, { cause: error });
  }
  if (error instanceof OutboundError) return outboundFault(error);
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  if (typeof code !== "string") return error;
  if (code === "UND_ERR_BODY_TIMEOUT") return new RelayFault("upstream_timeout", { cause: error });
  return new RelayFault("upstream_unreachable", { cause: error });
}

function outboundFault(error: OutboundError): RelayFault {
  const retryable = unsent.has(error.code ?? "");
  switch (error.reason) {
    case "timeout":
      return new RelayFault("upstream_timeout", { retryable, cause: error });
    case "too_large":
      return new RelayFault("upstream_too_large", { cause: error });
    case "protocol":
      return new RelayFault("upstream_protocol", { cause: error });
    case "aborted":
      return new RelayFault("cancelled", { cause: error });
    case "refused":
      return new RelayFault("upstream_address_refused", { cause: error });
    case "unresolvable":
    case "tls":
      return new RelayFault("upstream_unreachable", { retryable: true, cause: error });
    case "unreachable":
      return new RelayFault("upstream_unreachable", { retryable, cause: error });
  }
}
