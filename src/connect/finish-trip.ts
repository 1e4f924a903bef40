import type { Flow } from "../db/index.ts";
import { redirect } from "../http/index.ts";
import type { NewSecret, Token } from "../vault/index.ts";
import { remembered } from "./callback-again.ts";
import { endedLink, type LinkData, linkPath } from "./links.ts";
import { againPage } from "./pages.ts";
import type { ConnectParts } from "./parts.ts";
import type { TripData } from "./round-trip.ts";
import { switchedOff } from "./standing.ts";
import { askFirst, withdrawn } from "./swap.ts";

/** A trip to a provider, by redirects or by a code that is typed there. */
export type Trip = Flow<TripData>;

/** Stores only while the link is still pending: whatever took access away or replaced it has ended it (ID-26). */
export async function storeToken(
  parts: ConnectParts,
  trip: Trip,
  token: Token,
  actor: string,
): Promise<Response> {
  const owner = trip.owner!;
  const upstreamId = trip.upstreamId!;
  const secret = secretOf(trip, token);
  // Switched off while the provider answered: nothing is stored, and the link stays for when it is on again.
  const stopped = await switchedOff(parts, { owner, upstreamId });
  if (stopped) {
    await parts.database.transaction((tx) => parts.vault.disown(tx, upstreamId, secret, owner));
    throw stopped;
  }
  const stored = await parts.database.transaction(async (tx) => {
    const asked = await askFirst(parts, tx, trip, secret);
    if (asked) {
      parts.world.reach("swap.1.held");
      return { asked };
    }
    const taken = await parts.flows.take<LinkData>(tx, "connect", { id: trip.parentId! }, "connected");
    parts.world.reach("callback.5.link_taken");
    const put = taken && (await parts.vault.put(tx, { owner, upstreamId, account: trip.account, secret }));
    if (!put) {
      // Nobody wants these tokens any more; the provider is told.
      await parts.vault.disown(tx, upstreamId, secret, owner);
      if (taken)
        await tx.updateTable("flows").set({ outcome: "access_lost" }).where("id", "=", taken.id).execute();
      return undefined;
    }
    const tombstone = { data_json: remembered(taken.data) };
    await tx.updateTable("flows").set(tombstone).where("id", "=", taken.id).execute();
    parts.world.reach("callback.6.credential_stored");
    const detail = { session_id: put.id, generation: put.generation, flow_id: taken.id };
    await parts.audit.append(tx, { event: "credential.connected", actor, owner, upstreamId, detail });
    parts.world.reach("callback.7.audited");
    return { link: taken };
  });
  parts.world.reach("callback.8.committed");
  if (!stored) throw withdrawn();
  if (stored.asked) parts.world.reach("swap.2.hold_committed");
  if (stored.asked) return redirect(stored.asked.path, 303, [stored.asked.cookie]);
  return redirect(stored.link.data.return_to ?? linkPath(stored.link.id));
}

/** Tokens that came for a trip which had ended meanwhile: nobody wants them, and the provider is told. */
export async function giveUp(parts: ConnectParts, trip: Trip, token: Token): Promise<void> {
  await parts.database.transaction((tx) =>
    parts.vault.disown(tx, trip.upstreamId!, secretOf(trip, token), trip.owner!),
  );
}

function secretOf({ data }: Trip, token: Token): NewSecret {
  return {
    kind: "oauth",
    ...token,
    askedScopes: data.scopes,
    oauthConfigId: data.config_id,
    issuer: data.issuer,
  };
}

/** Back to where the person can try again: the link is as it was. `sentence` is ours, never the provider's. */
export async function tryAgain(
  parts: ConnectParts,
  trip: Trip,
  { code, sentence, status }: { code: string; sentence: string; status: number },
): Promise<Response> {
  const found = await parts.flows.peek<LinkData>(parts.database.db, "connect", { id: trip.parentId! });
  if (found.state !== "pending") throw endedLink();
  const { return_to } = found.flow.data;
  if (return_to === null) return againPage({ sentence, again: linkPath(trip.parentId!), status });
  const back = new URL(return_to, parts.settings.baseUrl);
  back.searchParams.set("error", code);
  return redirect(back.pathname + back.search);
}
