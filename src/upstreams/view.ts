import type { DefinitionBody } from "./definition.ts";
import { redacted } from "./redaction.ts";
import { tlsConfigOf } from "./tls-config.ts";
import { obtainsOwnToken, type Upstream } from "./upstream.ts";

const MINUTE_MS = 60_000;

/** An upstream in the words of contract section 7; secrets redacted. Sent back to PUT, it changes nothing. */
export type DefinitionView = DefinitionBody & { client_id: string; oauth_config_id?: string };

export function definitionOf(upstream: Upstream): DefinitionView {
  return {
    client_id: upstream.id,
    name: upstream.name,
    connection_type: upstream.connectionType,
    ...(upstream.stdio
      ? { stdio_config: { command: upstream.stdio.command, envs: [...upstream.stdio.envs] } }
      : { connection_string: upstream.url.href }),
    auth_type: upstream.authType,
    headers: Object.fromEntries(Object.keys(upstream.headers).map((name) => [name, redacted])),
    ...(upstream.authType === "per_user_headers"
      ? { per_user_header_keys: [...upstream.perUserHeaderKeys] }
      : {}),
    ...(upstream.oauth ? { oauth_config: oauthOf(upstream), oauth_config_id: upstream.oauthConfigId } : {}),
    ...(upstream.tls ? { tls_config: tlsConfigOf(upstream.tls) } : {}),
    tools_to_execute: [...upstream.toolsToExecute],
    allowed_extra_headers: [...upstream.allowedExtraHeaders],
    allow_on_all_virtual_keys: upstream.allowOnAllVirtualKeys,
    tool_execution_timeout: upstream.timeoutMs / 1000,
    tool_sync_interval: upstream.syncIntervalMs / MINUTE_MS,
    tool_pins: upstream.toolPins,
    disabled: upstream.disabled,
  };
}

function oauthOf(upstream: Upstream): NonNullable<DefinitionBody["oauth_config"]> {
  const oauth = upstream.oauth!;
  return {
    client_id: oauth.clientId,
    client_secret: oauth.hasClientSecret ? redacted : undefined,
    grant_type: oauth.grantType,
    token_endpoint_auth_method: oauth.authMethod,
    private_key: oauth.hasPrivateKey ? redacted : undefined,
    private_key_id: oauth.privateKeyId,
    authorize_url: oauth.authorizeUrl,
    token_url: oauth.tokenUrl,
    registration_url: oauth.registrationUrl,
    revocation_url: oauth.revocationUrl,
    scopes: [...oauth.scopes],
    resource: oauth.resource,
    redirect: oauth.redirect,
    profile: oauth.profile,
    dpop: oauth.dpop,
    assertion: oauth.hasAssertion ? redacted : undefined,
    assertion_file: oauth.assertionFile,
    subject_token_type: oauth.subjectTokenType,
    audience: oauth.audience,
    requested_token_type: oauth.requestedTokenType,
    idp: oauth.idp && {
      token_url: oauth.idp.tokenUrl,
      client_id: oauth.idp.clientId,
      client_secret: oauth.idp.hasClientSecret ? redacted : undefined,
    },
    redirect_uri: obtainsOwnToken(upstream) ? undefined : upstream.redirectUri,
  };
}

/** One key's access to an upstream, as `vk_configs` shows it. */
export interface KeyConfigView {
  virtual_key_id: string;
  tools_to_execute: string[];
}

/** A row of `GET /api/mcp/clients` for an administrator. */
export function clientRow(upstream: Upstream, keyConfigs: KeyConfigView[]) {
  const failure = upstream.lastFailure;
  return {
    config: definitionOf(upstream),
    source: upstream.source,
    tools: upstream.tools,
    held_tools: upstream.heldTools,
    tools_synced_at: time(upstream.toolsSyncedAt),
    state: upstream.state,
    ...(failure ? { last_failure: { ...failure, at: time(failure.at) } } : {}),
    vk_configs: keyConfigs,
    created_at: time(upstream.createdAt),
    updated_at: time(upstream.updatedAt),
  };
}

/** The same for who may only use it: its name. */
export function visibleRow(upstream: Upstream) {
  return {
    config: { client_id: upstream.id, name: upstream.name },
    tools: [],
    state: upstream.state,
    vk_configs: [],
  };
}

/** RFC 3339, UTC. */
export function time(ms: number | undefined): string | undefined {
  return ms === undefined ? undefined : new Date(ms).toISOString();
}
