import type { JsonObject } from "../base/index.ts";
import type { Attempt } from "./attempt.ts";
import type { Notification } from "./call.ts";
import { isObject } from "./message.ts";
import { Coalescer } from "./watch-coalescer.ts";

/** What is told of a task before somebody listens, and tasks of one session or connection that are listened to. */
const MAX_EARLY = 16;
const MAX_FOLLOWED = 256;

/** Listens with another credential from now on, or with none any more; false: that cannot be. */
type Renew = (attempt: Attempt | undefined) => boolean;

/**
 * What an upstream of 2025-11-25 tells of one task after the call that it was made of was answered: its progress, its
 * status. Each of both at most once a second, the last of it for certain (MC-39).
 */
export class TaskNews {
  readonly renew: Renew;
  readonly #ended: (() => void)[] = [];
  readonly #early: Notification[] = [];
  readonly #coalescer = new Coalescer((method, params) => this.#tell({ method, params }));
  #listener: ((news: Notification) => void) | undefined;
  #isOver = false;

  constructor(renew: Renew = () => false) {
    this.renew = renew;
  }

  take(method: string, params: JsonObject): void {
    if (!this.#isOver) this.#coalescer.take(method, params);
  }

  /** From now on `listener` is told, of what came before as well. */
  hear(listener: (news: Notification) => void): void {
    this.#listener = listener;
    for (const news of this.#early.splice(0)) listener(news);
  }

  /** Calls `listener` once when nothing comes any more; at once if that is so. */
  whenEnded(listener: () => void): void {
    if (this.#isOver) listener();
    else this.#ended.push(listener);
  }

  /** Nobody wants to hear more, or there is no more to hear. */
  stop(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#coalescer.close();
    this.#early.length = 0;
    for (const listener of this.#ended.splice(0)) listener();
  }

  #tell(news: Notification): void {
    if (this.#listener) this.#listener(news);
    else if (this.#early.length < MAX_EARLY) this.#early.push(news);
  }
}

interface Followed {
  token: string | number;
  /** The upstream's own id. */
  own: string;
  news: TaskNews;
}

/** Tasks that were made in one session or on one connection, and that somebody wants to hear of. */
export class FollowedTasks {
  readonly #followed = new Set<Followed>();

  get size(): number {
    return this.#followed.size;
  }

  /** `token`: of the call's progress. Undefined: there are too many. */
  add(token: string | number, own: string, renew?: Renew): TaskNews | undefined {
    if (this.#followed.size >= MAX_FOLLOWED) return undefined;
    const one: Followed = { token, own, news: new TaskNews(renew) };
    this.#followed.add(one);
    one.news.whenEnded(() => this.#followed.delete(one));
    return one.news;
  }

  /** True: it was about one of these, and no call is meant. */
  take(method: string, params: JsonObject | undefined): boolean {
    if (this.#followed.size === 0 || params === undefined) return false;
    const isProgress = method === "notifications/progress";
    if (!isProgress && method !== "notifications/tasks/status") return false;
    let isTaken = false;
    for (const { token, own, news } of this.#followed) {
      if (isProgress ? params.progressToken !== token : params.taskId !== own) continue;
      news.take(method, params);
      isTaken = true;
    }
    return isTaken;
  }

  end(): void {
    for (const { news } of [...this.#followed]) news.stop();
  }
}

/** The upstream's own id of the task that a result is, in the form of 2025-11-25. */
export function taskIn(result: JsonObject): string | undefined {
  const { task } = result;
  return isObject(task) && typeof task.taskId === "string" ? task.taskId : undefined;
}
