import type { JsonObject } from "../base/index.ts";

/** What somebody wants to be told of an upstream. `resourceSubscriptions`: the upstream's own URIs. */
export interface WatchWanted {
  toolsListChanged?: boolean;
  promptsListChanged?: boolean;
  resourcesListChanged?: boolean;
  resourceSubscriptions?: readonly string[];
}

/** Resources that are followed at one upstream for one owner; further ones are not asked for. */
const MAX_URIS = 1_000;
const MAX_URI = 8_192;

export const UPDATED = "notifications/resources/updated";

/** Everything that any of them wants; each resource once. */
export function unionOf(all: Iterable<WatchWanted>): Required<WatchWanted> {
  const union = { toolsListChanged: false, promptsListChanged: false, resourcesListChanged: false };
  const uris = new Set<string>();
  for (const wanted of all) {
    union.toolsListChanged ||= wanted.toolsListChanged === true;
    union.promptsListChanged ||= wanted.promptsListChanged === true;
    union.resourcesListChanged ||= wanted.resourcesListChanged === true;
    for (const uri of wanted.resourceSubscriptions ?? [])
      if (uris.size < MAX_URIS && uri.length <= MAX_URI) uris.add(uri);
  }
  return { ...union, resourceSubscriptions: [...uris] };
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
  };
}

export function isNothing(wanted: WatchWanted): boolean {
  return (
    !wanted.toolsListChanged &&
    !wanted.promptsListChanged &&
    !wanted.resourcesListChanged &&
    (wanted.resourceSubscriptions ?? []).length === 0
  );
}

export function isSame(one: Required<WatchWanted>, other: Required<WatchWanted>): boolean {
  const uris = new Set(other.resourceSubscriptions);
  return (
    one.toolsListChanged === other.toolsListChanged &&
    one.promptsListChanged === other.promptsListChanged &&
    one.resourcesListChanged === other.resourcesListChanged &&
    one.resourceSubscriptions.length === uris.size &&
    one.resourceSubscriptions.every((uri) => uris.has(uri))
  );
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
    default:
      return false;
  }
}

/** 2025-11-25 "Resource Updated Notification": it may name a part of what was subscribed to. */
function follows(uris: readonly string[], uri: unknown): boolean {
  if (typeof uri !== "string" || uri.length > MAX_URI) return false;
  return uris.some((one) => uri === one || uri.startsWith(one.endsWith("/") ? one : `${one}/`));
}
