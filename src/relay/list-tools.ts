import { type JsonObject, type Owner, Problem } from "../base/index.ts";
import type { RelayCall, Relayed } from "./call.ts";
import { askNobody, everyClient } from "./list-features.ts";
import { isObject } from "./message.ts";
import type { RelayUpstream, UpstreamTool } from "./parts.ts";

const MAX_PAGES = 64;
const MAX_TOOLS = 5_000;
const METHOD_NOT_FOUND = -32601;

/** Reads `tools/list` page by page, bounded in pages and tools. Throws `Problem`. */
export async function listAllTools(
  relay: { call(call: RelayCall): Promise<Relayed> },
  upstream: RelayUpstream,
  owner: Owner | undefined,
): Promise<UpstreamTool[]> {
  const tools: UpstreamTool[] = [];
  const { signal } = new AbortController();
  let cursor: string | undefined;
  for (let page = 0; page < MAX_PAGES; page++) {
    const relayed = await relay.call({
      owner,
      upstream,
      insists: true,
      method: "tools/list",
      params: cursor === undefined ? {} : { cursor },
      client: everyClient,
      onRequest: askNobody,
      signal,
    });
    // A server without tools may have resources or prompts.
    if (relayed.outcome === "error" && relayed.error.code === METHOD_NOT_FOUND && page === 0) return [];
    if (relayed.outcome !== "result") throw failure(relayed, upstream.url);
    tools.push(...readTools(relayed.result, upstream.url));
    const next = relayed.result.nextCursor;
    // An empty string is a cursor like any other (protocol section 1.9).
    if (typeof next !== "string" || tools.length >= MAX_TOOLS) return tools.slice(0, MAX_TOOLS);
    cursor = next;
  }
  return tools;
}

function readTools(result: JsonObject, url: URL): UpstreamTool[] {
  if (!Array.isArray(result.tools))
    throw failure({ outcome: "failed", code: "upstream_protocol", retryable: false }, url);
  // One unreadable definition does not take the others with it.
  return result.tools.filter(
    (tool) => isObject(tool) && typeof tool.name === "string",
  ) as unknown as UpstreamTool[];
}

/** The first thing that happens to whoever tries a server on their own machine. */
function addressRefused(url: URL): Problem {
  const port = url.port || (url.protocol === "http:" ? "80" : "443");
  return new Problem(
    "upstream",
    "upstream_address_refused",
    `The gateway reaches private and loopback addresses, and http, only when told to. If this server is yours, add ${url.hostname}:${port} to POSTERN_OUTBOUND_ALLOW and restart.`,
  );
}

function failure(relayed: Exclude<Relayed, { outcome: "result" }>, url: URL): Problem {
  switch (relayed.outcome) {
    case "needs_user":
      return new Problem(
        "upstream",
        "credential_missing",
        "Connect an account first; then the tools can be listed.",
      );
    case "error":
      return new Problem(
        "upstream",
        "upstream_error",
        "The server refused to list its tools. Look at its own log.",
      );
    case "failed":
      if (relayed.code === "upstream_address_refused") return addressRefused(url);
      return relayed.code === "upstream_timeout"
        ? new Problem("upstream_timeout", relayed.code, "The server did not answer in time. Try again later.")
        : new Problem(
            "upstream",
            relayed.code,
            url.protocol === "stdio:"
              ? "The program could not be asked for its tools. Look at what it wrote into the log (upstream.stderr)."
              : "The server could not be asked for its tools. Check its address.",
          );
  }
}
