import type { TaskTool } from "../peers/task-jobs.ts";
import { text } from "../peers/task-jobs.ts";
import { questions } from "./peer-content.ts";
import type { Revision } from "./revisions.ts";

/** The first revision with tasks. */
export const firstWithTasks: Revision = "2025-11-25";

/** What the tools tell of a task that stays. */
interface Stay {
  begun(token: string): void;
  cancelled(token: string): void;
}

/** The tools of the matrix whose calls are tasks, of upstreams of 2025-11-25 and later. */
export const taskToolsOf = ({ begun, cancelled }: Stay): readonly TaskTool[] => [
  {
    name: "job",
    description: "Works for a while",
    taskSupport: "required",
    run: async ({ word }) => {
      // What it works on; clients wait for its end, however long that takes.
      await new Promise((resolve) => setTimeout(resolve, 30));
      return text(`done ${word}`);
    },
  },
  {
    name: "job-asks",
    description: "Wants to know something while it works",
    taskSupport: "required",
    run: async (_, job) => text(`told: ${JSON.stringify(await job!.ask(questions.form!))}`),
  },
  {
    name: "job-stays",
    description: "Ends only by cancellation",
    taskSupport: "required",
    run: ({ token }, job) => {
      begun(token);
      job!.ended.then(() => cancelled(token));
      return new Promise<never>(() => {});
    },
  },
];

export const taskToolNames: readonly string[] = taskToolsOf({ begun: () => {}, cancelled: () => {} }).map(
  ({ name }) => name,
);
