import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

/** A process of the benchmark that says `{ ready }` once and then answers each message with one. */
export class Child<Ready, Question, Answer> {
  readonly pid: number;
  readonly ready: Ready;
  readonly #process: ChildProcess;

  constructor(process: ChildProcess, ready: Ready) {
    this.#process = process;
    this.pid = process.pid!;
    this.ready = ready;
  }

  /** One question at a time. Rejects when the process ends instead of answering. */
  async ask(question: Question): Promise<Answer> {
    const answer = nextMessage<Answer>(this.#process);
    this.#process.send(question as object);
    return await answer;
  }

  async stop(): Promise<void> {
    await stopProcess(this.#process);
  }
}

/** Starts `bench/<file>` and waits until it is ready. */
export async function startChild<Ready, Question, Answer>(
  file: string,
  args: string[] = [],
): Promise<Child<Ready, Question, Answer>> {
  const process = fork(fileURLToPath(new URL(file, import.meta.url)), args, { serialization: "advanced" });
  return new Child(process, await nextMessage<Ready>(process));
}

/** What a child does: says it is ready, then answers. Ends when its parent does. */
export function serveParent<Question>(ready: object, answer: (question: Question) => unknown): void {
  process.on("message", async (question) => process.send?.((await answer(question as Question)) as object));
  process.on("disconnect", () => process.exit(0));
  process.send?.(ready);
}

/** SIGTERM, and the end awaited. */
export async function stopProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill("SIGTERM");
  await ended;
}

async function nextMessage<T>(child: ChildProcess): Promise<T> {
  const settled = new AbortController();
  try {
    const { signal } = settled;
    return await Promise.race([
      once(child, "message", { signal }).then(([message]) => message as T),
      once(child, "exit", { signal }).then(([code]) => {
        throw new Error(`${child.spawnfile} ${child.spawnargs.slice(1).join(" ")} ended with ${code}`);
      }),
    ]);
  } finally {
    settled.abort();
  }
}
