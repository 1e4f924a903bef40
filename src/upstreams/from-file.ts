import { z } from "zod";
import { Problem } from "../base/index.ts";
import { ConfigurationFault } from "./configuration-fault.ts";
import type { Definition, DefinitionBody } from "./definition.ts";
import { authTypes } from "./upstream.ts";
import type { Upstreams } from "./upstreams.ts";

/**
 * Makes the stored entries with source `file` what the file says, by name: new ones are created, known ones changed
 * (address included), gone ones disabled with their credentials kept. What the API made is left alone. Throws
 * `ConfigurationFault`, before anything is written.
 */
export async function reconcileFile(upstreams: Upstreams, entries: readonly DefinitionBody[]): Promise<void> {
  const definitions = entries.map((entry, index) => checkEntry(upstreams, entry, index));
  const names = new Set<string>();
  for (const { name } of definitions) {
    if (names.has(name)) throw new ConfigurationFault(`mcp.client_configs names "${name}" twice. Keep one.`);
    if (upstreams.findByName(name)?.source === "api") {
      throw new ConfigurationFault(
        `mcp.client_configs names "${name}", which was created through the API. Delete it there or rename this entry.`,
      );
    }
    names.add(name);
  }
  for (const definition of definitions) {
    const known = upstreams.findByName(definition.name);
    if (known) await upstreams.replace(known.id, definition);
    else await upstreams.create(definition, "file");
  }
  for (const { id, name, source, disabled } of upstreams.all()) {
    if (source === "file" && !names.has(name) && !disabled) await upstreams.update(id, { disabled: true });
  }
}

function checkEntry(upstreams: Upstreams, entry: DefinitionBody, index: number): Definition {
  const where = `mcp.client_configs[${index}] (${entry.name})`;
  if (entry.vk_configs?.length)
    throw new ConfigurationFault(
      `${where}: give access in governance.virtual_keys[].mcp_configs, not in vk_configs.`,
    );
  if (entry.user_headers)
    throw new ConfigurationFault(
      `${where}: give user_headers over the API only; here each person submits theirs.`,
    );
  try {
    return upstreams.check(entry, true);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    throw new ConfigurationFault(`${where}${error.param ? `, ${error.param}` : ""}: ${error.message}`);
  }
}

const desktopServer = z.strictObject({
  url: z.string().optional(),
  type: z.enum(["http", "streamable-http", "streamableHttp", "sse", "stdio"]).optional(),
  transport: z.enum(["http", "streamable-http", "streamableHttp", "sse", "stdio"]).optional(),
  headers: z.record(z.string(), z.string()).optional(),
  auth_type: z.enum(authTypes).optional(),
  disabled: z.boolean().optional(),
  command: z.string().optional(),
  args: z.array(z.string()).optional(),
  env: z.record(z.string(), z.string()).optional(),
});

/** The `mcpServers` map that desktop clients use. */
export const mcpServersBody = z.record(z.string().min(1).max(64), desktopServer);

/**
 * The same servers as entries of `mcp.client_configs[]`: every tool, `auth_type` headers where there are headers. A name
 * that we cannot have gets underscores. Throws `ConfigurationFault` for one with neither address nor command, or both.
 */
export function definitionsFromMcpServers(servers: z.output<typeof mcpServersBody>): DefinitionBody[] {
  return Object.entries(servers).map(([key, server]) => {
    const kind = server.type ?? server.transport ?? (server.command === undefined ? "http" : "stdio");
    const isProgram = kind === "stdio";
    if (isProgram ? server.command === undefined || server.url : !server.url || server.command !== undefined)
      throw new ConfigurationFault(
        `mcpServers.${key}: give either url, or command for a program${isProgram ? "" : "; type says which"}.`,
      );
    return {
      name: key.replaceAll(/[^A-Za-z0-9_]/g, "_").replace(/^(?=\d)/, "_"),
      connection_type: isProgram ? "stdio" : kind === "sse" ? "sse" : "http",
      connection_string: server.url,
      stdio_config: isProgram ? { command: server.command!, args: server.args, env: server.env } : undefined,
      auth_type: server.auth_type ?? (server.headers ? "headers" : "none"),
      headers: server.headers,
      tools_to_execute: ["*"],
      disabled: server.disabled,
    };
  });
}
