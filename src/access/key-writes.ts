import { Problem } from "../base/index.ts";
import type { Tx } from "../db/index.ts";
import type { KeyConfig } from "./virtual-key.ts";

/** What ends the value before a rotation. */
export const noPreviousValue = { previous_value_hash: null, previous_value_expires_at: null };

export async function isNameTaken(tx: Tx, name: string): Promise<boolean> {
  const row = await tx.selectFrom("virtual_keys").select("id").where("name", "=", name).executeTakeFirst();
  return row !== undefined;
}

/** Throws 400 when there is no such user. */
export async function requireUser(tx: Tx, userId: string): Promise<void> {
  const user = await tx.selectFrom("users").select("id").where("id", "=", userId).executeTakeFirst();
  if (user) return;
  throw new Problem("invalid", "unknown_user", "There is no user with this id. Check user_id.", {
    param: "user_id",
  });
}

/** Makes `configs` all that the key names. */
export async function writeConfigs(tx: Tx, keyId: string, configs: readonly KeyConfig[]): Promise<void> {
  await tx.deleteFrom("virtual_key_upstreams").where("virtual_key_id", "=", keyId).execute();
  if (configs.length === 0) return;
  await tx
    .insertInto("virtual_key_upstreams")
    .values(
      configs.map(({ upstreamId, tools }) => ({
        virtual_key_id: keyId,
        upstream_id: upstreamId,
        tools_json: JSON.stringify(tools),
      })),
    )
    .execute();
}

export function nameTaken(): Problem {
  return new Problem("conflict", "name_taken", "Another virtual key has this name. Choose a different one.", {
    param: "name",
  });
}

export function unknownKeyNamed(): Problem {
  return new Problem("invalid", "unknown_virtual_key", "There is no virtual key with one of these ids.", {
    param: "vk_configs",
  });
}

export function unknownKey(): Problem {
  return new Problem(
    "not_found",
    "virtual_key_not_found",
    "There is no such virtual key. List them to find its id.",
  );
}

export function fixedValue(): Problem {
  return new Problem(
    "conflict",
    "managed_by_file",
    "The configuration file names the value of this key. Change the value there and restart.",
  );
}
