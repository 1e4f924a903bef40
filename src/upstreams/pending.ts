import { Problem } from "../base/index.ts";
import { type AdministrationParts, administratorOwner, type DiscoveryFlow } from "./administration-parts.ts";
import { adminHeaderKeys, obtainsOwnToken, type Upstream } from "./upstream.ts";
import { time } from "./view.ts";

/** What an administrator has to do before an upstream can be used or its tools listed, and how far that is. */

export function success(message: string, upstream: Upstream) {
  return { status: "success", message, mcp_client_id: upstream.id };
}

/** Whether tools can be listed without anybody doing something first. */
export async function isConnected(parts: AdministrationParts, upstream: Upstream): Promise<boolean> {
  if (obtainsOwnToken(upstream) || !(upstream.perUser || upstream.shared)) return true;
  return (await parts.credentialStatus(administratorOwner(upstream), upstream.id)) === "active";
}

/** The tools of such an upstream are read with the token of a caller, who is not here. */
export function refuseExchanged(upstream: Upstream): void {
  if (!upstream.exchanged) return;
  throw new Problem(
    "conflict",
    "caller_token_required",
    "This server's tools are read with the token of the first caller who lists them. List them through /mcp, signed in with the identity provider.",
  );
}

/** Reads the tool list now; throws what went wrong. */
export async function readTools(
  { upstreams, tools }: AdministrationParts,
  upstream: Upstream,
  message: string,
) {
  refuseExchanged(upstream);
  await tools.refresh(upstream.id, upstream.perUser ? administratorOwner(upstream) : undefined);
  const after = upstreams.get(upstream.id);
  const failure = after.lastFailure;
  if (failure) throw new Problem("upstream", failure.code, failure.message);
  const held = after.heldTools === 0 ? "" : ` ${heldNotice(after)}`;
  return { ...success(message + held, after), tools: after.tools.length };
}

function heldNotice({ id, heldTools }: Upstream): string {
  const what = heldTools === 1 ? "One definition waits" : `${heldTools} definitions wait`;
  return `${what} for your approval: GET /api/mcp/client/${id}/tools/changes.`;
}

/** A link for an administrator, and what to do with it. */
export async function pending(
  parts: AdministrationParts,
  upstream: Upstream,
  options: { replace?: boolean } = {},
) {
  const flow = await parts.startDiscoveryFlow(upstream, options);
  return upstream.oauth ? accountPending(parts, upstream, flow) : valuesPending(upstream, flow);
}

function accountPending({ settings }: AdministrationParts, upstream: Upstream, flow: DiscoveryFlow) {
  const at = (path: string) => new URL(path, settings.baseUrl).href;
  const configId = upstream.oauthConfigId!;
  return {
    status: "pending_oauth",
    message: upstream.shared
      ? "Connect the account that everybody's calls will use."
      : "Connect an account once, so that the tool list can be read. Each person connects their own later.",
    oauth_config_id: configId,
    authorize_url: flow.url,
    session_id: flow.flowId,
    expires_at: time(flow.expiresAt),
    mcp_client_id: upstream.id,
    complete_url: at(`/api/mcp/client/${configId}/complete-oauth`),
    status_url: at(`/api/oauth/config/${configId}/status`),
    next_steps: [
      "Open authorize_url in a browser where you are signed in as an administrator, and connect an account.",
      "Then POST to complete_url; status_url tells how far it is.",
    ],
  };
}

function valuesPending(upstream: Upstream, { url, flowId, expiresAt }: DiscoveryFlow) {
  return {
    status: "pending_verification",
    message:
      "Submit header values once, so that the tool list can be read. Each person submits their own later.",
    mcp_client_id: upstream.id,
    submit_url: url,
    session_id: flowId,
    expires_at: time(expiresAt),
    required_header_keys: [...upstream.perUserHeaderKeys],
    admin_header_keys: adminHeaderKeys(upstream),
    next_steps: [
      "Open submit_url in a browser where you are signed in as an administrator and fill in the form.",
      'Or POST them to …/verify-headers as {"headers": {…}}.',
    ],
  };
}

export function refuseDisabled(upstream: Upstream): void {
  if (!upstream.disabled) return;
  throw new Problem("conflict", "mcp_client_disabled", "This MCP client is disabled. Enable it first.");
}

export function getByConfig({ upstreams }: AdministrationParts, configId: string): Upstream {
  const upstream = upstreams.all().find((candidate) => candidate.oauthConfigId === configId);
  if (upstream) return upstream;
  throw new Problem(
    "not_found",
    "oauth_config_not_found",
    "There is no such OAuth configuration. Check the id.",
  );
}
