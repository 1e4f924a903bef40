import { decide, type Subject } from "../access/index.ts";
import type { Upstream } from "../upstreams/index.ts";
import type { Choice } from "./consent-flow.ts";
import { type ConsentFlow, ownerOfChoice } from "./consent-flow.ts";
import type { IssuerParts } from "./parts.ts";

export interface Service {
  upstream: Upstream;
  /** `flow`: connected during this consent. `before`: the identity has a working connection. `broken`: it needs a new one. */
  connected: "no" | "flow" | "before" | "broken";
}

type Parts = Pick<IssuerParts, "upstreams" | "vault" | "access">;

/** The identity whose rules count while the consent is pending; a skipped one has no rows of its own yet. */
export function subjectOf(choice: Choice, flowId: string): Subject {
  const virtualKeyId = choice.by === "key" ? choice.virtualKeyId : undefined;
  return { owner: ownerOfChoice(choice, flowId), virtualKeyId };
}

/** Every per-user upstream that the chosen identity may use, by name, with what is connected (contract section 3). */
export async function servicesOf(parts: Parts, flow: ConsentFlow, choice: Choice): Promise<Service[]> {
  const subject = subjectOf(choice, flow.id);
  const rules = await parts.access.rulesFor(subject);
  const allowed = parts.upstreams.all().filter((upstream) => upstream.perUser && decide(rules, upstream));
  const ids = allowed.map((upstream) => upstream.id);
  const [inFlow, before] = await Promise.all([
    parts.vault.statuses({ mode: "flow", id: flow.id }, ids),
    choice.by === "skip" ? new Map<string, { status: string }>() : parts.vault.statuses(subject.owner, ids),
  ]);
  return allowed.map((upstream) => {
    const given = inFlow.get(upstream.id);
    if (given) return { upstream, connected: given.status === "active" ? "flow" : "broken" };
    const status = before.get(upstream.id)?.status;
    return { upstream, connected: status === undefined ? "no" : status === "active" ? "before" : "broken" };
  });
}
