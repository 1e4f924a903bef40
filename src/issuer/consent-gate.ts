import { decide } from "../access/index.ts";
import { type Owner, Problem } from "../base/index.ts";
import { requireSameOrigin } from "../http/index.ts";
import { openConsent } from "./consent-flow.ts";
import { mayConnect } from "./may-connect.ts";
import { nextStep } from "./next-step.ts";
import type { IssuerParts } from "./parts.ts";
import { consentPath } from "./paths.ts";
import { redirectHost } from "./redirect-uri.ts";
import { rulesOfConsent, subjectOf } from "./services.ts";

/** What connect/ gets for a Connect link on the services page: the flow owns what is connected until submit. */
export interface ConsentPass {
  flowId: string;
  /** Whom the person chose to be; the credential itself belongs to `{mode: "flow", id: flowId}` until submit. */
  identity: { owner: Owner; virtualKeyId?: string };
  /** The services page, as a path of ours. */
  returnTo: string;
  /** The same identity, in words for a page. */
  display: string;
  /** The client that asks, and the host it is answered at. */
  client: { name: string; host: string };
}

/** Throws 401 (flow unknown, over or expired), 403, or 404 (no such upstream). */
export type ConsentGate = (request: Request, flowId: string, upstreamId: string) => Promise<ConsentPass>;

type Parts = Pick<
  IssuerParts,
  "database" | "flows" | "hash" | "settings" | "upstreams" | "access" | "virtualMcps" | "sessionOf"
>;

/** May this browser connect this upstream for this consent? The statuses are those of contract section 3, upstream/authorize. */
export async function consentGate(
  parts: Parts,
  request: Request,
  flowId: string,
  upstreamId: string,
): Promise<ConsentPass> {
  const flow = await openConsent(parts, request, flowId).catch(asUnauthenticated);
  requireSameOrigin(request, parts.settings);
  const session = await parts.sessionOf(request);
  const step = nextStep(flow.data, session, parts.settings);
  // mcp-protocol.md §3.1: no trip to a provider before this client was approved.
  if (step.page === "identity")
    throw forbidden("not_approved", "First choose who you are on the consent page.");
  if (!(await mayConnect(parts.database.db, step.choice, session))) {
    throw forbidden(
      "sign_in_required",
      "These connections belong to a person. Sign in as that person first.",
    );
  }
  const upstream = parts.upstreams.find(upstreamId);
  if (!upstream)
    throw new Problem("not_found", "upstream_not_found", "This service does not exist.", {
      param: "mcp_client_id",
    });
  const identity = subjectOf(step.choice, flow.id);
  if (!decide(await rulesOfConsent(parts, flow, step.choice), upstream)) {
    throw forbidden("upstream_not_allowed", "This account may not use this service. Ask your administrator.");
  }
  const display =
    step.choice.by === "skip" ? "this app's session, without an account here" : step.choice.display;
  const { client, redirectUri } = flow.data;
  return {
    flowId: flow.id,
    identity,
    returnTo: `${consentPath("services", flow.id)}&${new URLSearchParams({ service: upstream.id })}`,
    display,
    client: { name: client.name, host: redirectHost(redirectUri) },
  };
}

function asUnauthenticated(error: unknown): never {
  if (!(error instanceof Problem) || error.kind === "forbidden" || error.status >= 500) throw error;
  throw new Problem("unauthenticated", error.code, error.message, { param: "flow_id" });
}

function forbidden(code: string, message: string): Problem {
  return new Problem("forbidden", code, message);
}
