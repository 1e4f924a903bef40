import { decide, type Rules } from "../access/index.ts";
import type { JsonObject } from "../base/index.ts";
import { tasksExtension } from "../relay/index.ts";
import type { ToolDefinition, Upstream } from "../upstreams/index.ts";
import { isObject } from "./body.ts";
import type { Target } from "./catalog.ts";
import type { Client } from "./era.ts";
import { code, Refusal } from "./refusal.ts";

/**
 * Whether calls of a tool can become tasks: at an upstream of 2025-11-25 its client asks for it, and may or must; at one with
 * the extension of 2026-07-28 the upstream decides.
 */
export type TaskSupport = "optional" | "required" | "directed";

/** The one revision with tasks in its core. */
const CORE = "2025-11-25";

/** 2025-11-25 "Tool-Level Negotiation": what the tool says counts only where the server declared tasks. */
export function taskSupport(upstream: Upstream, tool: ToolDefinition): TaskSupport | undefined {
  if (hasExtension(upstream)) return "directed";
  const said = isObject(tool.execution) ? tool.execution.taskSupport : undefined;
  return makesCoreTasks(upstream) && (said === "optional" || said === "required") ? said : undefined;
}

/** What an upstream of 2025-11-25 declared of tasks. */
function coreOf({ features }: Upstream): JsonObject | undefined {
  const declared = features?.capabilities.tasks;
  return isObject(declared) ? declared : undefined;
}

export function makesCoreTasks(upstream: Upstream): boolean {
  const requests = coreOf(upstream)?.requests;
  return isObject(requests) && isObject(requests.tools) && isObject(requests.tools.call);
}

export function cancelsCoreTasks(upstream: Upstream): boolean {
  return isObject(coreOf(upstream)?.cancel);
}

/** Whether calls at this upstream can become tasks, in either form. */
export function makesTasks(upstream: Upstream): boolean {
  return makesCoreTasks(upstream) || hasExtension(upstream);
}

function hasExtension({ features }: Upstream): boolean {
  const extensions = features?.capabilities.extensions;
  return isObject(extensions) && isObject(extensions[tasksExtension]);
}

/**
 * Whether the tasks of an upstream can be listed for these rules: it says which there are, not of which tool they are calls
 * nor by which client, so only where each caller has an account of their own there, and may use everything.
 */
export function listsTasks(upstream: Upstream, rules: Rules): boolean {
  return upstream.perUser && isObject(coreOf(upstream)?.list) && usesEverything(upstream, rules);
}

export function usesEverything(upstream: Upstream, rules: Rules): boolean {
  return (
    decide(rules, upstream) &&
    rules.upstreams.get(upstream.id) === "*" &&
    upstream.toolsToExecute.includes("*")
  );
}

/** Whether the client can deal with tasks of either form: it declared the extension, or its revision has them. */
export function knowsTasks({ era, version, capabilities }: Client): boolean {
  if (era === "legacy") return version === CORE;
  return isObject(capabilities.extensions) && isObject(capabilities.extensions[tasksExtension]);
}

/**
 * What becomes of a task that comes of this call: its client is given it, or it is waited for in the client's stead.
 * Undefined: there is to be none.
 */
export function taskWay(
  client: Client,
  params: JsonObject,
  { tasks }: Pick<Target, "tasks">,
): "given" | "awaited" | undefined {
  if (tasks === undefined) return undefined;
  // An older client has to ask for it; a newer one has nothing to ask with.
  if (knowsTasks(client) && (client.era === "modern" || isObject(params.task))) return "given";
  // What a newer client did not declare is not offered in its name, and it understands -32021.
  if (tasks === "required" || (tasks === "directed" && client.era === "legacy")) return "awaited";
  return undefined;
}

/** What is declared to a client about tasks, of what these upstreams can do. */
export function withTasks(
  capabilities: JsonObject,
  client: Pick<Client, "era" | "version">,
  upstreams: readonly Upstream[],
  rules: Rules,
): JsonObject {
  if (!upstreams.some(makesTasks)) return capabilities;
  if (client.era === "modern") {
    const extensions = { ...(capabilities.extensions as JsonObject | undefined), [tasksExtension]: {} };
    return { ...capabilities, extensions };
  }
  if (client.version !== CORE) return capabilities;
  const tasks: JsonObject = { requests: { tools: { call: {} } } };
  if (upstreams.some((upstream) => hasExtension(upstream) || cancelsCoreTasks(upstream))) tasks.cancel = {};
  if (upstreams.some((upstream) => listsTasks(upstream, rules))) tasks.list = {};
  return { ...capabilities, tasks };
}

/** A definition for older clients: what the tool says counts where its upstream makes tasks of calls as 2025-11-25 does. */
export function withTaskSupport(tool: ToolDefinition, tasks: TaskSupport | undefined): ToolDefinition {
  if (tasks === undefined) {
    const said = isObject(tool.execution) ? tool.execution.taskSupport : undefined;
    return said === "forbidden" ? tool : withoutTaskSupport(tool);
  }
  if (tasks === "optional") return tool;
  // A newer upstream says itself what becomes one, and what does not is kept as one that is over. An older one that wants
  // a task of every call gets it from us; the official SDK v1 would refuse to call such a tool plainly, in any revision.
  const execution = isObject(tool.execution) ? tool.execution : {};
  return { ...tool, execution: { ...execution, taskSupport: "optional" } };
}

/** The same for newer clients: there the server decides, and says nothing before (SEP-2663 has no `execution.taskSupport`). */
export function withoutTaskSupport(tool: ToolDefinition): ToolDefinition {
  if (!isObject(tool.execution) || tool.execution.taskSupport === undefined) return tool;
  const { taskSupport: _, ...execution } = tool.execution;
  const { execution: _execution, ...rest } = tool;
  const plain = { ...rest, name: tool.name };
  return Object.keys(execution).length > 0 ? { ...plain, execution } : plain;
}

/** SEP-2663 "Protocol Errors". */
export function missingExtension(): Refusal {
  const requiredCapabilities = { extensions: { [tasksExtension]: {} } };
  const message = `Declare the extension ${tasksExtension} with this request.`;
  return new Refusal(code.missingCapability, message, { data: { requiredCapabilities } });
}
