import type { Rules } from "../access/index.ts";
import type { Json, JsonObject } from "../base/index.ts";
import type { Relayed, TaskAnswer } from "../relay/index.ts";
import type { Upstream } from "../upstreams/index.ts";
import type { Caller } from "./caller.ts";
import type { Target } from "./catalog.ts";
import { readFilters } from "./filters.ts";
import type { McpParts } from "./parts.ts";
import { code, Refusal } from "./refusal.ts";
import type { TaskIds } from "./task-ids.ts";
import type { Stepped } from "./task-step.ts";
import { listsTasks } from "./task-support.ts";
import { taskAs, withRelated } from "./task-words.ts";
import type { ToolCall } from "./tool-call.ts";

/** One account at one upstream, and how far its list was read. */
interface Source {
  upstream: Upstream;
  account?: string;
  cursor?: string;
}

interface Page {
  tasks: JsonObject[];
  next?: string;
}

/** How long a slow upstream may hold a page up; it is left out then. */
const PAGE_MS = 5_000;
const MAX_SOURCES = 32;
const MAX_CURSOR = 1_024;
const PURPOSE = "task_cursor";

/**
 * The tasks of a caller at the upstreams that list them, one page of each side by side (2025-11-25 "Listing Tasks"). Who does
 * not answer is left out of the page; the others are there.
 */
export class TaskLists {
  readonly #parts: Pick<McpParts, "seal" | "vault" | "world">;
  readonly #ids: TaskIds;

  constructor(parts: Pick<McpParts, "seal" | "vault" | "world">, ids: TaskIds) {
    this.#parts = parts;
    this.#ids = ids;
  }

  /** `ask`: one `tasks/list` at one upstream. Throws `Refusal` -32602 for a cursor that is not ours. */
  async page(
    call: ToolCall,
    upstreams: readonly Upstream[],
    rules: Rules,
    ask: (target: Target, call: ToolCall) => Promise<Stepped>,
  ): Promise<JsonObject> {
    const sources = await this.#sources(call, upstreams, rules);
    const departure = new AbortController();
    const leave = () => departure.abort();
    const late = setTimeout(leave, PAGE_MS);
    call.signal.addEventListener("abort", leave);
    try {
      const listing = { ...call, signal: departure.signal, onNotification: undefined, ask: undefined };
      const pages = await Promise.all(sources.map((source) => this.#of(source, listing, ask)));
      const result: JsonObject = { tasks: pages.flatMap(({ tasks }) => tasks) };
      const rest = sources.flatMap((source, at) => {
        const next = pages[at]!.next;
        return next === undefined ? [] : [[source.upstream.id, source.account ?? null, next]];
      });
      if (rest.length > 0) result.nextCursor = this.#write(call.caller, rest);
      return result;
    } finally {
      clearTimeout(late);
      call.signal.removeEventListener("abort", leave);
    }
  }

  async #of(
    source: Source,
    listing: ToolCall,
    ask: (target: Target, call: ToolCall) => Promise<Stepped>,
  ): Promise<Page> {
    const { upstream, account, cursor } = source;
    const params: JsonObject = cursor === undefined ? {} : { cursor };
    let used: Pick<Relayed, "account"> & TaskAnswer = {};
    const target: Target = {
      name: "tasks/list",
      upstream,
      tool: "",
      paramHeaders: [],
      account,
      method: "tasks/list",
      about: { learned: (relayed) => (used = relayed) },
    };
    try {
      const listed = await ask(target, { ...listing, params });
      if ("reply" in listed) {
        this.#parts.world.log.info("mcp.tasks_not_listed", { upstream: upstream.name });
        return { tasks: [] };
      }
      const { tasks, nextCursor } = listed.result;
      const { session } = used;
      const id = {
        upstreamId: upstream.id,
        form: "core",
        account: used.account ?? account,
        session,
      } as const;
      const named = (tasks as JsonObject[]).map((task) => {
        const own = task.taskId as string;
        return taskAs(
          "core",
          this.#ids.of(listing.caller, { ...id, own }),
          withRelated(task, undefined),
          "core",
        );
      });
      const more = typeof nextCursor === "string" && nextCursor.length <= MAX_CURSOR;
      return { tasks: named, next: more ? nextCursor : undefined };
    } catch (error) {
      this.#parts.world.log.info("mcp.tasks_not_listed", { upstream: upstream.name, error });
      return { tasks: [] };
    }
  }

  async #sources(call: ToolCall, upstreams: readonly Upstream[], rules: Rules): Promise<Source[]> {
    const { caller, params, headers } = call;
    const filters = readFilters(headers);
    const listing = upstreams.filter((one) => listsTasks(one, rules) && filters.allowUpstream(one));
    if (params.cursor !== undefined) return this.#read(caller, params.cursor, listing);
    const { vault } = this.#parts;
    const ids = listing.map(({ id }) => id);
    const [labels, accounts] = await Promise.all([
      vault.severalAccounts(caller.owner),
      vault.statuses(caller.owner, ids),
    ]);
    return listing
      .filter(({ id }) => {
        // Nobody is asked to connect an account for the sake of a list.
        const own = accounts.get(id);
        return own !== undefined && !own.orphaned && own.status === "active";
      })
      .flatMap((upstream): Source[] => {
        const accounts = labels.get(upstream.id);
        if (!accounts) return [{ upstream }];
        // The default comes first; without a label there is nothing to call it by.
        return accounts.map((account, at) =>
          at === 0 && account === "" ? { upstream } : { upstream, account },
        );
      })
      .slice(0, MAX_SOURCES);
  }

  #write(caller: Caller, rest: Json): string {
    return this.#parts.seal.seal(JSON.stringify(rest), [PURPOSE, caller.binding]).toString("base64url");
  }

  #read(caller: Caller, cursor: unknown, listing: readonly Upstream[]): Source[] {
    let rest: unknown;
    try {
      const text = this.#parts.seal.openText(Buffer.from(String(cursor), "base64url"), [
        PURPOSE,
        caller.binding,
      ]);
      rest = JSON.parse(text);
    } catch {
      const message = "The cursor is not one of ours. List from the start.";
      throw new Refusal(code.invalidParams, message, { status: 200 });
    }
    return (rest as [string, string | null, string][]).flatMap(([id, account, at]): Source[] => {
      const upstream = listing.find((one) => one.id === id);
      return upstream ? [{ upstream, account: account ?? undefined, cursor: at }] : [];
    });
  }
}
