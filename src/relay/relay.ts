import type { Hidden, Owner, Vouched } from "../base/index.ts";
import { type Features, sharedOwner } from "../upstreams/index.ts";
import type { Credential, Opened } from "../vault/index.ts";
import type { Attempt, Attempted } from "./attempt.ts";
import type { RelayCall, Relayed } from "./call.ts";
import { checkResult } from "./check-result.ts";
import { checkTasks } from "./check-tasks.ts";
import { CheckedNews } from "./checked-news.ts";
import { Circuits, type Told, toldBy } from "./circuits.ts";
import { RelayFault } from "./fault.ts";
import { LegacyUpstreams } from "./legacy.ts";
import { listAllFeatures } from "./list-features.ts";
import { listAllTools } from "./list-tools.ts";
import { ModernUpstreams } from "./modern.ts";
import { type Access, OpenedAttempt } from "./opened-attempt.ts";
import type { RelayParts, RelayUpstream, RelayVault, UpstreamTool } from "./parts.ts";
import { Patience } from "./patience.ts";
import { declaredOnly, trialOf } from "./personal-headers.ts";
import { Rejections } from "./rejection.ts";
import { SseUpstreams } from "./sse-upstreams.ts";
import { StdioUpstreams } from "./stdio.ts";
import { verifyHeaders } from "./verify-headers.ts";
import { Watches, type WatchFor, type Watching, type WatchListener } from "./watch.ts";
import type { WatchWanted } from "./watch-wanted.ts";
import { stand, type Ways } from "./watch-ways.ts";

type Era = "modern" | "legacy";

const SWEEP_MS = 60_000;
/** How soon a stream of a revoked credential is closed, at the latest. */
const CHECK_MS = 2_000;

/** Carries one client's request to one upstream with the right person's credential, and its answer back. */
export class Relay {
  readonly #parts: RelayParts;
  readonly #modern: ModernUpstreams;
  readonly #legacy: LegacyUpstreams;
  readonly #sse: SseUpstreams;
  readonly #stdio: StdioUpstreams;
  /** By upstream id; ahead of what `upstreams` has stored. An address change is another generation. */
  readonly #eras = new Map<string, { generation: number; era: Era }>();
  readonly #sweeper: NodeJS.Timeout;
  readonly #circuits: Circuits;
  readonly #watches: Watches;
  readonly #news: CheckedNews;
  #lastId = 0;

  constructor(parts: RelayParts) {
    this.#parts = parts;
    const { log } = parts.world;
    this.#circuits = new Circuits(
      () => parts.world.now().getTime(),
      (change, upstreamId) => log.warn(`relay.circuit_${change}`, { upstream_id: upstreamId }),
    );
    const self = { name: "postern", version: parts.version };
    this.#modern = new ModernUpstreams(parts.world, self);
    this.#legacy = new LegacyUpstreams(parts.world, self);
    const channels = { world: parts.world, self, nextId: () => ++this.#lastId };
    this.#sse = new SseUpstreams(channels);
    this.#stdio = new StdioUpstreams({
      ...channels,
      commands: parts.commands ?? new Map(),
      learn: (upstream, era) => this.#learn(upstream, era),
    });
    this.#watches = this.#newWatches({
      ...channels,
      firstPauseMs: parts.firstPauseMs,
      sse: (attempt) => this.#sse.standing(attempt),
      stdio: (attempt, patience) => this.#stdio.channel(attempt, patience),
      era: async (attempt, patience) => this.#eraOf(attempt.call.upstream) ?? this.#detect(attempt, patience),
      learn: (upstream, era) => this.#learn(upstream, era),
    });
    this.#news = new CheckedNews({
      log,
      checkMs: CHECK_MS,
      warm: (call) => this.#openWarm(call, undefined),
      open: (call) => this.#open(call, undefined),
    });
    this.#sweeper = setInterval(() => this.sweep(), SWEEP_MS).unref();
  }

  /**
   * One request, at most once executed: it is repeated only when the upstream refused to act on it. Never throws for
   * what an upstream does.
   */
  async call(call: RelayCall): Promise<Relayed> {
    const { upstream } = call;
    if (!call.insists && this.#circuits.refuses(upstream))
      return { outcome: "failed", code: "upstream_unreachable", retryable: true };
    const patience = new Patience(call.signal, upstream.timeoutMs);
    let told: Told = "unknown";
    try {
      const relayed = await this.#withCredential(call, patience);
      if (relayed.outcome !== "needs_user") told = "reached";
      return relayed;
    } catch (error) {
      if (!(error instanceof RelayFault)) throw error;
      const { code, retryable, cause } = error;
      told = toldBy(error);
      if (code !== "cancelled") {
        this.#parts.world.log.info("relay.call_failed", { upstream: call.upstream.name, code, cause });
      }
      return { outcome: "failed", code, retryable };
    } finally {
      patience.stop();
      this.#circuits.ended(upstream, told);
    }
  }

  /** Every tool of an upstream, all pages. Throws `Problem` when it cannot be asked. */
  listTools(upstream: RelayUpstream, owner?: Owner, vouched?: Vouched): Promise<UpstreamTool[]> {
    return listAllTools(this, upstream, owner, vouched);
  }

  /** What an upstream offers beside tools. Throws `Problem` when it cannot be asked. */
  listFeatures(upstream: RelayUpstream, owner?: Owner, vouched?: Vouched): Promise<Features> {
    return listAllFeatures(this, upstream, owner, vouched);
  }

  /** Every tool of an upstream, listed with header values that are only tried. See `verifyHeaders` for what it throws. */
  verifyHeaders(upstream: RelayUpstream, headers: Readonly<Record<string, Hidden>>): Promise<UpstreamTool[]> {
    return verifyHeaders(this, upstream, { id: ++this.#lastId, headers });
  }

  /**
   * Tells what changes at an upstream, in the background and until it is closed: its lists, and resources. With the owner's
   * credential and no other; holds up no call. Never throws.
   */
  watch(target: WatchFor, wanted: WatchWanted, on: WatchListener): Watching {
    return this.#watches.watch(target, wanted, on);
  }

  /** Forgets sessions and ends connections and programs; what is under way over http ends with its client. */
  async close(): Promise<void> {
    clearInterval(this.#sweeper);
    this.#news.close();
    const watches = this.#watches.close();
    this.#legacy.sessions.clear();
    this.#sse.close();
    await Promise.all([watches, this.#stdio.close()]);
  }

  /** Closes what nobody used for a while; called by a timer. */
  sweep(): void {
    this.#legacy.sessions.sweep();
    this.#sse.sweep();
  }

  #newWatches(ways: Ways): Watches {
    const { world, vault } = this.#parts;
    return new Watches({
      world,
      vault,
      circuits: this.#circuits,
      checkMs: CHECK_MS,
      firstPauseMs: ways.firstPauseMs,
      warm: (call) => this.#openWarm(call, undefined),
      open: async (call, notGeneration) =>
        this.#openWarm(call, notGeneration) ?? this.#open(call, notGeneration),
      attempt: (call, access) => new OpenedAttempt(call, access),
      stand: (attempt, hearing, gone) => stand(ways, attempt, hearing, gone),
    });
  }

  async #withCredential(call: RelayCall, patience: Patience): Promise<Relayed> {
    // Made with the first rejection.
    let rejections: Rejections | undefined;
    for (;;) {
      const notGeneration = rejections?.notGeneration;
      const access = this.#openWarm(call, notGeneration) ?? (await this.#open(call, notGeneration));
      if (access.outcome === "needs_user") return access;
      if (access.outcome === "unavailable")
        throw new RelayFault(access.reason ?? "credential_unavailable", { retryable: !access.reason });
      const attempt = new OpenedAttempt(call, access);
      const era = this.#eraOf(call.upstream) ?? (await this.#findEra(attempt, patience));
      let attempted =
        typeof era === "string"
          ? this.#learned(attempt, era, await this.#speak(era, attempt, patience))
          : era;
      if (attempted.outcome === "other_era" && typeof era === "string") {
        // The upstream was replaced by one of the other era and refused without acting.
        const other = era === "modern" ? "legacy" : "modern";
        attempted = this.#learned(attempt, other, await this.#speak(other, attempt, patience));
      }
      if (attempted.outcome === "other_era") throw new RelayFault("upstream_protocol");
      if (attempted.outcome !== "rejected") {
        if (call.followsTask) this.#follow(call, attempted, access.credential);
        return named(attempted, access.credential?.account);
      }
      if (!access.credential) throw new RelayFault("upstream_refused");
      rejections ??= new Rejections(this.#holderOf(call), call.upstream);
      const answer = await rejections.after(access.credential, attempted.wants);
      if (answer) return named(answer, access.credential.account);
    }
  }

  /** Of what belongs to nobody, nothing can be revoked. */
  #follow(call: RelayCall, attempted: Attempted, credential: Credential | undefined): void {
    if (attempted.outcome === "result" && attempted.news && credential)
      this.#news.add(call, credential, attempted.news);
  }

  /** ID-21: exactly the owner's credential or none; where it is shared, that one; otherwise only the static headers. */
  #openWarm(call: RelayCall, notGeneration: number | undefined): Opened | Access | undefined {
    const { upstream, trial } = call;
    if (trial) return { outcome: "ready", authorize: trialOf(upstream, trial.headers) };
    if (!upstream.perUser && !upstream.shared) return { outcome: "ready" };
    const owner = upstream.shared ? sharedOwner(upstream) : call.owner;
    if (!owner) return { outcome: "needs_user", reason: "missing" };
    if (upstream.exchanged) return this.#openExchanged(call, owner, notGeneration);
    if (notGeneration !== undefined) return undefined;
    const opened = this.#parts.vault.openWarm(owner, upstream, upstream.shared ? "" : call.account);
    return opened && declaredOnly(upstream, opened);
  }

  #openExchanged(call: RelayCall, owner: Owner, notGeneration: number | undefined): Opened | undefined {
    const { callerTokens } = this.#parts;
    if (!callerTokens) return { outcome: "needs_user", reason: "caller_token_required" };
    const { upstream, vouched } = call;
    return notGeneration === undefined ? callerTokens.openWarm({ owner, vouched, upstream }) : undefined;
  }

  async #open(call: RelayCall, notGeneration: number | undefined): Promise<Opened> {
    const { upstream, vouched } = call;
    if (upstream.exchanged)
      return this.#parts.callerTokens!.open({ owner: call.owner!, vouched, upstream }, notGeneration);
    const { owner, account } = holderOf(call);
    const opened = await this.#parts.vault.open(owner!, call.upstream, account, { notGeneration });
    return declaredOnly(call.upstream, opened);
  }

  #holderOf({ upstream }: RelayCall): Pick<RelayVault, "markRejected" | "wantScopes"> {
    return (upstream.exchanged && this.#parts.callerTokens) || this.#parts.vault;
  }

  /** How an upstream over HTTP speaks; over another transport, what it said to the whole call. */
  async #findEra(attempt: Attempt, patience: Patience): Promise<Era | Attempted> {
    const { connectionType } = attempt.call.upstream;
    if (connectionType === "sse") return this.#sse.call(attempt, patience);
    if (connectionType === "stdio") return this.#stdio.call(attempt, patience);
    return this.#detect(attempt, patience);
  }

  /** Who answers in an era speaks it. */
  #learned(attempt: Attempt, era: Era, attempted: Attempted): Attempted {
    const done = checked(attempt, era, attempted);
    if (done.outcome === "result" || done.outcome === "error") this.#learn(attempt.call.upstream, era);
    return done;
  }

  #speak(era: Era, attempt: Attempt, patience: Patience): Promise<Attempted> {
    return era === "modern"
      ? this.#modern.call(attempt, ++this.#lastId, patience)
      : this.#legacy.call(attempt, () => ++this.#lastId, patience);
  }

  /** Undefined: not known yet, or not over HTTP. */
  #eraOf(upstream: RelayUpstream): Era | undefined {
    if (upstream.connectionType === "sse" || upstream.connectionType === "stdio") return undefined;
    const known = this.#eras.get(upstream.id);
    return known?.generation === upstream.generation ? known.era : upstream.era;
  }

  async #detect(attempt: Attempt, patience: Patience): Promise<Era | Attempted> {
    const probed = await this.#modern.probe(attempt, ++this.#lastId, patience);
    if (probed.outcome === "modern") return "modern";
    return probed.outcome === "other_era" ? "legacy" : probed;
  }

  #learn(upstream: RelayUpstream, era: Era): void {
    const known = this.#eras.get(upstream.id);
    if (known?.era === era && known.generation === upstream.generation) return;
    this.#eras.set(upstream.id, { generation: upstream.generation, era });
    if (upstream.era === era) return;
    Promise.resolve(this.#parts.upstreams.recordEra(upstream.id, era)).catch((error) =>
      this.#parts.world.log.warn("relay.era_not_recorded", { upstream: upstream.name, error }),
    );
  }
}

function holderOf({ upstream, owner, account }: RelayCall): { owner?: Owner; account?: string } {
  return upstream.shared ? { owner: sharedOwner(upstream), account: "" } : { owner, account };
}

/** Says which of several accounts it was. */
function named(relayed: Relayed, account: string | undefined): Relayed {
  return account ? { ...relayed, account } : relayed;
}

function checked(attempt: Attempt, era: Era, attempted: Attempted): Attempted {
  if (attempted.outcome !== "result") return attempted;
  if (attempt.call.tasks) return checkTasks(attempt.call, attempted, era);
  return { outcome: "result", result: checkResult(attempt.call.method, attempted.result, era) };
}
