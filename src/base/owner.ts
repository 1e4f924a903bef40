/**
 * Whose a credential is: one column pair everywhere, unique together with upstream and account.
 * `flow`: connected during a consent, nobody's yet. `discovery`: an administrator's, used only to list an upstream's tools.
 */
export type OwnerMode = "user" | "vk" | "session" | "flow" | "discovery";

export interface Owner {
  mode: OwnerMode;
  id: string;
}

export function sameOwner(a: Owner, b: Owner): boolean {
  return a.mode === b.mode && a.id === b.id;
}
