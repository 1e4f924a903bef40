import {
  answer,
  type Exchange,
  type Handler,
  type ScriptedUpstream,
  startScriptedUpstream,
} from "../peers/scripted-upstream.ts";
import { type RunningGateway, startGateway } from "../support/gateway.ts";
import { type Caller, callerOf } from "./caller.ts";

export type Era = "modern" | "legacy";

/** A bystander's call that waits at the upstream until it is released. */
export interface Waiting {
  /** Lets the upstream answer, and resolves with what its caller got. */
  release(): Promise<string>;
}

/**
 * A gateway with two callers and two upstreams. At `evil` each caller has an account of their own, whose name stands in
 * every answer to them; it does to a call what the test says. `good` has nothing to do with it.
 */
export interface HostileStage {
  gateway: RunningGateway;
  evil: ScriptedUpstream;
  evilId: string;
  good: ScriptedUpstream;
  alice: Caller;
  bob: Caller;
  /** Calls of `evil-tool` with the argument `fault` of this name are answered so; without any, as usual. */
  faults: Map<string, Handler>;
  /** A call of Bob's at `evil` that is under way. */
  bobWaits(as?: { id?: string; progressToken?: string }): Promise<Waiting>;
  close(): Promise<void>;
}

/** Longer than a bystander waits, and as short as that allows. */
const TIMEOUT_S = 4;

/** `allow`: further addresses that the gateway may reach. `tools`: further ones of `evil`. `timeoutS`: of every call. */
export async function openHostileStage(
  era: Era,
  {
    allow = [],
    tools = [],
    timeoutS = TIMEOUT_S,
  }: { allow?: string[]; tools?: string[]; timeoutS?: number } = {},
): Promise<HostileStage> {
  const evil = await startScriptedUpstream({ era, tools: ["tool", "hold", ...tools].map(tool) });
  const good = await startScriptedUpstream({ tools: [tool("echo")] });
  const outboundAllow = [...[evil, good].map(({ url }) => new URL(url).host), ...allow];
  const gateway = await startGateway({ outboundAllow });
  const faults = new Map<string, Handler>();
  evil.on("tools/call", (exchange) => {
    const session = String(exchange.request.headers["mcp-session-id"]);
    if (era === "legacy" && !evil.sessions.has(session)) return answer.http(404)(exchange);
    const { fault } = argumentsOf(exchange);
    return ((fault === undefined ? undefined : faults.get(fault)) ?? asUsual)(exchange);
  });
  const definition = { connection_type: "http", tools_to_execute: ["*"], tool_execution_timeout: timeoutS };
  const add = async (body: Record<string, unknown>) =>
    (await gateway.admin<{ mcp_client_id: string }>("POST", "/api/mcp/client", { ...definition, ...body }))
      .mcp_client_id;
  const evilId = await add({
    name: "evil",
    connection_string: evil.url,
    auth_type: "per_user_headers",
    per_user_header_keys: [ACCOUNT],
    user_headers: { [ACCOUNT]: "sample" },
  });
  const goodId = await add({ name: "good", connection_string: good.url, auth_type: "none" });
  for (const id of [evilId, goodId]) await gateway.admin("POST", `/api/mcp/client/${id}/refresh-tools`);
  const [alice, bob] = [
    await callerOf(gateway, "alice", { id: evilId, header: ACCOUNT }),
    await callerOf(gateway, "bob", { id: evilId, header: ACCOUNT }),
  ];
  let held = 0;
  return {
    gateway,
    evil,
    evilId,
    good,
    alice,
    bob,
    faults,
    bobWaits: async ({ id, progressToken } = {}) => {
      held += 1;
      const fault = `hold ${held}`;
      const arrived = Promise.withResolvers<void>();
      const released = Promise.withResolvers<void>();
      faults.set(fault, async (exchange) => {
        arrived.resolve();
        await released.promise;
        await asUsual(exchange);
      });
      const _meta = progressToken === undefined ? {} : { progressToken };
      const params = { name: "evil-hold", arguments: { fault }, _meta };
      const called = bob.request("tools/call", params, { id });
      await arrived.promise;
      return {
        release: async () => {
          released.resolve();
          const { result } = (await called).message;
          faults.delete(fault);
          return result?.content?.[0]?.text;
        },
      };
    },
    close: async () => {
      await gateway.stop();
      await Promise.all([evil.close(), good.close()]);
    },
  };
}

const ACCOUNT = "X-Account";

function tool(name: string) {
  return { name, inputSchema: { type: "object" } };
}

export function argumentsOf({ request }: Exchange): { fault?: string } {
  return (request.body?.params?.arguments ?? {}) as { fault?: string };
}

/** A result that says whose account it was. */
export const asUsual: Handler = (exchange) => {
  const text = String(exchange.request.headers[ACCOUNT.toLowerCase()]);
  return answer.result({ resultType: "complete", content: [{ type: "text", text }] })(exchange);
};
