/**
 * A person gives us a credential: the link, the page behind it, the round trip to the provider and its callback, and the
 * MCP-sessions routes that list, renew and delete what was given. Storing and using secrets is vault/'s; who may use what
 * is decided before a connect starts.
 */
export { Connect, type Started } from "./connect.ts";
export type { ConnectParts, ConsentGate } from "./parts.ts";
