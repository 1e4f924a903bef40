import type { Log } from "../base/index.ts";
import type { Credential, Opened } from "../vault/index.ts";
import type { RelayCall } from "./call.ts";
import { type Access, OpenedAttempt } from "./opened-attempt.ts";
import type { TaskNews } from "./task-news.ts";

interface Parts {
  log: Log;
  /** Milliseconds between two looks at the credentials. */
  checkMs: number;
  /** The credential, warm or not; `warm` is asked without waiting. */
  warm(call: RelayCall): Opened | Access | undefined;
  open(call: RelayCall): Promise<Opened | Access>;
}

interface Checked {
  call: RelayCall;
  credential: Credential;
  news: TaskNews;
}

/** News of tasks as long as the credential counts with which they were made: no news reach whose is revoked or another's. */
export class CheckedNews {
  readonly #parts: Parts;
  readonly #checked = new Set<Checked>();
  readonly #timer: NodeJS.Timeout;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#timer = setInterval(() => this.check(), parts.checkMs).unref();
  }

  add(made: RelayCall, credential: Credential, news: TaskNews): void {
    const { upstream, owner, account, caller, client } = made;
    const { signal } = new AbortController();
    const call = { upstream, owner, account, caller, client, signal, method: "", params: undefined };
    const one = { call, credential, news };
    this.#checked.add(one);
    news.whenEnded(() => this.#checked.delete(one));
  }

  /** Called by a timer. */
  check(): void {
    for (const one of this.#checked) {
      const warm = this.#parts.warm(one.call);
      if (warm?.outcome === "ready") this.#judge(one, warm);
      else
        this.#parts.open(one.call).then(
          (access) => this.#judge(one, access),
          (error: unknown) => this.#parts.log.warn("relay.news_not_checked", { error }),
        );
    }
  }

  /** Ends all of it. */
  close(): void {
    clearInterval(this.#timer);
    for (const { news } of [...this.#checked]) news.stop();
  }

  #judge(one: Checked, access: Opened | Access): void {
    const { call, credential, news } = one;
    // What cannot be asked just now is asked again.
    if (access.outcome === "unavailable") return;
    const now = access.outcome === "ready" ? access.credential : undefined;
    if (access.outcome !== "ready" || now?.id !== credential.id) {
      news.renew(undefined);
      news.stop();
    } else if (now.generation !== credential.generation) {
      one.credential = now;
      if (!news.renew(new OpenedAttempt(call, access))) news.stop();
    }
  }
}
