import type { Owner } from "../base/index.ts";

/** Who calls, once proved. Exactly one kind per request; there is no anonymous administrator. */
export type Principal =
  | { kind: "admin_token" }
  | { kind: "user"; userId: string; email: string; name: string; role: "admin" | "member"; sessionId: string }
  /** `role`: what counts now, never more than its owner's. Without `userId`: nobody's, made with POSTERN_ADMIN_TOKEN. */
  | {
      kind: "api_token";
      tokenId: string;
      name: string;
      role: "admin" | "member";
      scopes: readonly string[];
      userId?: string;
    }
  | { kind: "virtual_key"; virtualKeyId: string; name: string; userId?: string };

export function isAdmin(principal: Principal): boolean {
  if (principal.kind === "admin_token") return true;
  return principal.kind !== "virtual_key" && principal.role === "admin";
}

/** Whose credentials the caller's own are; undefined for the automation token, which has none. */
export function ownerOf(principal: Principal): Owner | undefined {
  switch (principal.kind) {
    case "admin_token":
      return undefined;
    case "user":
      return { mode: "user", id: principal.userId };
    case "api_token":
      return principal.userId === undefined ? undefined : { mode: "user", id: principal.userId };
    case "virtual_key":
      // Contract section 1: a key that belongs to a user acts as that user.
      return principal.userId
        ? { mode: "user", id: principal.userId }
        : { mode: "vk", id: principal.virtualKeyId };
  }
}

/** For audit lines: kind and id, never a name that could change. */
export function actorOf(principal: Principal): string {
  switch (principal.kind) {
    case "admin_token":
      return "admin_token";
    case "user":
      return `user:${principal.userId}`;
    case "api_token":
      return principal.userId === undefined
        ? `token:${principal.tokenId}`
        : `user:${principal.userId}/token:${principal.tokenId}`;
    case "virtual_key":
      return `vk:${principal.virtualKeyId}`;
  }
}
