import { randomUUID } from "node:crypto";

// biome-ignore lint/suspicious/noExplicitAny: messages are looked at freely.
export type Json = Record<string, any>;

export type Status = "working" | "input_required" | "completed" | "failed" | "cancelled";

/** A tool's error that is one of JSON-RPC. */
export class JobFault extends Error {
  readonly code = -32603;
}

/** One task of a fake upstream: runs, may ask, ends once. */
export class Job {
  readonly id: string;
  readonly createdAt = new Date().toISOString();
  lastUpdatedAt = this.createdAt;
  status: Status = "working";
  result: Json | undefined;
  error: Json | undefined;
  /** What it wants to know, by key; unique over its life. */
  readonly questions = new Map<string, { request: Json; resolve(response: Json): void }>();
  readonly ended: Promise<void>;
  #end!: () => void;
  #asked = 0;
  #changes: (() => void)[] = [];

  constructor(work: (job: Job) => Promise<Json>, id: string = randomUUID()) {
    this.id = id;
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
    work(this).then(
      (result) => this.#finish("completed", () => (this.result = result)),
      (error) =>
        this.#finish("failed", () => (this.error = { code: error.code ?? -32603, message: error.message })),
    );
  }

  get isOver(): boolean {
    return this.status === "completed" || this.status === "failed" || this.status === "cancelled";
  }

  ask(request: Json): Promise<Json> {
    this.#asked += 1;
    const key = `${this.id.slice(0, 8)}-${this.#asked}`;
    return new Promise((resolve) => {
      this.questions.set(key, { request, resolve });
      this.#change("input_required");
    });
  }

  answer(key: string, response: Json): void {
    const question = this.questions.get(key);
    if (!question) return;
    this.questions.delete(key);
    if (this.questions.size === 0) this.#change("working");
    question.resolve(response);
  }

  cancel(): void {
    this.#finish("cancelled", () => this.questions.clear());
  }

  /** Resolves at the next change. */
  changed(): Promise<void> {
    return new Promise((resolve) => this.#changes.push(resolve));
  }

  #finish(status: Status, note: () => void): void {
    if (this.isOver) return;
    note();
    this.#change(status);
    this.#end();
  }

  #change(status: Status): void {
    this.status = status;
    this.lastUpdatedAt = new Date().toISOString();
    for (const told of this.#changes.splice(0)) told();
  }
}

export interface TaskTool {
  name: string;
  description: string;
  /** As an upstream of 2025-11-25 says it; absent: it makes no tasks. */
  taskSupport?: "optional" | "required";
  run(args: Json, job: Job | undefined): Promise<Json>;
  /** What is asked before there is a task. */
  first?: Json;
}

export const text = (said: string, more: Json = {}): Json => ({
  content: [{ type: "text", text: said }],
  ...more,
});

const form = (message: string, name: string, type: string): Json => ({
  method: "elicitation/create",
  params: { mode: "form", message, requestedSchema: { type: "object", properties: { [name]: { type } } } },
});

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms).unref());

/** What the conformance suite's task scenarios want, and enough for ours. */
export const taskTools: readonly TaskTool[] = [
  { name: "greet", description: "Greets", run: async ({ name }) => text(`Hello, ${name}!`) },
  {
    name: "slow_compute",
    description: "Takes its time",
    taskSupport: "optional",
    run: async ({ seconds = 0, label = "" }) => {
      await sleep(seconds * 1_000);
      return text(`computed ${label}`);
    },
  },
  {
    name: "failing_job",
    description: "Fails as a tool",
    taskSupport: "required",
    run: async () => {
      await sleep(100);
      return text("it did not work", { isError: true });
    },
  },
  {
    name: "protocol_error_job",
    description: "Fails as a request",
    taskSupport: "required",
    run: async () => {
      await sleep(50);
      throw new JobFault("the job broke");
    },
  },
  {
    name: "confirm_delete",
    description: "Asks before it deletes",
    taskSupport: "required",
    run: async ({ filename }, job) => {
      const { action, content } = await job!.ask(form(`Delete ${filename}?`, "confirm", "boolean"));
      return text(action === "accept" && content?.confirm ? `deleted ${filename}` : `kept ${filename}`);
    },
  },
  {
    name: "multi_input",
    description: "Asks two things at once",
    taskSupport: "required",
    run: async (_, job) => {
      const both = [
        job!.ask(form("First name?", "name", "string")),
        job!.ask(form("Second name?", "name", "string")),
      ];
      const told = await Promise.all(both);
      return text(told.map(({ content }) => content?.name).join(" and "));
    },
  },
  {
    name: "test_tool_with_task",
    description: "Asks, then becomes a task",
    taskSupport: "required",
    first: form("Who are you?", "name", "string"),
    run: async ({ name }) => {
      await sleep(50);
      return text(`computed for ${name}`);
    },
  },
];
