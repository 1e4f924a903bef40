import type { Caller } from "./caller.ts";
import type { ServerInfo } from "./reply.ts";

/** Who answers at the address that was used: a virtual MCP goes by its own name. */
export function selfAt(self: ServerInfo, { virtualMcp }: Pick<Caller, "virtualMcp">): ServerInfo {
  return virtualMcp === undefined ? self : { ...self, title: virtualMcp.name };
}

/** What a model is told at the start (`instructions`, in both eras): the description of a virtual MCP. */
export function instructionsAt({ virtualMcp }: Pick<Caller, "virtualMcp">): { instructions?: string } {
  return virtualMcp?.description ? { instructions: virtualMcp.description } : {};
}
