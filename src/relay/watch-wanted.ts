import type { JsonObject } from "../base/index.ts";

/** What somebody wants to be told of an upstream. `resourceSubscriptions`, `taskIds`: the upstream's own. */
export interface WatchWanted {
  toolsListChanged?: boolean;
  promptsListChanged?: boolean;
  resourcesListChanged?: boolean;
  resourceSubscriptions?: readonly string[];
  /** Only an upstream of 2026-07-28 tells of tasks to whoever listens. */
  taskIds?: readonly string[];
}

/** Resources that are followed at one upstream for one owner; further ones are not asked for. */
const MAX_URIS = 1_000;
const MAX_URI = 8_192;
const MAX_TASKS = 1_000;

export const UPDATED = "notifications/resources/updated";
export const TASK = "notifications/tasks";

/** Everything that any of them wants; each resource once. */
export function unionOf(all: Iterable<WatchWanted>): Required<WatchWanted> {
  const union = { toolsListChanged: false, promptsListChanged: false, resourcesListChanged: false };
  const uris = new Set<string>();
  const tasks = new Set<string>();
  for (const wanted of all) {
    union.toolsListChanged ||= wanted.toolsListChanged === true;
    union.promptsListChanged ||= wanted.promptsListChanged === true;
    union.resourcesListChanged ||= wanted.resourcesListChanged === true;
    for (const uri of wanted.resourceSubscriptions ?? [])
      if (uris.size < MAX_URIS && uri.length <= MAX_URI) uris.add(uri);
    for (const id of wanted.taskIds ?? []) if (tasks.size < MAX_TASKS) tasks.add(id);
  }
  return { ...union, resourceSubscriptions: [...uris], taskIds: [...tasks] };
}

/** What is left of it with a server that declared these capabilities (2025-11-25 `listChanged` and `subscribe`). */
export function offeredOf(wanted: Required<WatchWanted>, capabilities: JsonObject): Required<WatchWanted> {
  const declares = (capability: string, member: string) => {
    const declared = capabilities[capability];
    return typeof declared === "object" && declared !== null && !Array.isArray(declared)
      ? (declared as JsonObject)[member] === true
      : false;
  };
  return {
    toolsListChanged: wanted.toolsListChanged && declares("tools", "listChanged"),
    promptsListChanged: wanted.promptsListChanged && declares("prompts", "listChanged"),
    resourcesListChanged: wanted.resourcesListChanged && declares("resources", "listChanged"),
    resourceSubscriptions: declares("resources", "subscribe") ? wanted.resourceSubscriptions : [],
    taskIds: [],
  };
}

export function isNothing(wanted: WatchWanted): boolean {
  return (
    !wanted.toolsListChanged &&
    !wanted.promptsListChanged &&
    !wanted.resourcesListChanged &&
    (wanted.resourceSubscriptions ?? []).length === 0 &&
    (wanted.taskIds ?? []).length === 0
  );
}

export function isSame(one: Required<WatchWanted>, other: Required<WatchWanted>): boolean {
  return (
    one.toolsListChanged === other.toolsListChanged &&
    one.promptsListChanged === other.promptsListChanged &&
    one.resourcesListChanged === other.resourcesListChanged &&
    areSame(one.resourceSubscriptions, other.resourceSubscriptions) &&
    areSame(one.taskIds, other.taskIds)
  );
}

/** Each of them without repetition. */
function areSame(some: readonly string[], others: readonly string[]): boolean {
  const known = new Set(others);
  return some.length === known.size && some.every((one) => known.has(one));
}

/** Whether this notification was asked for; what is no change of the four kinds never is. */
export function isWanted(wanted: WatchWanted, method: string, params: JsonObject | undefined): boolean {
  switch (method) {
    case "notifications/tools/list_changed":
      return wanted.toolsListChanged === true;
    case "notifications/prompts/list_changed":
      return wanted.promptsListChanged === true;
    case "notifications/resources/list_changed":
      return wanted.resourcesListChanged === true;
    case UPDATED:
      return follows(wanted.resourceSubscriptions ?? [], params?.uri);
    case TASK:
      return (wanted.taskIds ?? []).some((id) => id === params?.taskId);
    default:
      return false;
  }
}

/** 2025-11-25 "Resource Updated Notification": it may name a part of what was subscribed to. */
function follows(uris: readonly string[], uri: unknown): boolean {
  if (typeof uri !== "string" || uri.length > MAX_URI) return false;
  return uris.some((one) => uri === one || uri.startsWith(one.endsWith("/") ? one : `${one}/`));
}
