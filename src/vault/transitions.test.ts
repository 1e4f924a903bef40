import { expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { Hidden, type Owner } from "../base/index.ts";
import type { Tx } from "../db/index.ts";
import type { NewSecret } from "./index.ts";
import { type Event, events, type Kind, type State, states, table } from "./transitions.suite.ts";
import { alice, type Bench, bench, hour, secret, up1 } from "./vault.suite.ts";

interface Place {
  b: Bench;
  kind: Kind;
  id: string | undefined;
}

const flow: Owner = { mode: "flow", id: "flow_1" };

function given({ b, kind }: Pick<Place, "b" | "kind">, over: { refreshless?: boolean } = {}): NewSecret {
  if (kind === "headers") return { kind, headers: { "x-key": new Hidden("value") } };
  return secret(b, hour, over.refreshless ? { refreshToken: undefined } : {});
}

/** How each event is made to happen. */
const happen: Record<Event, (place: Place) => Promise<unknown>> = {
  connected: ({ b, kind }: Place) =>
    inside(b, (tx) =>
      b.vault.put(tx, { owner: alice, upstreamId: "up1", account: "", secret: given({ b, kind }) }),
    ),
  "connected during a consent that is submitted": async ({ b, kind }: Place) => {
    await inside(b, (tx) =>
      b.vault.put(tx, { owner: flow, upstreamId: "up1", account: "", secret: given({ b, kind }) }),
    );
    await inside(b, (tx) => b.vault.adopt(tx, flow.id, alice));
  },
  "connected too late": ({ b, kind }: Place) =>
    inside(b, (tx) =>
      b.vault.put(tx, {
        owner: alice,
        upstreamId: "up1",
        account: "",
        secret: given({ b, kind }),
        expectGeneration: 99,
      }),
    ),
  "refresh succeeds": ({ b }: Place) => expire(b),
  "refresh is refused": ({ b }: Place) => {
    b.provider.answer = () => ({ status: 400, body: { error: "invalid_grant" } });
    return expire(b);
  },
  "refresh gets no answer": ({ b }: Place) => {
    b.provider.answer = () => ({ status: 503 });
    return expire(b);
  },
  "upstream refuses it, renewed just now": async ({ b }: Place) => {
    // The one before was refused as well.
    await reject(b, -1);
    await reject(b);
  },
  "access withdrawn": ({ b }: Place) => inside(b, (tx) => b.vault.setAccess(tx, alice, new Set(["up2"]))),
  "access given": ({ b }: Place) => inside(b, (tx) => b.vault.setAccess(tx, alice, new Set(["up1"]))),
  "upstream's authorization changed": ({ b }: Place) =>
    inside(b, (tx) => b.vault.needsReauth(tx, "up1", "configuration_changed")),
  "a header is newly required": ({ b }: Place) =>
    inside(b, (tx) => b.vault.requireHeaders(tx, { upstreamId: "up1", names: ["x-key", "x-more"] })),
  "header no longer required": ({ b }: Place) =>
    inside(b, (tx) => b.vault.requireHeaders(tx, { upstreamId: "up1", names: ["x-key"] })),
  revoked: ({ b, id }: Place) => inside(b, (tx) => b.vault.revoke(tx, id ?? "cred_none", "test")),
  "owner ended": ({ b }: Place) => inside(b, (tx) => b.vault.dropOwner(tx, alice)),
  "upstream deleted": ({ b }: Place) => inside(b, (tx) => b.vault.dropUpstream(tx, "up1")),
};

/** These turn the status and leave the generation: a link the person may have open is the cure. */
const keepsGeneration: readonly Event[] = ["refresh is refused", "upstream refuses it, renewed just now"];

async function inside(b: Bench, work: (tx: Tx) => Promise<unknown>): Promise<void> {
  await b.database.transaction(work);
}

async function expire(b: Bench): Promise<void> {
  b.world.advance(hour);
  await b.vault.open(alice, up1);
}

async function reject(b: Bench, more = 0): Promise<void> {
  const held = (await b.vault.statuses(alice, ["up1"])).get("up1");
  if (held) await b.vault.markRejected({ ...held, generation: held.generation + more });
}

async function reach(b: Bench, kind: Kind, state: State): Promise<void> {
  const place = { b, kind, id: undefined };
  if (state === "none") return;
  await happen.connected(place);
  if (state.endsWith("lost")) {
    if (kind === "headers") await happen["a header is newly required"](place);
    else await happen["upstream's authorization changed"](place);
  }
  if (state.startsWith("orphaned")) await happen["access withdrawn"](place);
}

async function look(b: Bench) {
  const row = await b.database.db
    .selectFrom("credentials")
    .select(["id", "status", "orphaned", "generation", "sealed", "created_at"])
    .where("owner_id", "=", alice.id)
    .executeTakeFirst();
  return row && { ...row, sealed: Buffer.from(row.sealed).toString("hex") };
}

function stateOf(row: Awaited<ReturnType<typeof look>>, kind: Kind): State {
  if (!row) return "none";
  const lost = kind === "oauth" ? "needs_reauth" : "needs_update";
  if (row.status !== "active" && row.status !== lost) throw new Error(`a ${kind} row is ${row.status}`);
  const status = row.status === "active" ? "active" : "lost";
  return row.orphaned === 1 ? `orphaned+${status}` : status;
}

onBothDatabases("the state machine of a credential", (open) => {
  for (const kind of ["oauth", "headers"] as const) {
    for (const from of states) {
      it(`ID-23 ${kind}, ${from}: every event leads where the table says, and nowhere else`, async () => {
        const b = await bench(open);
        const refreshing = b.provider.answer;
        for (const event of events) {
          b.provider.answer = refreshing;
          await reach(b, kind, from);
          const before = await look(b);
          expect(stateOf(before, kind), `reaching ${from}`).toBe(from);
          const asked = b.provider.refreshes.length;
          await happen[event]({ b, kind, id: before?.id });
          const after = await look(b);
          const to = table[kind][from][event];
          const what = `${kind}: ${event} in ${from}`;
          expect(stateOf(after, kind), what).toBe(to ?? from);
          if (to === undefined) expect(after, what).toEqual(before);
          else if (before && after) {
            expect([after.id, after.created_at], what).toEqual([before.id, before.created_at]);
            const raised = keepsGeneration.includes(event) ? 0 : 1;
            expect(after.generation - before.generation, what).toBe(raised);
          }
          const opened = await b.vault.open(alice, up1);
          expect(opened.outcome === "ready" || opened.outcome === "unavailable", what).toBe(
            stateOf(after, kind) === "active",
          );
          // Nobody is asked on behalf of a credential that may not be used.
          if (from !== "active") expect(b.provider.refreshes.length, what).toBe(asked);
          await inside(b, (tx) => b.vault.dropOwner(tx, alice));
        }
      });
    }
  }
});
