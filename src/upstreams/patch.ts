import { checkDefinition, type Definition, type DefinitionPatch } from "./definition.ts";
import { invalid } from "./invalid.ts";
import { refuseReaimedSecret } from "./redaction.ts";
import { ownSettings, type UpstreamRow } from "./rows.ts";
import { mergeTls } from "./tls-config.ts";
import type { Upstream } from "./upstream.ts";
import { definitionOf } from "./view.ts";

const immutable = [
  "connection_type",
  "auth_type",
  "connection_string",
  "client_id",
  "oauth_config_id",
] as const;

/**
 * The whole definition after a change of what `patch` names. Throws 400 `immutable_field`, `secret_required` and what
 * `checkDefinition` throws.
 */
export function mergePatch(
  before: Upstream,
  row: UpstreamRow,
  patch: DefinitionPatch,
  isNamed: (url: URL) => boolean,
): Definition {
  const { client_id, oauth_config_id, ...current } = definitionOf(before);
  if (patch.user_headers !== undefined) {
    const message = "user_headers is read when an MCP client is created, not later. Leave it out.";
    throw invalid("unsupported_field", message, "user_headers");
  }
  for (const field of immutable) {
    // Attack case MC-22: an address that people connected to is not changed under their tokens.
    if (
      patch[field] === undefined ||
      isSame(field, patch[field], { client_id, oauth_config_id, ...current }[field])
    )
      continue;
    throw invalid("immutable_field", `${field} cannot be changed. Create another MCP client instead.`, field);
  }
  const { client_id: _id, oauth_config_id: _config, ...changes } = patch;
  const own = ownSettings(row);
  const definition = checkDefinition(
    {
      ...current,
      ...changes,
      oauth_config: mergeOAuth(current.oauth_config, patch.oauth_config),
      tls_config: mergeTls(current.tls_config, patch.tls_config),
    },
    before,
    isNamed,
  );
  if (patch.tool_execution_timeout === undefined) definition.timeoutMs = own.timeoutMs;
  if (patch.tool_sync_interval === undefined) definition.syncIntervalMs = own.syncIntervalMs;
  if (patch.tool_pins === undefined) definition.toolPins = own.toolPins;
  refuseReaimedSecret(before, definition);
  return definition;
}

function isSame(field: (typeof immutable)[number], sent: string, stored: string | undefined): boolean {
  return sent === stored || (field === "connection_string" && URL.parse(sent)?.href === stored);
}

function mergeOAuth(current: DefinitionPatch["oauth_config"], patch: DefinitionPatch["oauth_config"]) {
  if (patch === undefined || !current) return current ?? patch;
  // RFC 7396: null removes; here the whole oauth_config goes back to nothing given.
  return patch === null ? {} : { ...current, ...patch };
}
