/**
 * Whose a credential is: one column pair everywhere, unique together with upstream and account.
 * `flow`: connected during a consent, nobody's yet. `discovery`: an administrator's, used only to list an upstream's tools.
 * `shared`: an upstream's own (the id is the upstream's), used for everybody's calls and for no per-person upstream.
 */
export type OwnerMode = "user" | "vk" | "session" | "flow" | "discovery" | "shared";

export interface Owner {
  mode: OwnerMode;
  id: string;
}

/** What a person calls one of several accounts; part of tool names, so only what every client takes there. */
export const accountLabel = /^[a-z0-9_-]{1,40}$/;

export function sameOwner(a: Owner, b: Owner): boolean {
  return a.mode === b.mode && a.id === b.id;
}
