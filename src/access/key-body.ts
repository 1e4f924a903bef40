import { z } from "zod";
import { Hidden, Problem } from "../base/index.ts";
import { type McpConfigBody, mcpConfigBody as mcpConfig } from "../identity/index.ts";
import type { Upstreams } from "../upstreams/index.ts";
import { type KeyConfig, keyPrefix } from "./virtual-key.ts";

/** One upstream and its tools, as keys, people and virtual MCPs name them. */
export { type McpConfigBody, mcpConfig };

const name = z.string().trim().min(1).max(128);
// RFC 3339 with any offset.
const time = z.iso.datetime({ offset: true }).transform((text) => new Date(text).getTime());

const optional = {
  description: z.string().max(2000).optional(),
  is_active: z.boolean().optional(),
  expires_at: time.nullish(),
  user_id: z.string().max(128).nullish(),
  mcp_configs: z.array(mcpConfig).max(1000).optional(),
};

/** The body of `POST /api/governance/virtual-keys` (contract section 7). */
export const keyBody = z.strictObject({ name, ...optional });
export type KeyBody = z.output<typeof keyBody>;

/** The body of `PUT /api/governance/virtual-keys/{id}`: what changes; `mcp_configs` is replaced whole. */
export const keyPatchBody = z.strictObject({ name: name.optional(), ...optional });
export type KeyPatchBody = z.output<typeof keyPatchBody>;

const MOST_GRACE_S = 30 * 24 * 60 * 60;

/** The body of `POST …/{id}/rotate`, which may be left out: for how many seconds the old value counts on. */
export const rotateBody = z
  .strictObject({ grace_period_s: z.number().int().min(0).max(MOST_GRACE_S).optional() })
  .optional();

/** An entry of `governance.virtual_keys[]` in the configuration file. */
export const keyEntry = z.strictObject({
  name,
  ...optional,
  value: z
    .string()
    .max(512)
    .regex(/^sk-bf-[\x21-\x7e]{16,}$/, `a value is ${keyPrefix} and at least 16 more characters`)
    .transform((value) => new Hidden(value))
    .optional(),
});
export type KeyEntry = z.output<typeof keyEntry>;

/** The upstreams a key names (`field` of its body), by id or name. Without `tools_to_execute`: all tools. 400 for an unknown one. */
export function resolveConfigs(
  upstreams: Upstreams,
  configs: readonly McpConfigBody[],
  field = "mcp_configs",
): KeyConfig[] {
  const seen = new Set<string>();
  return configs.map((config, index) => {
    const { id, param } = resolveUpstream(upstreams, config, `${field}.${index}`);
    if (seen.has(id)) {
      throw new Problem("invalid", "duplicate_mcp_client", "Name each MCP client once.", { param });
    }
    seen.add(id);
    return { upstreamId: id, tools: config.tools_to_execute ?? ["*"] };
  });
}

function resolveUpstream(
  upstreams: Upstreams,
  config: McpConfigBody,
  at: string,
): { id: string; param: string } {
  const { mcp_client_id: id, mcp_client_name: name } = config;
  const param = `${at}.${id === undefined ? "mcp_client_name" : "mcp_client_id"}`;
  const upstream = id === undefined ? upstreams.findByName(name ?? "") : upstreams.find(id);
  if (!upstream || (id !== undefined && name !== undefined && upstream.name !== name)) {
    throw new Problem("invalid", "unknown_mcp_client", "There is no such MCP client. Check its name or id.", {
      param,
    });
  }
  return { id: upstream.id, param };
}
