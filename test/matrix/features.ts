import type { ClientKind, MatrixClient } from "./clients.ts";
import { callFeatures } from "./features-calls.ts";
import { changeFeatures } from "./features-changes.ts";
import { listFeatures } from "./features-lists.ts";
import { questionFeatures } from "./features-questions.ts";
import { taskFeatures } from "./features-tasks.ts";
import { modern, type Revision } from "./revisions.ts";
import type { UpstreamKind } from "./upstreams.ts";

/** One client, one upstream. `token`: unlike that of any other cell. */
export interface Cell {
  client: MatrixClient;
  upstream: Pick<UpstreamKind, "name" | "revision">;
  token: string;
}

export interface Feature {
  /** As in the guide. */
  name: string;
  /** The first revision of a client that can have it, and why no older one can; every revision, where absent. `sdk`: nor one without. */
  client?: { since: Revision; because: string; sdk?: "with tasks" };
  /** The same of an upstream. `until`: the last one. */
  upstream?: { since?: Revision; until?: Revision; because: string };
  /** Why programs, which everybody shares, do not have it. */
  program?: string;
  /** It reaches the client, and nothing of it is lost. */
  run(cell: Cell): Promise<void>;
  /** What an older client gets in its place. */
  instead?(cell: Cell): Promise<void>;
  /** The same at `server-everything`, which has tools of its own; absent where it has nothing of the kind. */
  everything?(cell: Cell): Promise<void>;
  everythingInstead?(cell: Cell): Promise<void>;
}

export const features: readonly Feature[] = [
  ...listFeatures,
  ...callFeatures,
  ...questionFeatures,
  ...changeFeatures,
  ...taskFeatures,
];

/** What is to be expected of a cell; `reason`: why it cannot exist. */
export type Outcome =
  | { is: "works"; run(cell: Cell): Promise<void> }
  | { is: "instead"; reason: string; run(cell: Cell): Promise<void> }
  | { is: "impossible"; reason: string };

export function outcomeOf(
  feature: Feature,
  client: Pick<ClientKind, "revision" | "hasTasks">,
  upstream: Pick<UpstreamKind, "revision" | "isEverything" | "isProgram">,
): Outcome {
  const { since = "2024-11-05", until = modern, because = "" } = feature.upstream ?? {};
  if (upstream.revision < since || upstream.revision > until)
    return {
      is: "impossible",
      reason: `no upstream of ${upstream.revision} has it: ${because || feature.client?.because}`,
    };
  if (upstream.isProgram && feature.program)
    return { is: "impossible", reason: `no upstream over stdio has it: ${feature.program}` };
  const run = upstream.isEverything ? feature.everything : feature.run;
  if (!run) return { is: "impossible", reason: "server-everything has nothing of the kind" };
  const able = !feature.client?.sdk || client.hasTasks;
  if (!feature.client || (able && client.revision >= feature.client.since)) return { is: "works", run };
  const reason = `no client of ${client.revision} has it: ${feature.client.because}`;
  const instead = upstream.isEverything ? feature.everythingInstead : feature.instead;
  return instead ? { is: "instead", reason, run: instead } : { is: "impossible", reason };
}
