import { modernRequest } from "./modern-call.ts";
import { exposedTool, type Stage } from "./stage.ts";
import { resultMark, toolName } from "./upstream.ts";

/** One thing to put a load on. */
export interface Target {
  key: "direct" | "baseline" | "perUser" | "open";
  label: string;
  /** Whose processor time counts. */
  pid: number;
  call: { url: string; headers: Record<string, string>; body: string; mark: string };
}

/** The same call, byte for byte but for the address and the tool's prefix, to each of them. */
export function targetsOf({ upstream, baseline, gateway, token }: Stage): Record<Target["key"], Target> {
  const call = (url: string, name: string) => ({
    url,
    mark: resultMark,
    ...modernRequest(token, "tools/call", { name, arguments: { question: "What is the answer?" } }),
  });
  const perUserTool = exposedTool("perUser", toolName);
  const mcp = `${gateway.origin}/mcp`;
  return {
    direct: {
      key: "direct",
      label: "Upstream itself",
      pid: upstream.pid,
      call: call(`${upstream.ready.origin}/protected`, perUserTool),
    },
    baseline: {
      key: "baseline",
      label: "Bare proxy",
      pid: baseline.pid,
      call: call(`${baseline.ready.origin}/protected`, perUserTool),
    },
    perUser: {
      key: "perUser",
      label: "Postern, per-user OAuth",
      pid: gateway.pid,
      call: call(mcp, perUserTool),
    },
    open: {
      key: "open",
      label: "Postern, open upstream",
      pid: gateway.pid,
      call: call(mcp, exposedTool("open", toolName)),
    },
  };
}
