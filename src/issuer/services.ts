import { decide, type Rules, type Subject } from "../access/index.ts";
import { isConnectable, type Upstream } from "../upstreams/index.ts";
import type { Choice } from "./consent-flow.ts";
import { type ConsentFlow, ownerOfChoice } from "./consent-flow.ts";
import type { IssuerParts } from "./parts.ts";
import { slugOf } from "./resource.ts";

export interface Service {
  upstream: Upstream;
  /** `flow`: connected during this consent. `before`: the identity has a working connection. `broken`: it needs a new one. */
  connected: "no" | "flow" | "before" | "broken";
  /** How many of its tools the identity may use, and how many of these do not call themselves read-only. */
  tools: number;
  changing: number;
}

type Parts = Pick<IssuerParts, "upstreams" | "vault" | "access" | "virtualMcps">;
type Asked = { id: string; data: { resource: string } };

/** The identity whose rules count while the consent is pending; a skipped one has no rows of its own yet. */
export function subjectOf(choice: Choice, flowId: string): Subject {
  const virtualKeyId = choice.by === "key" ? choice.virtualKeyId : undefined;
  return { owner: ownerOfChoice(choice, flowId), virtualKeyId };
}

/** What the identity may use at the address the client asked for: less at a virtual MCP's, and nothing at one it may not use. */
export async function rulesOfConsent(
  parts: Pick<Parts, "access" | "virtualMcps">,
  flow: Asked,
  choice: Choice,
): Promise<Rules> {
  const subject = subjectOf(choice, flow.id);
  const slug = slugOf(flow.data.resource);
  if (slug === undefined) return parts.access.rulesFor(subject);
  const virtualMcp = await parts.virtualMcps.serving(slug, subject);
  return virtualMcp ? parts.access.rulesFor({ ...subject, virtualMcp }) : { upstreams: new Map() };
}

/** Whether the identity may use the address the client asked for at all. A slug that does not exist is one it may not use. */
export async function mayUseResource(
  { virtualMcps }: Pick<Parts, "virtualMcps">,
  flow: Asked,
  choice: Choice,
): Promise<boolean> {
  const slug = slugOf(flow.data.resource);
  return slug === undefined || (await virtualMcps.serving(slug, subjectOf(choice, flow.id))) !== undefined;
}

/** Every per-user upstream that the chosen identity may use, by name, with what is connected (contract section 3). */
export async function servicesOf(parts: Parts, flow: ConsentFlow, choice: Choice): Promise<Service[]> {
  const subject = subjectOf(choice, flow.id);
  const rules = await rulesOfConsent(parts, flow, choice);
  const allowed = parts.upstreams
    .all()
    .filter((upstream) => isConnectable(upstream) && decide(rules, upstream));
  const ids = allowed.map((upstream) => upstream.id);
  const [inFlow, before] = await Promise.all([
    parts.vault.statuses({ mode: "flow", id: flow.id }, ids),
    choice.by === "skip" ? new Map<string, { status: string }>() : parts.vault.statuses(subject.owner, ids),
  ]);
  return allowed.map((upstream) => {
    const what = { upstream, ...countTools(rules, upstream) };
    const given = inFlow.get(upstream.id);
    if (given) return { ...what, connected: given.status === "active" ? "flow" : "broken" };
    const status = before.get(upstream.id)?.status;
    return { ...what, connected: status === undefined ? "no" : status === "active" ? "before" : "broken" };
  });
}

function countTools(rules: Rules, upstream: Upstream): { tools: number; changing: number } {
  const usable = upstream.tools.filter(({ name }) => decide(rules, upstream, name));
  const changing = usable.filter(({ annotations }) => {
    // MCP, ToolAnnotations: without the hint a tool may change things.
    return (annotations as { readOnlyHint?: unknown } | undefined)?.readOnlyHint !== true;
  });
  return { tools: usable.length, changing: changing.length };
}
