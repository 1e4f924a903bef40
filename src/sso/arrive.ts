import type { Hidden } from "../base/index.ts";
import { redirect } from "../http/index.ts";
import { type Assertion, startSession } from "../identity/index.ts";
import type { SsoProvider } from "./config.ts";
import { type SsoParts, vouching } from "./parts.ts";
import { otherSession } from "./refusals.ts";
import type { Errand } from "./trip.ts";

/** Somebody who came back with a proof. */
export interface Arrival {
  provider: SsoProvider;
  errand: Errand;
  assertion: Assertion;
  /** The provider may have known no earlier what it said of them, milliseconds since 1970. */
  saidAt: number;
  /** What the provider calls its own session, for its log-out; SAML: the SessionIndex. */
  providerSession?: string;
  /** OpenID Connect: shown to the provider at log-out. */
  idToken?: Hidden;
}

/** Does what the person left for: signs them in, or links the identity they proved. Throws what `admit` and `link` throw. */
export function arrive(
  parts: SsoParts,
  arrival: Arrival,
  { request, requestId }: { request: Request; requestId: string },
): Promise<Response> {
  const { errand } = arrival;
  if (errand.purpose === "link") return link(parts, arrival, errand, request, requestId);
  return signIn(parts, arrival, request, requestId);
}

/** The account, what is said of it, the session and the audit line together, or nothing of it. */
async function signIn(
  parts: SsoParts,
  { provider, errand, assertion, saidAt, providerSession, idToken }: Arrival,
  request: Request,
  requestId: string,
): Promise<Response> {
  const session = await parts.database.transaction(async (tx) => {
    // Whose account was deleted while they were on their way does not get another by that.
    const create = async () =>
      provider.mapping.createAccounts &&
      !(await parts.departed.since(tx, assertion.issuer, assertion.subject, saidAt));
    const person = await parts.identities.admit(tx, assertion, { create, requestId });
    const how = {
      method: "sso" as const,
      request,
      requestId,
      provider: vouching(provider),
      providerSubject: assertion.subject,
      providerSession,
      idToken,
    };
    return startSession(parts, person, how, tx);
  });
  return redirect(errand.returnTo, 303, [parts.sessions.cookie(session)]);
}

/** The proof of the one account is the session that asked; that of the other came with the answer. */
async function link(
  parts: SsoParts,
  { assertion }: Arrival,
  { userId, sessionId, returnTo }: Extract<Errand, { purpose: "link" }>,
  request: Request,
  requestId: string,
): Promise<Response> {
  const signedIn = await parts.sessions.of(request);
  if (signedIn?.sessionId !== sessionId || signedIn.user.id !== userId) throw otherSession();
  await parts.database.transaction((tx) => parts.identities.link(tx, userId, assertion, { requestId }));
  return redirect(returnTo);
}
