import { callTool } from "./modern-call.ts";
import { exposedTool, type Stage } from "./stage.ts";
import { toolName } from "./upstream.ts";

const WARM_CALLS = 20;

/** How many requests one `tools/call` sends to its upstream. */
export interface UpstreamRequests {
  /** A person's first call to a 2026-07-28 upstream, in a process that never called it for this person. */
  coldModern: number;
  coldLegacy: number;
  warm: number;
}

/** Counts at the upstreams, with somebody newly connected. */
export async function countUpstreamRequests(stage: Stage): Promise<UpstreamRequests> {
  const token = await stage.newcomer();
  const call = (upstream: "perUser" | "legacy", tool: string) =>
    callTool(`${stage.gateway.origin}/mcp`, token, exposedTool(upstream, tool));
  const modern = () => protectedRequests(stage);
  const legacy = async () => stage.legacy.calls().length;
  const coldModern = await counted(modern, () => call("perUser", toolName));
  const coldLegacy = await counted(legacy, () => call("legacy", "whoami"));
  const warm = await counted(modern, async () => {
    for (let n = 0; n < WARM_CALLS; n++) await call("perUser", toolName);
  });
  return { coldModern, coldLegacy, warm: warm / WARM_CALLS };
}

async function counted(count: () => Promise<number>, act: () => Promise<unknown>): Promise<number> {
  const before = await count();
  await act();
  return (await count()) - before;
}

async function protectedRequests({ upstream }: Stage): Promise<number> {
  const counts = Object.entries(await upstream.ask({}));
  return counts.reduce((sum, [what, count]) => (what.startsWith("/protected ") ? sum + count : sum), 0);
}
