/**
 * Virtual keys, virtual MCPs and what each identity may use: upstreams and tools, decided from memory and decided purely; and telling,
 * in the transaction of a change, whose access changed. Who somebody is belongs to identity/, what happens to the
 * credentials and grants of whoever lost access to vault/ and issuer/ (handed over in app.ts).
 */

export { Access, type AccessChange, type AccessListener, type AccessParts, type Subject } from "./access.ts";
export { AnonymousSessions, type AnonymousSessionsParts } from "./anonymous-sessions.ts";
export { type AllowedTools, decide, type Rules } from "./decide.ts";
export { reconcileKeyFile } from "./from-file.ts";
export { groupGifts } from "./group-configs.ts";
export { type KeyEntry, keyEntry } from "./key-body.ts";
export { keyConfigs } from "./key-configs.ts";
export { type KeyRoutesParts, virtualKeyRoutes } from "./routes.ts";
export { userAccessRoutes } from "./user-access-routes.ts";
export { userConfigs } from "./user-configs.ts";
export type { KeyAnswer, KeyConfig, VirtualKey } from "./virtual-key.ts";
export {
  type AlsoKey,
  type KeyListener,
  type KeyPatch,
  type NewKey,
  VirtualKeys,
  type VirtualKeysParts,
} from "./virtual-keys.ts";
export { slugPattern, type VirtualMcp } from "./virtual-mcp.ts";
export { type VirtualMcpEntry, virtualMcpEntry } from "./virtual-mcp-body.ts";
export { type VirtualMcpRoutesParts, virtualMcpRoutes } from "./virtual-mcp-routes.ts";
export { type VirtualMcpListener, VirtualMcps, type VirtualMcpsParts } from "./virtual-mcps.ts";
export { reconcileVirtualMcpFile } from "./virtual-mcps-from-file.ts";
