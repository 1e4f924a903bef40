import type { Hidden } from "../base/index.ts";
import type { Opened } from "../vault/index.ts";
import type { RelayUpstream } from "./parts.ts";

type Authorize = (headers: Record<string, string>) => void;

/**
 * A credential for an upstream that declares per-user headers: only declared names are sent, and all of them. One that
 * lacks a name needs its person; nothing is sent in part (ID-21).
 */
export function declaredOnly(upstream: RelayUpstream, opened: Opened): Opened {
  const names = upstream.perUserHeaderKeys ?? [];
  if (names.length === 0 || opened.outcome !== "ready") return opened;
  const held: Record<string, string> = {};
  opened.authorize(held);
  if (names.some((name) => !Object.hasOwn(held, name.toLowerCase())))
    return { outcome: "needs_user", reason: "needs_update" };
  return { ...opened, authorize: setting(names, (name) => held[name]!) };
}

/** The same for values that are only tried. */
export function trialOf(upstream: RelayUpstream, trial: Readonly<Record<string, Hidden>>): Authorize {
  return setting(upstream.perUserHeaderKeys ?? [], (name) => trial[name]!.reveal());
}

/** A static header never stands in for a person's value: the person's is set last. */
function setting(names: readonly string[], valueAt: (name: string) => string): Authorize {
  const lower = names.map((name) => name.toLowerCase());
  return (headers) => {
    for (const name of lower) headers[name] = valueAt(name);
  };
}
