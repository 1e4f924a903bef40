import { newSecret } from "../base/index.ts";
import type { Flow } from "../db/index.ts";
import { redirect } from "../http/index.ts";
import { type Assertion, localPath } from "../identity/index.ts";
import type { Arrival } from "./arrive.ts";
import { assertionOf } from "./claims.ts";
import { addressOf, type SsoParts } from "./parts.ts";
import { otherBrowser, refusedAnswer, staleAnswer, strayAnswer } from "./refusals.ts";
import type { SamlProvider } from "./saml-config.ts";
import { authnRequestUrl, newRequestId } from "./saml-peer.ts";
import { readResponse, type SamlStatement } from "./saml-response.ts";
import { SamlFault } from "./saml-xml.ts";
import { type Departure, type Errand, startTrip, type TripData } from "./trip.ts";

/** What is logged of why; some of it can be the sender's words. */
const MAX_REASON = 200;

/** What an accepted response proved, until the browser that left comes for it. */
interface Landed {
  assertion: Assertion;
  session?: string;
  /** When the provider made it, milliseconds since 1970. */
  issuedAt: number;
  /** Of the value that only the browser which brought it was sent on with. */
  landingHash: string;
}

export interface SamlTrip extends TripData {
  /** The ID of our AuthnRequest; absent: the provider began. */
  request?: string;
  landed?: Landed;
}

/** Leaves for the identity provider with an AuthnRequest whose ID only this trip knows. */
export async function departSaml(
  parts: SsoParts,
  provider: SamlProvider,
  errand: Errand,
): Promise<Departure> {
  const relayState = newSecret(parts.world);
  const id = newRequestId(parts.world);
  const data: SamlTrip = { provider: provider.id, errand, request: id };
  const cookie = await startTrip(parts, relayState, { data });
  const again = errand.purpose === "sign_in" && errand.again;
  return { url: await authnRequestUrl(parts, provider, { id, relayState, again }), cookie };
}

/**
 * Takes a response in. It comes as a cross-site POST, to which browsers send no cookie of ours that is worth having, so
 * nobody is signed in by it: what it proves waits in the trip, and the browser is sent on by a GET that brings the cookie
 * along, and a value that no other browser has: who left and lured somebody else into answering gets nothing by asking
 * themselves (CB-24). Throws 400, 403, 410.
 */
export async function landSaml(
  parts: SsoParts,
  provider: SamlProvider,
  form: { response: string; relayState: string | undefined },
): Promise<Response> {
  const trip = await tripOf(parts, provider, form.relayState);
  if (!trip) return landUnasked(parts, provider, form);
  if (trip.data.landed) throw staleAnswer();
  const said = await read(parts, provider, form.response, trip.data.request);
  const landing = newSecret(parts.world);
  const data = { ...trip.data, landed: landedOf(parts, provider, said, landing) };
  await parts.database.transaction(async (tx) => {
    await spend(parts, provider, said, tx);
    if (!(await parts.flows.update(tx, trip, data))) throw staleAnswer();
  });
  return redirect(finishAddress(parts, provider, { trip: form.relayState!, landing }));
}

/** The provider began: nothing says that this browser wanted it, so the person is asked before anything counts. */
async function landUnasked(
  parts: SsoParts,
  provider: SamlProvider,
  form: { response: string; relayState: string | undefined },
): Promise<Response> {
  if (!provider.allowIdpInitiated) throw strayAnswer();
  const said = await read(parts, provider, form.response, undefined);
  const returnTo = localPath(form.relayState ?? "/", parts.settings);
  const landing = newSecret(parts.world);
  const data: SamlTrip = {
    provider: provider.id,
    errand: { purpose: "sign_in", returnTo },
    landed: landedOf(parts, provider, said, landing),
  };
  await parts.database.transaction((tx) => spend(parts, provider, said, tx));
  const handle = newSecret(parts.world);
  const cookie = await startTrip(parts, handle, { data });
  return redirect(finishAddress(parts, provider, { trip: handle, landing }), 303, [cookie]);
}

/** The trip that a RelayState names; undefined: none that was ever begun here. Throws 400, 410. */
async function tripOf(
  parts: SsoParts,
  provider: SamlProvider,
  relayState: string | undefined,
): Promise<Flow<SamlTrip> | undefined> {
  if (relayState === undefined) return undefined;
  const key = { handleHash: parts.hash.of("sign_in", relayState) };
  const found = await parts.flows.peek<SamlTrip>(parts.database.db, "sign_in", key);
  if (found.state === "unknown") return undefined;
  if (found.state !== "pending") throw staleAnswer();
  if (found.flow.data.provider !== provider.id || found.flow.data.request === undefined) throw strayAnswer();
  return found.flow;
}

async function read(
  parts: SsoParts,
  provider: SamlProvider,
  response: string,
  request: string | undefined,
): Promise<SamlStatement> {
  try {
    return await readResponse(parts, provider, response, request);
  } catch (error) {
    if (error instanceof SamlFault) throw refusedAnswer(provider, error.message.slice(0, MAX_REASON));
    throw error;
  }
}

/** Core §2.5.1.5: once, on every replica, also where it is brought to another trip. */
async function spend(
  { spent }: SsoParts,
  provider: SamlProvider,
  { id, expiresAt }: SamlStatement,
  tx: Parameters<SsoParts["spent"]["spend"]>[0],
): Promise<void> {
  if (!(await spent.spend(tx, provider.issuer, id, expiresAt))) throw refusedAnswer(provider, "replayed");
}

function landedOf(
  { hash }: SsoParts,
  provider: SamlProvider,
  { subject, sessionIndex, attributes, issuedAt }: SamlStatement,
  landing: string,
): Landed {
  const values = (name: string) => {
    const found = attributes.get(name);
    return found?.length === 1 ? found[0] : found;
  };
  const assertion = assertionOf(provider, {
    subject,
    read: values,
    signed: values,
    withheld: () => false,
  });
  return { assertion, session: sessionIndex, issuedAt, landingHash: hash.of("saml_landing", landing) };
}

/** `trip`: its handle; `landing`: what this browser shows of having brought the answer. */
interface Finish {
  trip: string;
  landing: string;
}

function finishAddress(parts: SsoParts, provider: SamlProvider, { trip, landing }: Finish): string {
  return `${addressOf(parts, provider, "finish")}?${new URLSearchParams({ trip, landing })}`;
}

/** What a claimed trip brought back. Throws 400 where nothing has landed, 403 where another browser brought it. */
export function arrivalOf(
  { hash }: Pick<SsoParts, "hash">,
  provider: SamlProvider,
  trip: Flow<SamlTrip>,
  landing: string,
): Arrival {
  const { errand, landed } = trip.data;
  if (!landed) throw strayAnswer();
  if (hash.of("saml_landing", landing) !== landed.landingHash) throw otherBrowser();
  const { assertion, session: providerSession, issuedAt } = landed;
  return { provider, errand, assertion, providerSession, saidAt: Math.min(issuedAt, trip.createdAt) };
}
