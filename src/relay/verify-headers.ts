import { Problem } from "../base/index.ts";
import type { RelayCall, Relayed, Trial } from "./call.ts";
import { listAllTools } from "./list-tools.ts";
import type { RelayUpstream, UpstreamTool } from "./parts.ts";

/** What the upstream says no with, whatever words it puts around it. */
const refusals: ReadonlySet<string> = new Set(["upstream_refused", "upstream_error"]);

/**
 * Tries header values once by listing the tools with them. Throws `Problem` 422 `headers_refused` when the upstream does
 * not take them, 502 or 504 when it cannot be asked; nothing that it said is passed on (UP-28).
 */
export async function verifyHeaders(
  relay: { call(call: RelayCall): Promise<Relayed> },
  upstream: RelayUpstream,
  trial: Trial,
): Promise<UpstreamTool[]> {
  try {
    return await listAllTools({ call: (call) => relay.call({ ...call, trial }) }, upstream, undefined);
  } catch (error) {
    if (!(error instanceof Problem) || !refusals.has(error.code)) throw error;
    const message = `${upstream.name} does not accept these header values. Check them and try again.`;
    throw new Problem("unprocessable", "headers_refused", message);
  }
}
