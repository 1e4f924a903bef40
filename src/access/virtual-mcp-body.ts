import { z } from "zod";
import { accountLabel, Problem } from "../base/index.ts";
import type { Upstreams } from "../upstreams/index.ts";
import { mcpConfig, resolveConfigs } from "./key-body.ts";
import { slugPattern, type VirtualMcp } from "./virtual-mcp.ts";
import type { Bundle } from "./virtual-mcp-rows.ts";

const slug = z
  .string()
  .regex(slugPattern, "a slug is letters, digits, - and _, at most 63, and begins with a letter or digit");
const name = z.string().trim().min(1).max(128);
const ids = z
  .array(z.string().min(1).max(128))
  .max(10_000)
  .transform((all) => [...new Set(all)]);
const accounts = z.record(z.string().max(128), z.string().regex(accountLabel));

const optional = {
  description: z.string().max(2000).optional(),
  tools: z.array(mcpConfig).max(1000).optional(),
  accounts: accounts.optional(),
  virtual_key_ids: ids.optional(),
  user_ids: ids.optional(),
  group_ids: ids.optional(),
  disabled: z.boolean().optional(),
  names: z.enum(["prefixed", "plain"]).optional(),
  listing: z.enum(["full", "search"]).optional(),
};

/** The body of `POST /api/mcp/virtual-mcps` (contract section 7). */
export const virtualMcpBody = z.strictObject({ slug, name, ...optional });
export type VirtualMcpBody = z.output<typeof virtualMcpBody>;

/** The body of `PUT /api/mcp/virtual-mcps/{id}`: what changes; lists and `accounts` are replaced whole. */
export const virtualMcpPatchBody = z.strictObject({
  slug: z.string().max(128).optional(),
  name: name.optional(),
  ...optional,
});
export type VirtualMcpPatchBody = z.output<typeof virtualMcpPatchBody>;

/** An entry of `mcp.tool_groups[]` in the configuration file, where ids are not known: keys and groups by name, users by e-mail. */
export const virtualMcpEntry = z.strictObject({
  name,
  slug: slug.optional(),
  description: optional.description,
  tools: optional.tools,
  accounts: optional.accounts,
  virtual_key_names: z.array(name).max(10_000).optional(),
  group_names: z.array(name).max(10_000).optional(),
  user_emails: z.array(z.string().max(320)).max(10_000).optional(),
  disabled: optional.disabled,
  names: optional.names,
  listing: optional.listing,
});
export type VirtualMcpEntry = z.output<typeof virtualMcpEntry>;

/**
 * The upstreams of a bundle with their tools and accounts. What is not sent stays as it was; an account whose upstream
 * is no longer there goes with it. Without `tools_to_execute`: all tools. 400 for an unknown upstream.
 */
export function resolveBundle(
  upstreams: Upstreams,
  body: Pick<VirtualMcpBody, "tools" | "accounts">,
  before?: Pick<VirtualMcp, "tools" | "accounts">,
): Bundle["upstreams"] | undefined {
  if (!body.tools && !body.accounts && before) return undefined;
  const configs = body.tools ? resolveConfigs(upstreams, body.tools, "tools") : (before?.tools ?? []);
  const labels = body.accounts
    ? resolveAccounts(
        upstreams,
        body.accounts,
        configs.map((config) => config.upstreamId),
      )
    : before?.accounts;
  return configs.map((config) => ({ ...config, account: labels?.get(config.upstreamId) }));
}

/** `accounts` is by name of upstream; each must be one whose tools are offered here. */
function resolveAccounts(
  upstreams: Upstreams,
  labels: Readonly<Record<string, string>>,
  offered: readonly string[],
): ReadonlyMap<string, string> {
  return new Map(
    Object.entries(labels).map(([upstreamName, label]) => {
      const upstream = upstreams.findByName(upstreamName);
      if (upstream && offered.includes(upstream.id)) return [upstream.id, label];
      throw new Problem(
        "invalid",
        "unknown_mcp_client",
        "Give accounts by the name of an MCP client that tools names as well.",
        { param: "accounts" },
      );
    }),
  );
}
