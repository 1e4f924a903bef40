/** The stateless revision (docs: protocol 2026-07-28). */
export const modernVersion = "2026-07-28";

/** Revisions with `initialize`, newest first. 2024-11-05 and older speak another transport. */
export const legacyVersions = ["2025-11-25", "2025-06-18", "2025-03-26"] as const;

/** What a server may answer over stdio or HTTP+SSE, newest first. */
export const channelVersions = [...legacyVersions, "2024-11-05"] as const;

/** Members of `_meta` that belong to one hop and are written anew for the next (2026-07-28, "Request metadata"). */
export const metaKey = {
  protocolVersion: "io.modelcontextprotocol/protocolVersion",
  clientCapabilities: "io.modelcontextprotocol/clientCapabilities",
  clientInfo: "io.modelcontextprotocol/clientInfo",
  logLevel: "io.modelcontextprotocol/logLevel",
  serverInfo: "io.modelcontextprotocol/serverInfo",
  subscriptionId: "io.modelcontextprotocol/subscriptionId",
} as const;

/** Tasks of 2026-07-28 (SEP-2663). */
export const tasksExtension = "io.modelcontextprotocol/tasks";
/** Which task a message belongs to (2025-11-25 "Tasks"). */
export const relatedTask = "io.modelcontextprotocol/related-task";
