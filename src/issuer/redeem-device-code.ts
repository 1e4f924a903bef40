import type { FlowState, Tx } from "../db/index.ts";
import { activate, issue } from "./activate-grant.ts";
import type { ProvedClient } from "./client-authentication.ts";
import { type DeviceData, type DeviceFlow, deviceHandle, INTERVAL_S } from "./device-flow.ts";
import type { Grants } from "./grants.ts";
import type { IssuerParts } from "./parts.ts";
import type { Refused } from "./refusal.ts";
import { ownResource } from "./resource.ts";
import type { TokenAnswer } from "./tokens.ts";

export interface DevicePresentation {
  client: ProvedClient;
  deviceCode: string;
  resource?: string;
  requestId: string;
}

type Parts = Pick<IssuerParts, "world" | "database" | "flows" | "hash" | "settings">;

/** A question may come this much earlier than it was told to: networks are not even. */
const TOLERANCE_MS = 500;

/**
 * Answers a device that asks for its tokens (RFC 8628 §3.4, §3.5). Its code is found with its client only. Of several
 * questions at once, on any replica, one gets the tokens.
 */
export function redeemDeviceCode(
  parts: Parts,
  grants: Grants,
  presented: DevicePresentation,
): Promise<TokenAnswer | Refused> {
  const { client, deviceCode } = presented;
  const handleHash = deviceHandle(parts.hash, client.idHash, deviceCode);
  return parts.database.transaction<TokenAnswer | Refused>(async (tx) => {
    const state: FlowState<DeviceData> = await parts.flows.peek<DeviceData>(tx, "device", { handleHash });
    if (state.state !== "pending") return { error: wordOf(state) };
    const { flow } = state;
    const { resource } = presented;
    if (resource !== undefined && ownResource(resource, parts.settings) !== flow.data.resource)
      return { error: "invalid_target" }; // RFC 8707 §2.2
    if (flow.parentId === undefined) return { error: await pace(parts, tx, flow) };
    return collect(parts, grants, tx, flow, presented.requestId);
  });
}

function wordOf(state: Exclude<FlowState<DeviceData>, { state: "pending" }>): Refused["error"] {
  if (state.state === "expired") return "expired_token";
  if (state.state !== "ended") return "invalid_grant";
  if (state.outcome === "denied") return "access_denied";
  // Allowed, and then withdrawn before the device came.
  return state.outcome === "grant_ended" ? "expired_token" : "invalid_grant";
}

/** RFC 8628 §3.5: who asks too soon waits five seconds longer from then on. */
async function pace(parts: Parts, tx: Tx, flow: DeviceFlow): Promise<"authorization_pending" | "slow_down"> {
  const now = parts.world.now().getTime();
  const { interval, polledAt } = flow.data;
  const tooSoon = polledAt !== undefined && now - polledAt < interval * 1000 - TOLERANCE_MS;
  const next = { ...flow.data, interval: tooSoon ? interval + INTERVAL_S : interval, polledAt: now };
  // Where another question of the same device was faster, two came at once.
  const written = await parts.flows.update(tx, flow, next);
  return tooSoon || !written ? "slow_down" : "authorization_pending";
}

async function collect(
  parts: Parts,
  grants: Grants,
  tx: Tx,
  { id, parentId: grantId }: DeviceFlow,
  requestId: string,
): Promise<TokenAnswer | Refused> {
  if (!(await parts.flows.take(tx, "device", { id }, "redeemed"))) return { error: "invalid_grant" };
  const grant = await activate(parts, tx, grantId!);
  if (grant) return issue(parts, tx, grant);
  await grants.end(tx, grantId!, { event: "grant.code_refused", actor: "client", requestId });
  return { error: "invalid_grant" };
}
