import type { Seal } from "../base/index.ts";
import type { TaskForm } from "../relay/index.ts";
import type { Caller } from "./caller.ts";

/** A task at an upstream, as far as our id of it says. */
export interface TaskRef {
  upstreamId: string;
  /** The upstream's own id; of one that is kept here, ours. */
  own: string;
  form: TaskForm | "kept";
  /** Whose at the upstream, where the caller has several accounts. */
  account?: string;
  /** The session with an older upstream that it was made in. */
  session?: string;
  /** The tool it is a call of, in the upstream's name; absent where every tool of the upstream may be used. */
  tool?: string;
}

/** The longest that comes of the longest parts is half of it. It is also a header, so it has to stay below that limit. */
const MAX_LENGTH = 8_192;
const PURPOSE = "task";

/**
 * Ids of tasks as clients see them. The id is the sealed reference, bound to whoever the task was made for: any replica
 * serves it, nothing is stored, and in other hands it is no id at all. The same task always has the same id.
 */
export class TaskIds {
  readonly #seal: Seal;

  constructor(seal: Seal) {
    this.#seal = seal;
  }

  of(caller: Caller, { upstreamId, own, form, account, session, tool }: TaskRef): string {
    // The order of members is part of it: what is the same must read the same.
    const text = JSON.stringify([upstreamId, own, form, account ?? null, session ?? null, tool ?? null]);
    return this.#seal.sealAlike(text, contextOf(caller)).toString("base64url");
  }

  /** Undefined for anything that is no id of this caller's. */
  open(caller: Caller, id: unknown): TaskRef | undefined {
    if (typeof id !== "string" || id.length > MAX_LENGTH) return undefined;
    try {
      const text = this.#seal.openText(Buffer.from(id, "base64url"), contextOf(caller));
      const [upstreamId, own, form, account, session, tool] = JSON.parse(text);
      return {
        upstreamId,
        own,
        form,
        account: account ?? undefined,
        session: session ?? undefined,
        tool: tool ?? undefined,
      };
    } catch {
      return undefined;
    }
  }
}

function contextOf({ owner, binding }: Caller): [string, ...string[]] {
  return [PURPOSE, owner.mode, owner.id, binding];
}
