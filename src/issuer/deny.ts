import { endOfConsent } from "./consent-end.ts";
import { type ConsentData, finishedFlow, openConsent } from "./consent-flow.ts";
import type { IssuerParts } from "./parts.ts";

type Parts = Pick<IssuerParts, "database" | "flows" | "hash" | "settings" | "vault" | "audit">;

/** Cancel: the consent is consumed, what was connected is given up, the client is told (RFC 6749 §4.1.2.1). */
export async function deny(
  parts: Parts,
  { request, flowId, requestId }: { request: Request; flowId: string; requestId: string },
): Promise<Response> {
  await openConsent(parts, request, flowId);
  const flow = await parts.database.transaction(async (tx) => {
    const taken = await parts.flows.take<ConsentData>(tx, "consent", { id: flowId }, "denied");
    if (!taken) throw finishedFlow();
    await parts.vault.dropOwner(tx, { mode: "flow", id: flowId });
    const { client, redirectUri, end } = taken.data;
    if (end?.by === "device") await parts.flows.take(tx, "device", { id: end.flowId }, "denied");
    const detail = { client: client.name, redirect_uri: redirectUri };
    await parts.audit.append(tx, { event: "consent.denied", actor: "browser", requestId, detail });
    return taken;
  });
  const { state } = flow.secret();
  const iss = parts.settings.baseUrl.origin; // RFC 9207 §2
  return endOfConsent(flow.data, { error: "access_denied", state, iss });
}
