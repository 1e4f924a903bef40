import { Hidden, type Owner, sha256 } from "../base/index.ts";
import { actorWithJwt, type JwtIdentity } from "../identity/index.ts";
import type { Caller } from "./caller.ts";

/** What is the same for every request with a token. */
const known = new WeakMap<JwtIdentity, Caller>();

/** The caller that a proved token stands for; undefined for an administrator, who has no identity of their own here. */
export function callerOfJwt(identity: JwtIdentity, token: string): Caller | undefined {
  if (identity.kind === "admin") return undefined;
  let caller = known.get(identity);
  if (!caller) {
    caller = describe(identity);
    known.set(identity, caller);
  }
  const { issuer, subject, standing } = identity;
  return { ...caller, vouched: { issuer, subject, standing, token: new Hidden(token) } };
}

function describe(identity: JwtIdentity): Caller {
  const { issuer, subject, userId, virtualKeyId, until } = identity;
  // Contract section 1: a key that belongs to a user acts as that user, under its own rules.
  const owner: Owner =
    userId === undefined ? { mode: "vk", id: virtualKeyId! } : { mode: "user", id: userId };
  const actor = actorWithJwt(virtualKeyId === undefined ? `user:${userId}` : `vk:${virtualKeyId}`, identity);
  // The next token of the same subject goes on with the sessions of this one, and nobody else's does.
  const binding = `jwt:${sha256(JSON.stringify([issuer, subject, owner.mode, owner.id, virtualKeyId]))}`;
  return { owner, virtualKeyId, actor, binding, until };
}
