import { type Owner, Problem, type Vouched, type World } from "../base/index.ts";
import { Announcements } from "./announcements.ts";
import {
  type Features,
  obtainsOwnToken,
  sharedOwner,
  type ToolDefinition,
  type Upstream,
} from "./upstream.ts";
import type { Upstreams } from "./upstreams.ts";

/**
 * Lists an upstream's tools over MCP, with `owner`'s credential where it is per person, or what they brought where that is
 * exchanged; handed over in app.ts.
 */
export type ToolProbe = (upstream: Upstream, owner?: Owner, vouched?: Vouched) => Promise<ToolDefinition[]>;

/** Reads what it offers beside tools, in the same way. */
export type FeatureProbe = (upstream: Upstream, owner?: Owner, vouched?: Vouched) => Promise<Features>;

export interface ToolListsParts {
  world: World;
  upstreams: Upstreams;
  probe: ToolProbe;
  features?: FeatureProbe;
  /** Whether this owner has a usable credential; handed over in app.ts. */
  hasCredential(owner: Owner, upstreamId: string): Promise<boolean>;
}

/** So many are read side by side; one that does not answer must not stand in the way of those that do. */
const AT_ONCE = 64;
/** After this a round is over, whatever still runs behind. */
const ROUND_MS = 20_000;
const LONGEST_RETRY_MS = 60_000;

/** Keeps the tool lists fresh. Nobody waits for it, and an upstream that fails keeps the tools last read. */
export class ToolLists {
  readonly #parts: ToolListsParts;
  readonly #running = new Map<string, Promise<void>>();
  readonly #announcements: Announcements;
  /** Who connected an account while a list was being read, by upstream. */
  readonly #connected = new Map<string, Owner>();

  constructor(parts: ToolListsParts) {
    this.#parts = parts;
    this.#announcements = new Announcements((id, owner) => void this.#reread(id, owner as Owner | undefined));
  }

  /** Reads one upstream's list now; one at a time per upstream. Never throws: a failure is recorded on the upstream. */
  refresh(id: string, owner?: Owner, vouched?: Vouched): Promise<void> {
    const running = this.#running.get(id);
    if (running) return running;
    const started = this.#readUntilCurrent(id, owner, vouched).finally(() => this.#running.delete(id));
    this.#running.set(id, started);
    return started;
  }

  /** Somebody connected an account: a per-person upstream whose list is missing or old can be read now. */
  connected(owner: Owner, id: string): void {
    const upstream = this.#parts.upstreams.find(id);
    if (!upstream || upstream.disabled) return;
    if (!upstream.shared && !(upstream.perUser && this.#isWanted(upstream))) return;
    if (this.#running.has(id)) this.#connected.set(id, owner);
    else void this.refresh(id, owner);
  }

  /** A list that nobody could read so far is read with a new credential at once, whatever failed before. */
  #isWanted(upstream: Upstream): boolean {
    return upstream.toolsSyncedAt === undefined || isDue(upstream, this.#now());
  }

  /** Resolves when a list that was never read has been; at once when it cannot be read now, or was. */
  async firstRead(id: string, owner: Owner, vouched?: Vouched): Promise<void> {
    const upstream = this.#parts.upstreams.find(id);
    if (!upstream || upstream.toolsSyncedAt !== undefined) return;
    const running = this.#running.get(id);
    if (running || !isDue(upstream, this.#now())) return running;
    if (!upstream.perUser) return this.refresh(id);
    if (upstream.exchanged) return vouched && this.refresh(id, owner, vouched);
    if (await this.#parts.hasCredential(owner, id)) await this.refresh(id, owner);
  }

  /** Somebody is here whose token can be exchanged: what is due is read with it, behind. */
  met(owner: Owner, vouched: Vouched, id: string): void {
    const upstream = this.#parts.upstreams.find(id);
    if (upstream?.exchanged && !upstream.disabled && isDue(upstream, this.#now()))
      void this.refresh(id, owner, vouched);
  }

  /** The upstream said to `owner`, or to anybody, that a list of it changed: it is read again behind, soon, and not too often. */
  announced(id: string, owner?: Owner): void {
    this.#announcements.take(id, owner);
  }

  /**
   * Reads every list that is due, side by side under one deadline; called by a timer. Resolves when they are through, or
   * after `roundMs`: what still runs then is not begun again, and what was not reached is the next round's.
   */
  async refreshDue(roundMs = ROUND_MS): Promise<void> {
    const now = this.#now();
    const due = this.#parts.upstreams.all().filter((upstream) => !upstream.disabled && isDue(upstream, now));
    const deadline = Promise.withResolvers<void>();
    const timer = setTimeout(() => {
      due.length = 0;
      deadline.resolve();
    }, roundMs);
    const work = async () => {
      for (let next = due.shift(); next; next = due.shift()) await this.refresh(next.id);
    };
    await Promise.race([Promise.all(Array.from({ length: AT_ONCE }, work)), deadline.promise]);
    clearTimeout(timer);
  }

  /** Resolves when nothing is being read. */
  async settled(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running.values());
  }

  /** Announces and reads nothing any more; resolves when nothing is being read. */
  close(): Promise<void> {
    this.#announcements.close();
    return this.settled();
  }

  /** What is being read may have been read before the change. */
  async #reread(id: string, owner: Owner | undefined): Promise<void> {
    await this.#running.get(id);
    await this.refresh(id, owner);
  }

  /** The credential that a list is read with may end meanwhile: a consent's moves to its person at the submit. */
  async #readUntilCurrent(id: string, owner: Owner | undefined, vouched: Vouched | undefined): Promise<void> {
    await this.#refresh(id, owner, vouched);
    for (let next = this.#connected.get(id); next; next = this.#connected.get(id)) {
      this.#connected.delete(id);
      const upstream = this.#parts.upstreams.find(id);
      if (upstream && this.#isWanted(upstream)) await this.#refresh(id, next);
    }
  }

  async #refresh(id: string, owner: Owner | undefined, vouched?: Vouched): Promise<void> {
    const { world, upstreams } = this.#parts;
    const upstream = upstreams.find(id);
    if (!upstream) this.#announcements.forget(id);
    if (!upstream || upstream.disabled) return;
    try {
      const by = await this.#owner(upstream, owner);
      if (upstream.perUser && !by) return;
      // Nobody's token is kept for it.
      if (upstream.exchanged && !vouched) return;
      if (upstream.shared && !(await this.#isShared(upstream))) return;
      const tools = await this.#parts.probe(upstream, by, vouched);
      const features = await this.#features(upstream, by, vouched);
      // An address changed meanwhile has other tools.
      if (upstreams.find(id)?.generation === upstream.generation)
        await upstreams.recordTools(id, tools, features);
    } catch (error) {
      world.log.warn("upstream.tool_list_failed", { upstream: upstream.name, error });
      if (!isOnesOwn(upstream, error)) await this.#recordFailure(id, error);
    }
  }

  /** Tools without the rest are better than none: what cannot be read stays as it was. */
  async #features(
    upstream: Upstream,
    owner: Owner | undefined,
    vouched: Vouched | undefined,
  ): Promise<Features | undefined> {
    try {
      return await this.#parts.features?.(upstream, owner, vouched);
    } catch (error) {
      this.#parts.world.log.warn("upstream.features_failed", { upstream: upstream.name, error });
      return undefined;
    }
  }

  async #recordFailure(id: string, error: unknown): Promise<void> {
    const { world, upstreams } = this.#parts;
    const failure =
      error instanceof Problem
        ? { code: error.code, message: error.message }
        : { code: "tool_list_failed", message: "The tool list could not be read. The log says why." };
    await upstreams.recordFailure(id, { ...failure, at: this.#now() }).catch((cause: unknown) => {
      world.log.error("upstream.failure_not_recorded", { error: cause });
    });
  }

  /**
   * For a per-person upstream: the administrator's credential that only lists tools, else who was named. People may be
   * shown different definitions, and the list would be another with each of them (decision 20).
   */
  async #owner(upstream: Upstream, named: Owner | undefined): Promise<Owner | undefined> {
    if (!upstream.perUser) return named;
    const owner: Owner = { mode: "discovery", id: upstream.id };
    return (await this.#parts.hasCredential(owner, upstream.id)) ? owner : named;
  }

  /** Whether the shared credential is there, or can be had without a person. What is dead waits for an administrator. */
  async #isShared(upstream: Upstream): Promise<boolean> {
    if (obtainsOwnToken(upstream)) return upstream.state !== "needs_reauth";
    return this.#parts.hasCredential(sharedOwner(upstream), upstream.id);
  }

  #now(): number {
    return this.#parts.world.now().getTime();
  }
}

function isDue(upstream: Upstream, now: number): boolean {
  const { toolsSyncedAt, lastFailure, syncIntervalMs } = upstream;
  const retryAt = lastFailure ? lastFailure.at + Math.min(syncIntervalMs, LONGEST_RETRY_MS) : 0;
  const staleAt = toolsSyncedAt === undefined ? 0 : toolsSyncedAt + syncIntervalMs;
  return now >= Math.max(retryAt, staleAt);
}

/** What only one caller is refused says nothing of the upstream, and holds up nobody else. */
function isOnesOwn({ exchanged }: Upstream, error: unknown): boolean {
  const personal = ["token_exchange_refused", "credential_missing"];
  return exchanged === true && error instanceof Problem && personal.includes(error.code);
}
