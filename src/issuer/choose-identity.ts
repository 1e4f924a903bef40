import { Problem } from "../base/index.ts";
import type { Tx } from "../db/index.ts";
import { type Choice, type ConsentData, type ConsentFlow, openConsent } from "./consent-flow.ts";
import type { IssuerParts } from "./parts.ts";

type Parts = Pick<IssuerParts, "database" | "flows" | "hash" | "settings" | "vault">;

const MAX_GUESSES = 10;
const MAX_ATTEMPTS = 5;

/**
 * Records whom the person is and, with it, the approval of this client. What was connected under another identity is
 * given up in the same transaction (CB-13).
 */
export async function chooseIdentity(
  parts: Parts,
  request: Request,
  flowId: string,
  choice: Choice,
): Promise<void> {
  await parts.database.transaction(async (tx) => {
    const before = await change(parts, request, flowId, tx, (data) => ({ ...data, choice }));
    if (before.choice !== undefined && !isSameChoice(before.choice, choice))
      await parts.vault.dropOwner(tx, { mode: "flow", id: flowId });
  });
}

/** Nobody is chosen any more, the client is not approved, and what was connected meanwhile is given up (CB-13). */
export async function forgetIdentity(parts: Parts, request: Request, flowId: string): Promise<void> {
  await parts.database.transaction(async (tx) => {
    const before = await change(parts, request, flowId, tx, ({ choice: _, ...data }) => data);
    if (before.choice !== undefined) await parts.vault.dropOwner(tx, { mode: "flow", id: flowId });
  });
}

/** Counts a try at a virtual key before it is looked at; throws 429 when this flow has used up its tries (CB-25). */
export async function countGuess(parts: Parts, request: Request, flowId: string): Promise<void> {
  await parts.database.transaction((tx) =>
    change(parts, request, flowId, tx, (data) => {
      if (data.guesses >= MAX_GUESSES) {
        throw new Problem(
          "too_many",
          "too_many_guesses",
          "Too many tries for this consent. Go back to your app and start again.",
          {
            retryAfter: 60,
          },
        );
      }
      return { ...data, guesses: data.guesses + 1 };
    }),
  );
}

/** Reads, edits and writes the pending flow; again when another request was faster. Returns what was there before. */
async function change(
  parts: Parts,
  request: Request,
  flowId: string,
  tx: Tx,
  edit: (data: ConsentData) => ConsentData,
): Promise<ConsentData> {
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    const flow: ConsentFlow = await openConsent(parts, request, flowId, tx);
    if (await parts.flows.update(tx, flow, edit(flow.data))) return flow.data;
  }
  throw new Problem("unavailable", "busy", "This consent is being changed elsewhere. Try again.", {
    retryAfter: 1,
  });
}

function isSameChoice(a: Choice, b: Choice): boolean {
  if (a.by === "login" && b.by === "login") return a.userId === b.userId;
  if (a.by === "key" && b.by === "key") return a.virtualKeyId === b.virtualKeyId;
  return a.by === "skip" && b.by === "skip";
}
