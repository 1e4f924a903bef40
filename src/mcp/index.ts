/**
 * What MCP clients see: the `/mcp` endpoint in both protocol eras, who calls, the catalogue of tools under their exposed
 * names, calls, and how a missing credential is asked for. It leaves speaking to upstreams to relay/, rules to access/,
 * credentials to vault/, the pages behind a connect link to connect/ and tokens to issuer/.
 */
export { anonymousSessionId } from "./caller.ts";
export { ClientStreams } from "./client-streams.ts";
export { mcpRoutes } from "./mcp-routes.ts";
export type { CallReport, McpParts } from "./parts.ts";
export { mcpSealedColumns } from "./sealed-columns.ts";
export { sweepKept } from "./sweep.ts";
