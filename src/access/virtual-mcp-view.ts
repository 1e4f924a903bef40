import type { z } from "zod";
import type { Settings } from "../base/index.ts";
import type { Upstreams } from "../upstreams/index.ts";
import type { shownVirtualMcp } from "./answers.ts";
import type { VirtualMcp } from "./virtual-mcp.ts";

/** A virtual MCP as the API shows it (contract section 7). */
export function viewVirtualMcp(
  { upstreams, settings }: { upstreams: Upstreams; settings: Pick<Settings, "baseUrl"> },
  virtualMcp: VirtualMcp,
): z.output<typeof shownVirtualMcp> {
  const nameOf = (upstreamId: string) => upstreams.find(upstreamId)?.name;
  return {
    id: virtualMcp.id,
    slug: virtualMcp.slug,
    url: `${settings.baseUrl.origin}/mcp/${virtualMcp.slug}`,
    name: virtualMcp.name,
    description: virtualMcp.description,
    disabled: virtualMcp.disabled,
    names: virtualMcp.names,
    listing: virtualMcp.listing,
    tools: virtualMcp.tools.map(({ upstreamId, tools }) => ({
      mcp_client_id: upstreamId,
      mcp_client_name: nameOf(upstreamId),
      tools_to_execute: [...tools],
    })),
    accounts: Object.fromEntries(
      [...virtualMcp.accounts].map(([upstreamId, label]) => [nameOf(upstreamId) ?? upstreamId, label]),
    ),
    virtual_key_ids: [...virtualMcp.virtualKeyIds],
    user_ids: [...virtualMcp.userIds],
    group_ids: [...virtualMcp.groupIds],
    source: virtualMcp.source,
    created_at: new Date(virtualMcp.createdAt).toISOString(),
    updated_at: new Date(virtualMcp.updatedAt).toISOString(),
  };
}
