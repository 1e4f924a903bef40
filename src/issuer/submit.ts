import { newId, newSecret, type Owner } from "../base/index.ts";
import type { Tx } from "../db/index.ts";
import { cookie, cookieName, redirect } from "../http/index.ts";
import type { Clients } from "./clients.ts";
import { CODE_MS, type CodeData } from "./code.ts";
import { endOfConsent } from "./consent-end.ts";
import type { ConsentError } from "./consent-errors.ts";
import {
  type Choice,
  type ConsentData,
  type ConsentFlow,
  expiredFlow,
  finishedFlow,
  openConsent,
  ownerOfChoice,
} from "./consent-flow.ts";
import { clientGone, type Grants } from "./grants.ts";
import { holdEnabled } from "./identity-standing.ts";
import { mayConnect } from "./may-connect.ts";
import { nextStep } from "./next-step.ts";
import type { IssuerParts, SignedIn } from "./parts.ts";
import { consentPath } from "./paths.ts";

/** Rolls the transaction back without being an error: the person has to choose again. */
class ChooseAgain extends Error {
  readonly code: ConsentError;

  constructor(code: ConsentError) {
    super(code);
    this.code = code;
  }
}

interface Granted {
  flow: ConsentFlow;
  grantId: string;
  owner: Owner;
  /** None where a device asks for its tokens itself. */
  code?: string;
  grantCookie?: string;
  endsAt: number;
}

/**
 * Finishes a consent (contract section 3): in one transaction the flow is consumed, the grant made, what was connected
 * moves to the identity, and the code exists. The redirect goes out only after the commit; when anything fails, nothing
 * of it happened and the same submit can be sent again.
 */
export async function submit(
  parts: IssuerParts,
  clients: Clients,
  grants: Grants,
  { request, flowId, requestId }: { request: Request; flowId: string; requestId: string },
): Promise<Response> {
  await openConsent(parts, request, flowId);
  const session = await parts.sessionOf(request);
  parts.world.reach("submit.1.flow_read");
  try {
    const granted = await parts.database.transaction(async (tx) => {
      const flow = await parts.flows.take<ConsentData>(tx, "consent", { id: flowId }, "submitted");
      if (!flow) return undefined;
      parts.world.reach("submit.2.flow_consumed");
      const choice = await chosenIdentity(parts, tx, flow, session);
      return grant(parts, { clients, grants, session, requestId }, tx, flow, choice);
    });
    if (granted) {
      parts.world.reach("submit.7.committed");
      return answer(parts, granted);
    }
  } catch (error) {
    if (error instanceof ChooseAgain) return redirect(consentPath("consent", flowId, error.code));
    throw error;
  }
  // Somebody else was faster, or it expired just now; the tombstone says which.
  await openConsent(parts, request, flowId);
  throw finishedFlow();
}

/** Decided on the flow as it was consumed, so that no parallel tab can change it in between. */
async function chosenIdentity(
  parts: IssuerParts,
  tx: Tx,
  { data }: ConsentFlow,
  session: SignedIn | undefined,
): Promise<Choice> {
  const isOptional = !parts.settings.enforceAuthOnInference;
  const step = nextStep(
    data.choice || !isOptional ? data : { choice: { by: "skip" } },
    session,
    parts.settings,
  );
  if (step.page === "identity") throw new ChooseAgain(step.error);
  const { choice } = step;
  const virtualKeyId = choice.by === "key" ? choice.virtualKeyId : undefined;
  const subject = { owner: ownerOfChoice(choice, ""), virtualKeyId };
  if (!(await holdEnabled(tx, subject, parts.world.now().getTime())))
    throw new ChooseAgain("identity_disabled");
  return choice;
}

async function grant(
  parts: IssuerParts,
  with_: { clients: Clients; grants: Grants; session: SignedIn | undefined; requestId: string },
  tx: Tx,
  flow: ConsentFlow,
  choice: Choice,
): Promise<Granted> {
  const grantId = newId(parts.world, "grant");
  const owner = ownerOfChoice(choice, grantId);
  const clientRowId = await with_.clients.record(tx, flow.data.client);
  if (clientRowId === undefined) throw clientGone();
  const grantCookie = choice.by === "skip" ? newSecret(parts.world) : undefined;
  const { endsAt } = await with_.grants.create(tx, {
    id: grantId,
    clientRowId,
    clientName: flow.data.client.name,
    owner,
    virtualKeyId: choice.by === "key" ? choice.virtualKeyId : undefined,
    browserHash: grantCookie && parts.hash.of("grant_cookie", grantCookie),
    redirectUri: flow.data.redirectUri,
    scope: flow.data.scope,
    resource: flow.data.resource,
  });
  parts.world.reach("submit.3.grant_made");
  // Open trips to providers end before credentials move, so that locks are taken in one order everywhere.
  await parts.flows.end(tx, { owner: { mode: "flow", id: flow.id } }, "consent_submitted");
  const mayMove = await mayConnect(tx, choice, with_.session);
  const upstreamIds = await moveConnections(parts, tx, flow, owner, mayMove);
  const connector = upstreamIds.length > 0 ? with_.session?.userId : undefined;
  const code =
    flow.data.end?.by === "device"
      ? await allowDevice(parts, tx, flow.data.end.flowId, grantId)
      : await startCode(parts, tx, flow, grantId, owner);
  parts.world.reach("submit.5.code_made");
  await parts.audit.append(tx, {
    event: "grant.created",
    actor: `${owner.mode}:${owner.id}`,
    owner,
    requestId: with_.requestId,
    detail: {
      grant_id: grantId,
      client: flow.data.client.name,
      redirect_uri: flow.data.redirectUri,
      upstream_ids: upstreamIds,
      // For a service account it is somebody else than the one whose accounts these are now.
      ...(connector !== undefined && connector !== owner.id && { connected_by: `user:${connector}` }),
    },
  });
  parts.world.reach("submit.6.audited");
  return { flow, grantId, owner, code, grantCookie, endsAt };
}

/** A person's own connections change only while that person is signed in (contract section 1). */
async function moveConnections(
  parts: IssuerParts,
  tx: Tx,
  flow: ConsentFlow,
  owner: Owner,
  allowed: boolean,
): Promise<string[]> {
  if (allowed) return parts.vault.adopt(tx, flow.id, owner);
  await parts.vault.dropOwner(tx, { mode: "flow", id: flow.id });
  return [];
}

async function startCode(
  parts: IssuerParts,
  tx: Tx,
  flow: ConsentFlow,
  grantId: string,
  owner: Owner,
): Promise<string> {
  const code = newSecret(parts.world);
  const { client, redirectUri, challenge, resource, scope } = flow.data;
  const data: CodeData = { grantId, clientIdHash: client.idHash, redirectUri, challenge, resource, scope };
  await parts.flows.start(tx, {
    kind: "code",
    handleHash: parts.hash.of("code", code),
    owner,
    parentId: grantId,
    data,
    ttlMs: CODE_MS,
  });
  return code;
}

/** The device that waits belongs to the grant from now on, and finds its tokens there; no code exists. */
async function allowDevice(
  parts: IssuerParts,
  tx: Tx,
  deviceId: string,
  grantId: string,
): Promise<undefined> {
  const waiting = await tx
    .updateTable("flows")
    .set({ parent_id: grantId })
    .where("id", "=", deviceId)
    .where("kind", "=", "device")
    .where("ended_at", "is", null)
    .where("expires_at", ">", parts.world.now().getTime())
    .returning("id")
    .executeTakeFirst();
  if (!waiting) throw expiredFlow();
}

function answer(parts: IssuerParts, granted: Granted): Promise<Response> | Response {
  const { flow, grantId, code, grantCookie, endsAt } = granted;
  const { state } = flow.secret();
  const iss = parts.settings.baseUrl.origin; // RFC 9207 §2
  const ended = endOfConsent(flow.data, { code, state, iss });
  if (grantCookie === undefined) return ended;
  const seconds = (endsAt - parts.world.now().getTime()) / 1000;
  const [header, value] = cookie(
    cookieName("grant", parts.settings, grantId),
    grantCookie,
    seconds,
    parts.settings,
  );
  return Promise.resolve(ended).then((response) => {
    response.headers.append(header, value);
    return response;
  });
}
