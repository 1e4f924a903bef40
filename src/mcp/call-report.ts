import type { JsonObject } from "../base/index.ts";
import type { Relayed } from "../relay/index.ts";
import type { Target } from "./catalog.ts";
import type { McpParts } from "./parts.ts";
import { UnknownTool } from "./refusal.ts";
import type { ToolCall } from "./tool-call.ts";

/** ID-30: what is not allowed looks like what does not exist. */
export function refuseUnknown(
  parts: Pick<McpParts, "audit">,
  { caller, requestId }: ToolCall,
  name: string,
): never {
  const { actor, owner } = caller;
  const detail = { tool: name.slice(0, 256) };
  parts.audit.note({ event: "call.denied", actor, owner, requestId, detail });
  throw new UnknownTool();
}

/** A call that went to an upstream: counted, and written to the audit trail. */
export function reportCall(
  parts: Pick<McpParts, "audit" | "onCall">,
  { caller, requestId }: ToolCall,
  entry: Target,
  relayed: Relayed,
  durationMs: number,
): void {
  const { method, upstream } = entry;
  const outcome = relayed.outcome === "failed" ? relayed.code : relayed.outcome;
  parts.onCall({ upstream: upstream.name, tool: method ?? entry.tool, outcome, durationMs });
  if (entry.about?.again && outcome === "result") return;
  const { actor, owner, virtualMcp } = caller;
  const detail: JsonObject = method
    ? { method, target: entry.tool.slice(0, 256), outcome }
    : { tool: entry.tool, outcome };
  if (virtualMcp) detail.virtual_mcp = virtualMcp.slug;
  if (relayed.account !== undefined) detail.account = relayed.account;
  parts.audit.note({
    event: "call.made",
    actor,
    owner,
    upstreamId: entry.upstream.id,
    requestId,
    detail,
  });
}
