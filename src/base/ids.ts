import type { World } from "./world.ts";

const ID_BYTES = 16;
const SECRET_BYTES = 32;

/** An opaque row id: 128 random bits with a readable prefix (`cred_…`). Ids order nothing; rows have `created_at`. */
export function newId(world: Pick<World, "random">, prefix: string): string {
  return `${prefix}_${Buffer.from(world.random(ID_BYTES)).toString("base64url")}`;
}

/** A secret value: 256 random bits, base64url (43 characters), with an optional prefix. */
export function newSecret(world: Pick<World, "random">, prefix = ""): string {
  return prefix + Buffer.from(world.random(SECRET_BYTES)).toString("base64url");
}
