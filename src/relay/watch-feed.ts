import type { Gone, JsonObject, World } from "../base/index.ts";
import type { Credential, Opened } from "../vault/index.ts";
import type { Attempt, Wants } from "./attempt.ts";
import type { RelayCall } from "./call.ts";
import { type Circuits, type Told, toldBy } from "./circuits.ts";
import { RelayFault, relayFault } from "./fault.ts";
import type { Access } from "./opened-attempt.ts";
import { Pace } from "./pace.ts";
import type { RelayVault } from "./parts.ts";
import { Rejections } from "./rejection.ts";
import type { WatchFor } from "./watch.ts";
import { isNothing, unionOf, type WatchWanted } from "./watch-wanted.ts";

/** What a stream is there for, and whom it tells. */
export interface Hearing {
  /** May change while it stands; `changed` is called then. */
  wanted: Required<WatchWanted>;
  changed?: (() => void) | undefined;
  /** From now on the upstream tells. */
  stands(): void;
  heard(method: string, params: JsonObject): void;
}

/** Why a stream is over where it did not break. `wants`: what the upstream accepts in place of the credential. */
export interface End {
  why: "ended" | "rejected" | "other_era" | "not_offered";
  wants?: Wants | undefined;
}

export interface FeedParts {
  world: World;
  circuits: Circuits;
  vault: Pick<RelayVault, "markRejected" | "wantScopes">;
  /** The credential, warm or not; `warm` is asked without waiting. */
  open(call: RelayCall, notGeneration: number | undefined): Promise<Opened | Access>;
  warm(call: RelayCall): Opened | Access | undefined;
  attempt(call: RelayCall, access: Access): Attempt;
  /** Opens a stream and stays with it until it is over. Throws `RelayFault` when it breaks. */
  stand(attempt: Attempt, hearing: Hearing, gone: Gone): Promise<End>;
  /** Milliseconds between two looks at the credentials, and of the first pause; a test has no time. */
  checkMs: number;
  firstPauseMs?: number;
}

export interface FeedListener {
  heard(method: string, params: JsonObject): void;
  lost(reason: string): void;
  opened(): void;
  reopened(): void;
  closed(): void;
}

/** A stream that stood this long was healthy: its end counts as the first again. */
const HEALTHY_MS = 60_000;
/** How long an upstream is left alone that has nothing to tell, and an owner without a credential. */
const NOTHING_MS = 10 * 60_000;
const NEEDS_USER_MS = 60_000;

type Over = End | { why: "needs_user" } | { why: "broken"; fault: RelayFault } | { why: "restarted" };

/** One stream, kept open as long as somebody wants it: the credential, the pauses, and what its end means. */
export class Feed {
  wanted: Required<WatchWanted> = unionOf([]);
  /** What was said when it was lost; undefined while it stands, or was not tried yet. */
  lostFor: string | undefined;
  readonly #parts: FeedParts;
  readonly #target: WatchFor;
  readonly #listener: FeedListener;
  readonly #pace: Pace;
  #running: Promise<void> = Promise.resolve();
  #isClosed = false;
  #isChecking = false;
  /** It stood, or was said to be lost, and does not stand again yet. */
  #isLost = false;
  #stoodAt: number | undefined;
  /** Ends the pause that is being made, where a changed wish may. */
  #wake: (() => void) | undefined;
  #ending: AbortController | undefined;
  #isRestarting = false;
  #hearing: Hearing | undefined;
  #credential: Credential | undefined;
  /** What the last stream was for. */
  #tried: WatchWanted | undefined;
  /** Since it stood last. */
  #rejections: Rejections | undefined;

  constructor(parts: FeedParts, target: WatchFor, listener: FeedListener) {
    this.#parts = parts;
    this.#target = target;
    this.#listener = listener;
    this.#pace = new Pace(parts.world.random, parts.firstPauseMs);
  }

  change(wanted: Required<WatchWanted>): void {
    const isFirst = this.#ending === undefined;
    this.wanted = wanted;
    if (isFirst) {
      const { log } = this.#parts.world;
      this.#running = this.#run().catch((error: unknown) => log.error("relay.watch_crashed", { error }));
    } else if (this.#hearing === undefined) this.#wake?.();
    else if (isNothing(wanted)) this.#restart();
    else {
      this.#hearing.wanted = wanted;
      this.#hearing.changed?.();
    }
  }

  /** Resolves when nothing is left of it. */
  close(): Promise<void> {
    this.#isClosed = true;
    this.#ending?.abort();
    this.#wake?.();
    this.#listener.closed();
    return this.#running;
  }

  /** Whether the stream is still listened to with the credential that counts now; otherwise it ends. */
  check(): void {
    const credential = this.#credential;
    if (!credential || this.#isChecking || this.#isClosed) return;
    const call = this.#call();
    const warm = this.#parts.warm(call);
    if (warm?.outcome === "ready" && isSameCredential(warm.credential, credential)) return;
    this.#isChecking = true;
    this.#parts
      .open(call, undefined)
      .then((access) => {
        const isGone = access.outcome === "needs_user";
        const isOther = access.outcome === "ready" && !isSameCredential(access.credential, credential);
        if ((isGone || isOther) && this.#credential === credential) this.#restart();
      })
      .catch((error: unknown) => this.#parts.world.log.warn("relay.watch_not_checked", { error }))
      .finally(() => {
        this.#isChecking = false;
      });
  }

  async #run(): Promise<void> {
    while (!this.#isClosed) {
      if (isNothing(this.wanted)) {
        this.#ending ??= new AbortController();
        await this.#rest(undefined, true);
        continue;
      }
      const over = await this.#stand();
      if (this.#isClosed) return;
      const { ms, mayWake } = this.#after(over);
      if (ms > 0 && !(mayWake && this.#tried !== this.wanted)) await this.#rest(ms, mayWake);
    }
  }

  /** From the credential to the end of the stream. Never throws. */
  async #stand(): Promise<Over> {
    const { circuits, world } = this.#parts;
    const { upstream } = this.#target;
    const ending = new AbortController();
    this.#ending = ending;
    this.#isRestarting = false;
    this.#stoodAt = undefined;
    if (circuits.refuses(upstream)) return { why: "broken", fault: new RelayFault("upstream_unreachable") };
    let isTold = false;
    const tell = (told: Told) => {
      if (!isTold) circuits.ended(upstream, told);
      isTold = true;
    };
    try {
      return await this.#hear(ending.signal, () => tell("reached"));
    } catch (error) {
      const known = relayFault(error);
      const fault =
        known instanceof RelayFault ? known : new RelayFault("upstream_protocol", { cause: error });
      if (known !== fault) world.log.error("relay.watch_failed", { upstream: upstream.name, error });
      tell(toldBy(fault));
      return this.#isRestarting ? { why: "restarted" } : { why: "broken", fault };
    } finally {
      tell("unknown");
      this.#tried = this.#hearing?.wanted ?? this.wanted;
      this.#hearing = undefined;
      this.#credential = undefined;
    }
  }

  async #hear(gone: AbortSignal, reached: () => void): Promise<Over> {
    const { open, attempt, stand, vault } = this.#parts;
    const call = this.#call(gone);
    const access = await open(call, this.#rejections?.notGeneration);
    if (access.outcome === "needs_user") return { why: "needs_user" };
    if (access.outcome === "unavailable") throw new RelayFault(access.reason ?? "credential_unavailable");
    if (gone.aborted || isNothing(this.wanted)) return { why: "restarted" };
    const { credential } = access;
    this.#credential = credential;
    this.#hearing = this.#newHearing(gone, reached);
    const end = await stand(attempt(call, access), this.#hearing, gone);
    if (this.#isRestarting) return { why: "restarted" };
    reached();
    if (end.why !== "rejected") return end;
    // Nobody is asked to agree to more only so that we may listen.
    if (!credential || (end.wants !== undefined && end.wants !== "nonce"))
      throw new RelayFault("upstream_refused");
    this.#rejections ??= new Rejections(vault, call.upstream);
    const answer = await this.#rejections.after(credential, end.wants);
    return { why: answer ? "needs_user" : "restarted" };
  }

  #newHearing(gone: AbortSignal, reached: () => void): Hearing {
    return {
      wanted: this.wanted,
      stands: () => {
        if (gone.aborted || this.#stoodAt !== undefined) return;
        reached();
        this.#stoodAt = this.#now();
        this.#rejections = undefined;
        if (this.#isLost) this.#listener.reopened();
        else this.#listener.opened();
        this.#isLost = false;
        this.lostFor = undefined;
      },
      heard: (method, params) => {
        if (!gone.aborted) this.#listener.heard(method, params);
      },
    };
  }

  /** How long to stay away, and whether another wish ends that. */
  #after(over: Over): { ms: number; mayWake: boolean } {
    const stood = this.#stoodAt;
    if (stood !== undefined && this.#now() - stood >= HEALTHY_MS) this.#pace.reset();
    // A renewed credential, or nothing wanted any more: no failure of anybody.
    if (over.why === "restarted") {
      if (stood !== undefined) this.#isLost = true;
      return { ms: 0, mayWake: false };
    }
    const reason = over.why === "broken" ? over.fault.code : over.why;
    if (over.why !== "ended" && reason !== this.lostFor) {
      this.lostFor = reason;
      this.#parts.world.log.info("relay.watch_lost", { upstream: this.#target.upstream.name, reason });
      this.#listener.lost(reason);
    }
    this.#isLost = true;
    this.#rejections = undefined;
    if (over.why === "not_offered") return { ms: this.#pace.spread(NOTHING_MS), mayWake: true };
    if (over.why === "needs_user") return { ms: this.#pace.spread(NEEDS_USER_MS), mayWake: false };
    return { ms: this.#pace.next(), mayWake: false };
  }

  /** `ms` undefined: until it is woken. */
  #rest(ms: number | undefined, mayWake: boolean): Promise<void> {
    if (this.#isClosed) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#wake = undefined;
        resolve();
      };
      const timer = ms === undefined ? undefined : setTimeout(done, ms).unref();
      this.#wake = () => {
        if (mayWake || this.#isClosed) done();
      };
    });
  }

  #restart(): void {
    this.#isRestarting = true;
    this.#ending?.abort();
  }

  #call(signal: Gone = new AbortController().signal): RelayCall {
    const { upstream, owner, account } = this.#target;
    const client = { era: "modern", capabilities: {} } as const;
    return { owner, account, upstream, method: "subscriptions/listen", params: undefined, client, signal };
  }

  #now(): number {
    return this.#parts.world.now().getTime();
  }
}

function isSameCredential(one: Credential | undefined, other: Credential): boolean {
  return one !== undefined && one.id === other.id && one.generation === other.generation;
}
