import { z } from "zod";
import { newSecret, Problem } from "../base/index.ts";
import type { Flow, Tx } from "../db/index.ts";
import { clearCookie, cookie, cookieName, type Route, readCookie, redirect } from "../http/index.ts";
import { route } from "../identity/index.ts";
import type { Account, Held, HeldData, NewSecret } from "../vault/index.ts";
import { notYours, whoFinishes } from "./finisher.ts";
import { endedLink, type LinkData, linkPath, unknownLink } from "./links.ts";
import { swapPage } from "./pages.ts";
import type { ConnectParts } from "./parts.ts";
import type { TripData } from "./round-trip.ts";
import { refuseSwitchedOff } from "./standing.ts";

const path = "/workspace/mcp-sessions/account";
const QUESTION_MS = 10 * 60_000;

type Question = Flow<HeldData>;

/**
 * When the provider names another account than the one before, the new tokens are held and the person is asked
 * (contract section 2, UP-31). Undefined: there is nothing to ask. The link stays pending: whatever ends it ends the question.
 */
export async function askFirst(
  parts: ConnectParts,
  tx: Tx,
  trip: Flow<TripData>,
  secret: NewSecret,
): Promise<{ path: string; cookie: [string, string] } | undefined> {
  const linkId = trip.parentId!;
  const link = await parts.flows.peek<LinkData>(tx, "connect", { id: linkId });
  if (link.state !== "pending") return undefined;
  const binding = { owner: trip.owner!, upstreamId: trip.upstreamId!, account: trip.account };
  const before = await parts.vault.otherAccount(tx, binding, secret, link.flow.data.identity);
  if (!before) return undefined;
  // Locks the link as well: one that ends meanwhile takes the question with it.
  const open = await tx
    .updateTable("flows")
    .set({ expires_at: Math.max(link.flow.expiresAt, parts.world.now().getTime() + QUESTION_MS) })
    .where("id", "=", linkId)
    .where("ended_at", "is", null)
    .executeTakeFirst();
  if (open.numUpdatedRows === 0n) return undefined;
  const browser = newSecret(parts.world);
  const browserHash = parts.hash.of("flow_cookie", browser);
  const { id } = await parts.vault.hold(tx, {
    ...binding,
    secret,
    linkId,
    before,
    browserHash,
    ttlMs: QUESTION_MS,
  });
  return {
    path: pathOf(id),
    cookie: cookie(cookieFor(parts, id), browser, QUESTION_MS / 1000, parts.settings),
  };
}

/** The page that asks which account counts, and the answer to it. */
export function swapRoutes(parts: ConnectParts): Route[] {
  const common = {
    path,
    tag: "Connect",
    access: "browser",
    rate: "authorize",
    errors: "page",
  } as const;
  const flow = z.string().min(1).max(200);
  return [
    route({
      ...common,
      method: "GET",
      operationId: "connectAccountPage",
      summary: "Asks which account of a provider counts",
      csrf: "none",
      query: z.object({ flow }),
      answers: { 200: { description: "Both accounts, and two buttons" } },
      refuses: [401, 403, 404, 410],
      handle: ({ request, query }) => show(parts, request, query.flow),
    }),
    route({
      ...common,
      method: "POST",
      operationId: "connectAccountAnswer",
      summary: "Replace the account, or keep the old one",
      csrf: "page",
      form: z.object({ flow, choice: z.enum(["replace", "keep"]) }),
      answers: { 303: { description: "To the services page, or to the page that says what became of it" } },
      refuses: [401, 403, 404, 409, 410],
      handle: ({ request, body }) => answer(parts, request, body),
    }),
  ];
}

async function show(parts: ConnectParts, request: Request, flowId: string): Promise<Response> {
  const found = await find(parts, request, flowId);
  if (found.state === "answered") return redirect(linkPath(found.linkId));
  const { before, now } = found.question.data;
  const upstream = parts.upstreams.find(found.question.upstreamId!);
  if (!upstream) throw endedLink();
  const isTold = before.name !== undefined && now.name !== undefined && before.name !== now.name;
  return swapPage({
    action: path,
    flowId,
    name: upstream.name,
    before: nameOf(before, isTold),
    now: nameOf(now, isTold),
  });
}

async function answer(
  parts: ConnectParts,
  request: Request,
  { flow: flowId, choice }: { flow: string; choice: "replace" | "keep" },
): Promise<Response> {
  const found = await find(parts, request, flowId);
  // A double click: the first one has done it.
  if (found.state === "answered") return redirect(await placeAfter(parts, request, found.linkId));
  const { question, actor } = found;
  const place = { owner: question.owner!, upstreamId: question.upstreamId! };
  if (choice === "replace") await refuseSwitchedOff(parts, place);
  const link = await (choice === "replace" ? replace(parts, flowId, actor) : keep(parts, flowId, actor));
  const response = redirect(link.data.return_to ?? linkPath(link.id));
  response.headers.append(...clearCookie(cookieFor(parts, flowId), parts.settings));
  return response;
}

type Found = { state: "pending"; question: Question; actor: string } | { state: "answered"; linkId: string };

/** The question, if this is the browser it was put to and still the same person; throws 403, 404 or 410. */
async function find(parts: ConnectParts, request: Request, flowId: string): Promise<Found> {
  const found = await parts.vault.peekHeld(flowId);
  switch (found.state) {
    case "unknown":
      throw unknownLink();
    case "expired":
      throw new Problem(
        "gone",
        "link_expired",
        "This question has expired, so nothing was changed. Go back to your app and ask again for a new link.",
      );
    case "ended":
      if (found.outcome !== "replaced_account" && found.outcome !== "kept") throw endedLink();
      return { state: "answered", linkId: found.parentId! };
    case "pending": {
      const value = readCookie(request, cookieFor(parts, flowId));
      if (value === undefined || parts.hash.of("flow_cookie", value) !== found.flow.browserHash)
        throw notYours();
      const actor = await whoFinishes(parts, request, found.flow.owner!);
      return { state: "pending", question: found.flow, actor };
    }
  }
}

/** One transaction: the question and the link are consumed, and the secret takes the old one's place on its row. */
async function replace(parts: ConnectParts, flowId: string, actor: string): Promise<Flow<LinkData>> {
  const link = await parts.database.transaction(async (tx) => {
    const held = await parts.vault.takeHeld(tx, flowId, "replaced_account");
    if (!held) return undefined;
    const { owner, upstreamId, account, secret, before, now } = held;
    const taken = await parts.flows.take<LinkData>(tx, "connect", { id: held.linkId }, "connected");
    parts.world.reach("swap.3.taken");
    const stored =
      taken && (await parts.vault.put(tx, { owner, upstreamId, account, secret, replaces: before.subject }));
    if (!stored) {
      await giveUp(parts, tx, flowId, held);
      return undefined;
    }
    const detail = { session_id: stored.id, generation: stored.generation, flow_id: taken.id };
    await note(parts, tx, { ...held, actor }, "credential.connected", detail);
    await note(parts, tx, { ...held, actor }, "credential.account_replaced", {
      session_id: stored.id,
      from: before.subject,
      to: now.subject,
    });
    parts.world.reach("swap.4.credential_stored");
    return taken;
  });
  parts.world.reach("swap.5.committed");
  if (!link) throw withdrawn();
  return link;
}

/** One transaction: the question and the link are consumed, the new tokens are given up, the row is as it was. */
async function keep(parts: ConnectParts, flowId: string, actor: string): Promise<Flow<LinkData>> {
  const link = await parts.database.transaction(async (tx) => {
    const held = await parts.vault.takeHeld(tx, flowId, "kept");
    if (!held) return undefined;
    await parts.vault.disown(tx, held.upstreamId, held.secret, held.owner);
    await note(parts, tx, { ...held, actor }, "credential.account_kept", {
      kept: held.before.subject,
      refused: held.now.subject,
    });
    return parts.flows.take<LinkData>(tx, "connect", { id: held.linkId }, "kept");
  });
  if (!link) throw endedLink();
  return link;
}

/** Access or link ended while the person thought about it: nobody wants these tokens any more. */
async function giveUp(parts: ConnectParts, tx: Tx, flowId: string, held: Held): Promise<void> {
  await parts.vault.disown(tx, held.upstreamId, held.secret, held.owner);
  await tx
    .updateTable("flows")
    .set({ outcome: "access_lost" })
    .where("id", "in", [flowId, held.linkId])
    .where("outcome", "in", ["connected", "replaced_account"])
    .execute();
}

/** Accounts are the provider's ids, no secrets. */
function note(
  parts: ConnectParts,
  tx: Tx,
  { owner, upstreamId, actor }: Held & { actor: string },
  event: string,
  detail: Record<string, unknown>,
): Promise<void> {
  return parts.audit.append(tx, { event, actor, owner, upstreamId, detail });
}

/** Where the first of two clicks led: the consent, whose gate looks at the browser again, or the page of the link. */
export async function placeAfter(parts: ConnectParts, request: Request, linkId: string): Promise<string> {
  const row = await parts.database.db
    .selectFrom("flows")
    .select(["owner_mode", "owner_id", "upstream_id"])
    .where("id", "=", linkId)
    .executeTakeFirst();
  if (row?.owner_mode !== "flow") return linkPath(linkId);
  return (await parts.consentGate(request, row.owner_id!, row.upstream_id!)).returnTo;
}

function nameOf({ subject, name }: Account, isEnough: boolean): string {
  if (name === undefined) return subject;
  return isEnough ? name : `${name} (${subject})`;
}

function pathOf(flowId: string): string {
  return `${path}?${new URLSearchParams({ flow: flowId })}`;
}

function cookieFor(parts: ConnectParts, flowId: string): string {
  return cookieName("swap", parts.settings, flowId);
}

export function withdrawn(): Problem {
  return new Problem(
    "gone",
    "connection_withdrawn",
    "The connection was withdrawn while you signed in, so nothing was stored. Go back to your app and ask again.",
  );
}
