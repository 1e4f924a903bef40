/**
 * We speak to upstreams: JSON-RPC over Streamable HTTP, HTTP with SSE and stdio, in both protocol eras; era detection,
 * sessions and connections, supervised programs, timeouts and caps, and what a rejected credential means for a call. It
 * leaves to others who may call what (access/), where credentials come from (vault/), names and catalogues (mcp/), and the
 * network itself (base/).
 */
export type {
  ClientAnswer,
  ClientView,
  Notification,
  RelayCall,
  Relayed,
  RelayFailure,
  TaskAnswer,
  TaskForm,
  UpstreamRequest,
} from "./call.ts";
export { isReadableTask } from "./check-tasks.ts";
export { decodeHeaderValue, encodeHeaderValue, isPlainHeaderValue } from "./header-value.ts";
export type { RelayParts, RelayUpstream, UpstreamTool } from "./parts.ts";
export { Relay } from "./relay.ts";
export { legacyVersions, metaKey, modernVersion, relatedTask, tasksExtension } from "./revisions.ts";
export { isBelow, severities } from "./severity.ts";
export type { TaskNews } from "./task-news.ts";
export type { WatchFor, Watching, WatchListener } from "./watch.ts";
export type { WatchWanted } from "./watch-wanted.ts";
