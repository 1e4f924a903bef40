import { type JsonObject, type Owner, Problem, type Vouched } from "../base/index.ts";
import type { RelayCall, Relayed } from "./call.ts";
import { askNobody, everyClient } from "./list-features.ts";
import { isObject } from "./message.ts";
import type { RelayUpstream, UpstreamTool } from "./parts.ts";

const MAX_PAGES = 64;
const MAX_TOOLS = 5_000;
/** One definition, and all of one upstream, as JSON: they are kept in memory, and every client gets them. */
const MAX_DEFINITION = 256 * 1024;
const MAX_BYTES = 16 * 1024 * 1024;
const METHOD_NOT_FOUND = -32601;

/** Reads `tools/list` page by page, bounded in pages, tools and bytes. Throws `Problem`. */
export async function listAllTools(
  relay: { call(call: RelayCall): Promise<Relayed> },
  upstream: RelayUpstream,
  owner: Owner | undefined,
  vouched?: Vouched,
): Promise<UpstreamTool[]> {
  const tools: UpstreamTool[] = [];
  const { signal } = new AbortController();
  let bytes = 0;
  let cursor: string | undefined;
  for (let page = 0; page < MAX_PAGES; page++) {
    const relayed = await relay.call({
      owner,
      vouched,
      upstream,
      insists: true,
      method: "tools/list",
      params: cursor === undefined ? {} : { cursor },
      client: everyClient,
      tasks: true,
      onRequest: askNobody,
      signal,
    });
    // A server without tools may have resources or prompts.
    if (relayed.outcome === "error" && relayed.error.code === METHOD_NOT_FOUND && page === 0) return [];
    if (relayed.outcome !== "result") throw failure(relayed, upstream.url);
    for (const { tool, size } of readTools(relayed.result, upstream.url)) {
      bytes += size;
      if (bytes > MAX_BYTES)
        throw failure({ outcome: "failed", code: "upstream_too_large", retryable: false }, upstream.url);
      tools.push(tool);
    }
    const next = relayed.result.nextCursor;
    // An empty string is a cursor like any other (protocol section 1.9).
    if (typeof next !== "string" || tools.length >= MAX_TOOLS) return tools.slice(0, MAX_TOOLS);
    cursor = next;
  }
  return tools;
}

/** One definition that is unreadable or out of all proportion does not take the others with it. */
function readTools({ tools }: JsonObject, url: URL): { tool: UpstreamTool; size: number }[] {
  if (!Array.isArray(tools))
    throw failure({ outcome: "failed", code: "upstream_protocol", retryable: false }, url);
  return tools
    .slice(0, MAX_TOOLS)
    .filter((tool) => isObject(tool) && typeof tool.name === "string")
    .map((tool) => ({ tool: tool as unknown as UpstreamTool, size: JSON.stringify(tool).length }))
    .filter(({ size }) => size <= MAX_DEFINITION);
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
      if (relayed.reason === "token_exchange_refused" || relayed.reason === "interaction_required")
        return new Problem(
          "upstream",
          "token_exchange_refused",
          "The identity provider did not exchange the token of the caller who listed the tools. Look at its log.",
        );
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
