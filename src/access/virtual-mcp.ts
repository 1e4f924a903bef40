import { Problem } from "../base/index.ts";
import type { AllowedTools } from "./decide.ts";
import type { KeyConfig } from "./virtual-key.ts";

/** A named bundle of tools with its own address, `/mcp/<slug>`. Times in milliseconds since 1970. */
export interface VirtualMcp {
  id: string;
  /** Never changes. */
  slug: string;
  name: string;
  description: string;
  disabled: boolean;
  /** `plain`: the tools, prompts and resources of its one upstream under their own names, without the upstream's. */
  names: "prefixed" | "plain";
  /** `search`: `tools/list` shows two tools that find and call the others, in place of all their definitions. */
  listing: "full" | "search";
  /** As the administrator wrote them. */
  tools: readonly KeyConfig[];
  /** The same for decisions: upstream id → tools; upstreams without any are not in it. */
  allowed: ReadonlyMap<string, AllowedTools>;
  /** Upstream id → label of the account that calls use here; absent: the person's default account. */
  accounts: ReadonlyMap<string, string>;
  virtualKeyIds: ReadonlySet<string>;
  userIds: ReadonlySet<string>;
  groupIds: ReadonlySet<string>;
  source: "api" | "file";
  createdAt: number;
  updatedAt: number;
}

/** The last part of a virtual MCP's address. */
export const slugPattern = /^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$/;

export function unknownVirtualMcp(): Problem {
  return new Problem(
    "not_found",
    "virtual_mcp_not_found",
    "There is no such virtual MCP. List them to find its id.",
  );
}

/** Names without the upstream's could not be told apart beside another's. */
export function plainNamesNeedOne(): Problem {
  return new Problem(
    "invalid",
    "plain_names_one_upstream",
    "Plain names are for a virtual MCP of one MCP client. Name one in tools, or leave names at prefixed.",
    { param: "names" },
  );
}

export function slugTaken(): Problem {
  return new Problem(
    "conflict",
    "slug_taken",
    "Another virtual MCP has this slug; case does not count. Choose a different one.",
    { param: "slug" },
  );
}

export function virtualMcpNameTaken(): Problem {
  return new Problem("conflict", "name_taken", "Another virtual MCP has this name. Choose a different one.", {
    param: "name",
  });
}
