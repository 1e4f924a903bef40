import { redirect } from "../http/index.ts";
import { type ConsentData, finishedFlow, openConsent } from "./consent-flow.ts";
import type { IssuerParts } from "./parts.ts";
import { withParameters } from "./redirect-uri.ts";

type Parts = Pick<IssuerParts, "database" | "flows" | "hash" | "settings" | "vault" | "audit">;

/** Cancel: the consent is consumed, what was connected is given up, the client is told (RFC 6749 §4.1.2.1). */
export async function deny(
  parts: Parts,
  { request, flowId, requestId }: { request: Request; flowId: string; requestId: string },
): Promise<Response> {
  await openConsent(parts, request, flowId);
  const target = await parts.database.transaction(async (tx) => {
    const flow = await parts.flows.take<ConsentData>(tx, "consent", { id: flowId }, "denied");
    if (!flow) throw finishedFlow();
    await parts.vault.dropOwner(tx, { mode: "flow", id: flowId });
    const detail = { client: flow.data.client.name, redirect_uri: flow.data.redirectUri };
    await parts.audit.append(tx, { event: "consent.denied", actor: "browser", requestId, detail });
    const { state } = flow.secret();
    const iss = parts.settings.baseUrl.origin; // RFC 9207 §2
    return withParameters(flow.data.redirectUri, { error: "access_denied", state, iss });
  });
  return redirect(target, 302);
}
