import type { Gone } from "../base/index.ts";
import type { Attempt, Attempted } from "./attempt.ts";
import { type Channel, type Era, NotTaken } from "./channel.ts";
import { RelayFault } from "./fault.ts";
import type { RelayUpstream } from "./parts.ts";
import { Patience } from "./patience.ts";
import { watchChannel } from "./watch-channel.ts";
import type { End, Hearing } from "./watch-feed.ts";
import { watchSession } from "./watch-legacy.ts";
import { type ListenParts, listen } from "./watch-modern.ts";

/** How upstreams are reached, for those who listen to them. */
export interface Ways extends ListenParts {
  /** A connection of its own; whoever asked for it ends it. */
  sse(attempt: Attempt): Promise<Channel>;
  /** The running program. */
  stdio(attempt: Attempt, patience: Patience): Promise<Channel>;
  era(attempt: Attempt, patience: Patience): Promise<Era | Attempted>;
  learn(upstream: RelayUpstream, era: Era): void;
}

/** A program that is fetched from a registry at its first start takes its time. */
const START_MS = 60_000;

/** Listens to an upstream in the way it is reached and in its era, until that is over. Throws `RelayFault`. */
export function stand(ways: Ways, attempt: Attempt, hearing: Hearing, gone: Gone): Promise<End> {
  switch (attempt.call.upstream.connectionType) {
    case "sse":
      return standOnSse(ways, attempt, hearing, gone);
    case "stdio":
      return standOnProgram(ways, attempt, hearing, gone);
    default:
      return standOnHttp(ways, attempt, hearing, gone);
  }
}

async function standOnSse(ways: Ways, attempt: Attempt, hearing: Hearing, gone: Gone): Promise<End> {
  let channel: Channel;
  try {
    channel = await ways.sse(attempt);
  } catch (error) {
    if (!(error instanceof NotTaken)) throw error;
    if (error.attempted === "lost") throw new RelayFault("upstream_protocol");
    return endOf(error.attempted);
  }
  try {
    return await watchChannel(ways, channel, attempt, hearing, gone);
  } finally {
    channel.lose(new RelayFault("upstream_unreachable"));
  }
}

async function standOnProgram(ways: Ways, attempt: Attempt, hearing: Hearing, gone: Gone): Promise<End> {
  const patience = new Patience(gone, START_MS);
  try {
    const channel = await ways.stdio(attempt, patience);
    return await watchChannel(ways, channel, attempt, hearing, gone);
  } finally {
    patience.stop();
  }
}

async function standOnHttp(ways: Ways, attempt: Attempt, hearing: Hearing, gone: Gone): Promise<End> {
  const { upstream } = attempt.call;
  const patience = new Patience(gone, upstream.timeoutMs);
  const era = await ways.era(attempt, patience).finally(() => patience.stop());
  if (typeof era !== "string") return endOf(era);
  const first = await listenIn(era, ways, attempt, hearing, gone);
  if (first.why !== "other_era") return first;
  // The upstream was replaced by one of the other era.
  const other = era === "modern" ? "legacy" : "modern";
  const { stands } = hearing;
  hearing.stands = () => {
    ways.learn(upstream, other);
    stands();
  };
  const second = await listenIn(other, ways, attempt, hearing, gone);
  if (second.why === "other_era") throw new RelayFault("upstream_protocol");
  return second;
}

function listenIn(era: Era, ways: Ways, attempt: Attempt, hearing: Hearing, gone: Gone): Promise<End> {
  return era === "modern" ? listen(ways, attempt, hearing, gone) : watchSession(ways, attempt, hearing, gone);
}

function endOf(attempted: Attempted): End {
  switch (attempted.outcome) {
    case "rejected":
      return { why: "rejected", wants: attempted.wants };
    case "failed":
      throw new RelayFault(attempted.code, { retryable: attempted.retryable });
    default:
      throw new RelayFault("upstream_protocol");
  }
}
