import { TaskIntercept } from "../peers/task-intercept.ts";
import {
  contentsOf,
  everyContentOf,
  foreignMetaOf,
  foreignResultOf,
  greetingOf,
  laterOf,
  promptsOf,
  resourcesOf,
  structuredList,
  structuredOf,
  templatesOf,
  toolsOf,
  uriOf,
} from "./peer-content.ts";
import { firstWithTasks, taskToolsOf } from "./peer-tasks.ts";
import { type Json, modern, type Revision } from "./revisions.ts";

/** One request as a server of either SDK hands it over. */
export interface PeerCall {
  method: string;
  params: Json;
  signal: AbortSignal;
  progress(progress: number, message: string): Promise<void>;
  log(data: string): Promise<void>;
  /** Puts one of `questions` to the client. Throws what the client refuses with. */
  ask(what: string): Promise<unknown>;
}

/** Something that an upstream says of itself, to whoever listens. */
export type Change =
  | { method: "notifications/resources/list_changed" }
  | { method: "notifications/resources/updated"; params: { uri: string } };

const text = (value: string): Json => ({ content: [{ type: "text", text: value }] });
const PAGE = 50;

/** What every upstream of the matrix does, whatever SDK and transport carry it. Results are sent as they stand here. */
export class Peer {
  readonly name: string;
  readonly revision: Revision;
  /** Absent before 2025-11-25. */
  readonly tasks?: TaskIntercept;
  readonly #begun = new Map<string, PromiseWithResolvers<void>>();
  readonly #cancelled = new Map<string, PromiseWithResolvers<void>>();
  readonly #opened = new Set<string>();
  readonly #listeners = new Set<(change: Change) => void>();
  readonly #later: Json[] = [];

  constructor(name: string, revision: Revision) {
    this.name = name;
    this.revision = revision;
    if (revision < firstWithTasks) return;
    const tools = taskToolsOf({
      begun: (token) => settled(this.#begun, token).resolve(),
      cancelled: (token) => settled(this.#cancelled, token).resolve(),
    });
    this.tasks = new TaskIntercept({ tools });
  }

  get form(): "core" | "extension" {
    return this.revision === modern ? "extension" : "core";
  }

  get capabilities(): Json {
    return {
      tools: {},
      resources: { subscribe: true, listChanged: true },
      prompts: {},
      logging: {},
      // The capability is of 2025-03-26; completion itself is older.
      ...(this.revision !== "2024-11-05" && { completions: {} }),
      ...this.tasks?.wire.capabilities(this.form),
    };
  }

  /** `tell` is called with whatever changes; returns what ends it. */
  onChange(tell: (change: Change) => void): () => void {
    this.#listeners.add(tell);
    return () => this.#listeners.delete(tell);
  }

  async answer({ method, params, ...call }: PeerCall): Promise<Json> {
    switch (method) {
      case "tools/list":
        return { tools: [...toolsOf(this.name), ...(this.tasks?.wire.listed(this.form) ?? [])] };
      case "tools/call":
        return await this.#tool(params.name, params.arguments ?? {}, call);
      case "resources/list":
        return { resources: [...resourcesOf(this.name), ...this.#later] };
      case "resources/templates/list":
        return { resourceTemplates: templatesOf(this.name) };
      case "resources/read":
        return this.#read(params.uri);
      case "prompts/list":
        return page(promptsOf(this.name), params.cursor);
      case "resources/subscribe":
      case "resources/unsubscribe":
        return {};
      case "prompts/get":
        return greetingOf(this.name, params.arguments?.who);
      case "completion/complete":
        return { completion: { values: this.#completed(params), total: 1, hasMore: false } };
      default:
        throw failure(-32601, "Method not found");
    }
  }

  async #tool(name: string, args: Json, call: Omit<PeerCall, "method" | "params">): Promise<Json> {
    switch (name) {
      case "content":
        return { content: everyContentOf(this.name) };
      case "foreign":
        return { ...foreignResultOf(this.name), _meta: foreignMetaOf(this.name) };
      case "structured":
        return { ...text("two rows"), structuredContent: structuredOf(this.name) };
      case "list":
        return { content: [], structuredContent: structuredList };
      case "count":
        for (const step of [1, 2, 3]) await call.progress(step, `step ${step} of ${this.name}`);
        return text("counted");
      case "speak":
        await call.log(args.word);
        return text("spoken");
      case "wait":
        return await this.#wait(args.token, call);
      case "was-cancelled":
        await settled(this.#cancelled, args.token).promise;
        return text(`${args.token} was cancelled`);
      case "has-begun":
        await settled(this.#begun, args.token).promise;
        return text(`${args.token} has begun`);
      case "ask":
        return await this.#ask(args.what, call);
      case "page-first":
        return this.#pageFirst(args.token);
      case "add-resource":
        this.#later.push({ uri: laterOf(this.name, args.token), name: args.token });
        this.#tell({ method: "notifications/resources/list_changed" });
        return text("added");
      case "write":
        this.#tell({ method: "notifications/resources/updated", params: { uri: uriOf(this.name) } });
        return text("written");
      case "fail":
        return { ...text("It failed, as asked"), isError: true };
      case "refuse":
        throw failure(4711, "Refused, as asked", { why: [1, { deep: true }] });
      default:
        throw failure(-32602, `Unknown tool ${name}`);
    }
  }

  #tell(change: Change): void {
    for (const tell of this.#listeners) tell(change);
  }

  /** Says by progress that it is there, and ends only by cancellation. */
  async #wait(token: string, { signal, progress }: Pick<PeerCall, "signal" | "progress">): Promise<Json> {
    const gone = settled(this.#cancelled, token);
    signal.addEventListener("abort", () => gone.resolve());
    if (signal.aborted) gone.resolve();
    await progress(1, "waiting");
    await gone.promise;
    return text("cancelled");
  }

  async #ask(what: string, { ask }: Pick<PeerCall, "ask">): Promise<Json> {
    try {
      return text(`told: ${JSON.stringify(await ask(what))}`);
    } catch (error) {
      if (!(error instanceof Error) || !("code" in error)) throw error;
      return text(`refused: ${error.code}`);
    }
  }

  /** 2025-11-25 "URL Elicitation Required Error": until the page was opened, and we take it for that once it was named. */
  #pageFirst(token: string): Json {
    if (this.#opened.has(token)) return text("the page was opened");
    this.#opened.add(token);
    const elicitation = {
      mode: "url",
      elicitationId: token,
      url: `https://provider.example/${token}`,
      message: "Open it",
    };
    throw failure(-32042, "This request requires more information.", { elicitations: [elicitation] });
  }

  #read(uri: string): Json {
    const contents = contentsOf(this.name, uri);
    if (contents) return { contents };
    throw failure(this.revision === modern ? -32602 : -32002, "Resource not found", { uri });
  }

  #completed({ ref, argument, context }: Json): string[] {
    const place = ref.type === "ref/prompt" ? ref.name : ref.uri;
    return [`${argument.value}-${place}`, ...(context ? [`with ${context.arguments.before}`] : [])];
  }
}

/** One of `promises`, made when it is first spoken of. */
function settled(promises: Map<string, PromiseWithResolvers<void>>, token: string) {
  const known = promises.get(token) ?? Promise.withResolvers<void>();
  promises.set(token, known);
  return known;
}

/** Cursors of its own, an empty one among them: it is one like any other (protocol section 1.9). */
function page(items: Json[], cursor: string | undefined): Json {
  const from = cursor === undefined ? 0 : cursor === "" ? PAGE : Number(cursor);
  const next = from + PAGE;
  return {
    prompts: items.slice(from, next),
    ...(next < items.length && { nextCursor: next === PAGE ? "" : String(next) }),
  };
}

function failure(code: number, message: string, data?: unknown): Error {
  return Object.assign(new Error(message), { code, data });
}
