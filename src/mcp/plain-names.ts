import type { Upstreams } from "../upstreams/index.ts";
import type { Caller } from "./caller.ts";
import type { Entry } from "./catalog.ts";

/** Names at a virtual MCP with `names: "plain"`: those of its one upstream, without the upstream's in front. */
export class PlainNames {
  readonly #upstreams: Pick<Upstreams, "find">;

  constructor(upstreams: Pick<Upstreams, "find">) {
    this.#upstreams = upstreams;
  }

  /** What stands in front of the names in the catalogue and is not shown here; undefined: all of it is shown. */
  hidden({ virtualMcp }: Pick<Caller, "virtualMcp">): string | undefined {
    if (virtualMcp?.names !== "plain") return undefined;
    const only = virtualMcp.tools[0];
    const upstream = only && this.#upstreams.find(only.upstreamId);
    return upstream && `${upstream.name}-`;
  }

  /** The name in the catalogue of what this caller calls `name`. */
  full(caller: Pick<Caller, "virtualMcp">, name: string): string {
    if (caller.virtualMcp === undefined) return name;
    return `${this.hidden(caller) ?? ""}${name}`;
  }

  /** The entries as this caller sees them; what is ours and not the upstream's keeps its name, unless it is taken. */
  shown(caller: Pick<Caller, "virtualMcp">, entries: readonly Entry[]): readonly Entry[] {
    const hidden = this.hidden(caller);
    if (hidden === undefined) return entries;
    const plain = new Map<string, Entry>();
    for (const entry of entries) {
      if (entry.name.startsWith(hidden)) {
        const shown = renamed(entry, entry.name.slice(hidden.length));
        plain.set(shown.name, shown);
      }
    }
    for (const entry of entries) {
      if (!entry.name.startsWith(hidden) && !plain.has(entry.name)) plain.set(entry.name, entry);
    }
    return [...plain.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }
}

function renamed(entry: Entry, name: string): Entry {
  return { ...entry, name, modern: { ...entry.modern, name }, legacy: { ...entry.legacy, name } };
}
