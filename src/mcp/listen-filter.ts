import type { JsonObject } from "../base/index.ts";
import { isObject } from "./body.ts";
import type { Filters } from "./filters.ts";
import { canFollow } from "./followed-resources.ts";
import type { ListKind } from "./listener.ts";
import { capabilitiesOf, type Offer } from "./offers.ts";
import { code, Refusal } from "./refusal.ts";
import { LONGEST_URI, MOST_URIS, tooManySubscriptions } from "./subscriptions.ts";

/** What of a `subscriptions/listen` is honoured. */
export interface Honoured {
  lists: ListKind[];
  uris: string[];
  /** Resources that the caller cannot see, or nobody has. */
  unknown: string[];
  /** The same as `notifications` of the acknowledgement. */
  notifications: JsonObject;
}

const members = {
  toolsListChanged: "tools",
  promptsListChanged: "prompts",
  resourcesListChanged: "resources",
} as const;

/**
 * Reads the filter of 2026-07-28 "Subscriptions" and takes what this caller can be told: capabilities it has, resources it
 * may read and whose servers tell of changes (ID-30). Throws `Refusal` -32602 for what is no filter, `Problem` for too many.
 */
export function honour(params: JsonObject, offer: Offer, filters: Filters): Honoured {
  const asked = params.notifications;
  if (!isObject(asked)) throw malformed();
  const capabilities = capabilitiesOf(offer);
  const honoured: Honoured = { lists: [], uris: [], unknown: [], notifications: {} };
  for (const [member, kind] of Object.entries(members)) {
    if (asked[member] !== undefined && typeof asked[member] !== "boolean") throw malformed();
    if (asked[member] !== true || capabilities[kind] === undefined) continue;
    honoured.lists.push(kind);
    honoured.notifications[member] = true;
  }
  for (const uri of urisOf(asked)) {
    const found = uri.length <= LONGEST_URI ? offer.names.find(uri) : undefined;
    if (!found || !filters.allowUpstream(found.upstream)) honoured.unknown.push(uri);
    else if (canFollow(found.upstream)) honoured.uris.push(uri);
  }
  if (honoured.uris.length > 0) honoured.notifications.resourceSubscriptions = honoured.uris;
  return honoured;
}

function urisOf({ resourceSubscriptions: asked = [] }: JsonObject): string[] {
  if (!Array.isArray(asked)) throw malformed();
  const uris = new Set<string>();
  for (const uri of asked) {
    if (typeof uri !== "string") throw malformed();
    uris.add(uri);
  }
  if (uris.size > MOST_URIS) throw tooManySubscriptions();
  return [...uris];
}

function malformed(): Refusal {
  const message = 'Send "notifications" as an object: flags for lists, and "resourceSubscriptions" as URIs.';
  return new Refusal(code.invalidParams, message);
}
