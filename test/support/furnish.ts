import type { RunningGateway } from "./gateway.ts";

/** Adds upstreams that anybody may call, by name, reads their tools, and returns the value of a key for all of them. */
export async function furnish(gateway: RunningGateway, upstreams: Record<string, string>): Promise<string> {
  const mcp_configs = [];
  for (const [name, url] of Object.entries(upstreams)) {
    const body = {
      name,
      connection_type: "http",
      connection_string: url,
      auth_type: "none",
      tools_to_execute: ["*"],
    };
    const made = await gateway.admin<{ mcp_client_id: string }>("POST", "/api/mcp/client", body);
    await gateway.admin("POST", `/api/mcp/client/${made.mcp_client_id}/refresh-tools`);
    mcp_configs.push({ mcp_client_name: name, tools_to_execute: ["*"] });
  }
  const key = { name: "clients", mcp_configs };
  const made = await gateway.admin<{ virtual_key: { value: string } }>(
    "POST",
    "/api/governance/virtual-keys",
    key,
  );
  return made.virtual_key.value;
}
