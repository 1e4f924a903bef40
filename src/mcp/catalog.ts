import { decide, type Rules } from "../access/index.ts";
import type { JsonObject, Log } from "../base/index.ts";
import type { TaskAnswer } from "../relay/index.ts";
import type { ToolDefinition, Upstream } from "../upstreams/index.ts";
import type { Filters } from "./filters.ts";
import { isUsableOutputSchema } from "./output-schema.ts";
import { type ParamHeader, paramHeadersOf } from "./param-headers.ts";
import type { McpParts } from "./parts.ts";
import { readable } from "./readable.ts";
import { type TaskSupport, taskSupport, withoutTaskSupport, withTaskSupport } from "./task-support.ts";

/** What a request is for, resolved to one upstream: a tool, unless `method` says otherwise. */
export interface Target {
  /** What clients call it; for a tool `{upstream}-{tool}`, found by the map, never taken apart. */
  name: string;
  upstream: Upstream;
  /** The upstream's own name for it. */
  tool: string;
  paramHeaders: readonly ParamHeader[];
  /** Which of the caller's accounts it uses, where the name says so. */
  account?: string;
  /** Absent: `tools/call`. */
  method?: string;
  /** Whether calls of the tool can become tasks, and how. */
  tasks?: TaskSupport;
  /** Of requests about tasks: which one, where they are about one. */
  about?: AboutTasks;
  /** The client's parameters in the upstream's own names. */
  sent?(params: JsonObject): JsonObject;
  /** The upstream's result in the names that clients see. */
  received?(result: JsonObject): JsonObject;
}

export interface AboutTasks {
  /** By our id and by the upstream's. */
  id?: string;
  own?: string;
  /** The session with the upstream that it was made in. */
  session?: string;
  /** Looked at once more: what it said the first time stands in the audit trail. */
  again?: boolean;
  /** Told what was used for the request. */
  learned?(relayed: { account?: string } & TaskAnswer): void;
}

/** A tool under the name clients see. */
export interface Entry extends Target {
  /** As listed to clients of each era. */
  modern: ToolDefinition;
  legacy: ToolDefinition;
}

/** MC-10: what a person approves must be what they see. The limit is that of the tool-name rules (SEP-986). */
const NAME = /^[\x21-\x7e](?:[\x20-\x7e]{0,126}[\x21-\x7e])?$/;

/** Every tool of every upstream, in the order of exposed names; rebuilt only when an upstream changed. */
export class Catalog {
  readonly #upstreams: McpParts["upstreams"];
  readonly #log: Log;
  #version: number | undefined;
  #byName: ReadonlyMap<string, Entry> = new Map();
  #reported = "";

  constructor(upstreams: McpParts["upstreams"], log: Log) {
    this.#upstreams = upstreams;
    this.#log = log;
  }

  /** The tool of this name, if the caller may use it now. The same decision as in `list` (ID-30). */
  find(name: string, rules: Rules, filters: Filters): Entry | undefined {
    const entry = this.#current().get(name);
    return entry && allowed(entry, rules, filters) ? entry : undefined;
  }

  list(rules: Rules, filters: Filters): Entry[] {
    return [...this.#current().values()].filter((entry) => allowed(entry, rules, filters));
  }

  /** Everything by name, whoever may use it; another map once something changed. */
  all(): ReadonlyMap<string, Entry> {
    return this.#current();
  }

  #current(): ReadonlyMap<string, Entry> {
    if (this.#version === this.#upstreams.version) return this.#byName;
    const { version } = this.#upstreams;
    this.#byName = this.#build();
    this.#version = version;
    return this.#byName;
  }

  #build(): Map<string, Entry> {
    const entries = new Map<string, Entry>();
    const hidden = new Set<string>();
    for (const upstream of this.#upstreams.all()) {
      for (const definition of upstream.tools) {
        const name = `${upstream.name}-${definition.name}`;
        const tool = readable("tool", definition);
        const paramHeaders = tool && paramHeadersOf(tool.inputSchema);
        // MC-18: who comes first must not win, or a newcomer could stand in for a tool in use (MC-19).
        const usable =
          NAME.test(definition.name) && paramHeaders !== undefined && !entries.has(name) && !hidden.has(name);
        if (usable) entries.set(name, describe(name, upstream, tool!, paramHeaders));
        else {
          hidden.add(name);
          entries.delete(name);
        }
      }
    }
    this.#report([...hidden].sort());
    return new Map([...entries].sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  /** Once per change, not once per rebuild. */
  #report(hidden: string[]): void {
    const names = JSON.stringify(hidden.slice(0, 100));
    if (names === this.#reported) return;
    this.#reported = names;
    if (hidden.length > 0)
      this.#log.warn("catalog.tools_hidden", { tools: hidden.slice(0, 100), count: hidden.length });
  }
}

export function allowed(entry: Entry, rules: Rules, filters: Pick<Filters, "allow">): boolean {
  return decide(rules, entry.upstream, entry.tool) && filters.allow(entry);
}

function describe(name: string, upstream: Upstream, tool: ToolDefinition, headers: ParamHeader[]): Entry {
  const tasks = taskSupport(upstream, tool);
  const modern = withoutTaskSupport({ ...tool, name });
  const legacy = { ...withTaskSupport({ ...tool, name }, tasks) };
  // Before 2026-07-28 an output schema is of an object; older clients refuse the whole list otherwise.
  if (legacy.outputSchema !== undefined && !isUsableOutputSchema(legacy.outputSchema))
    delete legacy.outputSchema;
  const entry: Entry = { name, upstream, tool: tool.name, paramHeaders: headers, modern, legacy };
  if (tasks !== undefined) entry.tasks = tasks;
  return entry;
}
