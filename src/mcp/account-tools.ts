import type { Rules } from "../access/index.ts";
import type { ToolDefinition } from "../upstreams/index.ts";
import type { AccountLabels } from "../vault/index.ts";
import type { Caller } from "./caller.ts";
import { allowed, type Catalog, type Entry } from "./catalog.ts";
import type { Filters } from "./filters.ts";
import type { McpParts } from "./parts.ts";

/** What the clients and models we know of take as a tool's name: 64 of these characters; the label keeps within them. */
const LONGEST_NAME = 64;

interface View {
  caller: Caller;
  rules: Rules;
  filters: Filters;
}

interface Variants {
  /** What they were made of; another one means that the catalogue changed. */
  of: ReadonlyMap<string, Entry>;
  byName: ReadonlyMap<string, Entry>;
}

/**
 * The tools of an upstream once more for each account, `{upstream}-{tool}__{label}`, for callers who keep several. Found by
 * a map and never by taking a name apart; the catalogue's own names come first.
 */
export class AccountTools {
  readonly #parts: Pick<McpParts, "vault" | "world">;
  readonly #catalog: Catalog;
  /** By the labels they were made of: whoever connects or relabels has others. */
  readonly #variants = new WeakMap<AccountLabels, Variants>();

  constructor(parts: Pick<McpParts, "vault" | "world">, catalog: Catalog) {
    this.#parts = parts;
    this.#catalog = catalog;
  }

  /** The tool of this name, if it is one of the caller's and the caller may use it now. */
  async find(name: string, view: View): Promise<Entry | undefined> {
    const variant = (await this.#of(view.caller))?.get(name);
    return variant && this.#allowed(variant, view) ? variant : undefined;
  }

  /** `listed` and the caller's own, in the order of names. */
  async addTo(listed: Entry[], view: View): Promise<Entry[]> {
    const variants = await this.#of(view.caller);
    if (!variants) return listed;
    const own = [...variants.values()].filter((variant) => this.#allowed(variant, view));
    return [...listed, ...own].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Filters that name the tool without an account, or with this one, let it through. */
  #allowed(variant: Entry, { rules, filters }: View): boolean {
    const plain = { name: plainName(variant), upstream: variant.upstream };
    return allowed(variant, rules, { allow: (entry) => filters.allow(entry) || filters.allow(plain) });
  }

  async #of({ owner }: Caller): Promise<ReadonlyMap<string, Entry> | undefined> {
    const labels = await this.#parts.vault.severalAccounts(owner);
    if (labels.size === 0) return undefined;
    const all = this.#catalog.all();
    const known = this.#variants.get(labels);
    if (known?.of === all) return known.byName;
    const byName = variantsOf(all, labels);
    this.#variants.set(labels, { of: all, byName });
    return byName;
  }
}

function variantsOf(all: ReadonlyMap<string, Entry>, labels: AccountLabels): Map<string, Entry> {
  const variants = new Map<string, Entry>();
  const ambiguous = new Set<string>();
  for (const entry of all.values()) {
    if (!entry.upstream.perUser) continue;
    for (const label of labels.get(entry.upstream.id) ?? []) {
      const name = `${entry.name}__${label}`;
      if (label === "" || name.length > LONGEST_NAME || all.has(name)) continue;
      // MC-18: of two that would have one name neither is offered.
      if (variants.has(name)) ambiguous.add(name);
      variants.set(name, variantOf(entry, name, label));
    }
  }
  for (const name of ambiguous) variants.delete(name);
  return variants;
}

function variantOf(entry: Entry, name: string, account: string): Entry {
  const described = (tool: ToolDefinition): ToolDefinition => ({
    ...tool,
    name,
    description: `${typeof tool.description === "string" ? `${tool.description}\n` : ""}Uses the account “${account}”.`,
  });
  return { ...entry, name, account, modern: described(entry.modern), legacy: described(entry.legacy) };
}

function plainName({ upstream, tool }: Entry): string {
  return `${upstream.name}-${tool}`;
}
