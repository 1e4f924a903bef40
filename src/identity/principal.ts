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
  /** `jwt`: proved by a token of somebody else's that names the key. */
  | { kind: "virtual_key"; virtualKeyId: string; name: string; userId?: string; jwt?: JwtSubject }
  /** A token of somebody else's: for a person with what a member may, or for an administrator who has no account here. */
  | ({ kind: "jwt"; name: string; role: "admin" | "member"; userId?: string } & JwtSubject);

/** Who vouched for a caller, and for whom. */
export interface JwtSubject {
  issuer: string;
  subject: string;
}

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
    case "jwt":
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
      return actorWithJwt(`vk:${principal.virtualKeyId}`, principal.jwt);
    case "jwt":
      return actorWithJwt(principal.userId === undefined ? undefined : `user:${principal.userId}`, principal);
  }
}

/** Whoever acts by a token of somebody else's, with that one's name for them. */
export function actorWithJwt(actor: string | undefined, jwt: JwtSubject | undefined): string {
  if (!jwt) return actor ?? "";
  const vouched = `jwt:${jwt.issuer} ${jwt.subject}`;
  return actor === undefined ? vouched : `${actor}/${vouched}`;
}
