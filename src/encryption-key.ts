import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { BadConfiguration } from "./config-problem.ts";

const KEY_BYTES = 32;

/** The keys of POSTERN_ENCRYPTION_KEY: the first seals, all of them open. */
export function parseKeys(text: string): Uint8Array[] {
  return text.split(",").map((part) => parseKey(part, "POSTERN_ENCRYPTION_KEY"));
}

/**
 * The key file beside a SQLite database, made at the first start; only this user may read it. Without `random` none is
 * made: it must be there.
 */
export function keyFromFile(
  databasePath: string,
  random: ((bytes: number) => Uint8Array) | undefined,
): Uint8Array[] {
  if (databasePath === ":memory:") return [(random ?? randomBytes)(KEY_BYTES)];
  const path = join(dirname(databasePath), "postern.key");
  if (!existsSync(path)) {
    if (existsSync(databasePath)) {
      throw new BadConfiguration(
        `The database ${databasePath} exists but its key file ${path} does not. Put the key file back, or set POSTERN_ENCRYPTION_KEY to the key it held.`,
      );
    }
    if (!random) {
      throw new BadConfiguration(
        `There is no key file ${path}. Put the one there that belongs to the backup, or set POSTERN_ENCRYPTION_KEY to the key it holds.`,
      );
    }
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    writeFileSync(path, `${Buffer.from(random(KEY_BYTES)).toString("base64")}\n`, {
      mode: 0o600,
      flag: "wx",
    });
  }
  if ((statSync(path).mode & 0o077) !== 0) {
    throw new BadConfiguration(`The key file ${path} can be read by others. Run: chmod 600 ${path}`);
  }
  return readFileSync(path, "utf8")
    .trim()
    .split(",")
    .map((part) => parseKey(part, path));
}

function parseKey(text: string, source: string): Uint8Array {
  const bytes = Buffer.from(text.trim(), "base64");
  const exact = bytes.toString("base64").replace(/=+$/, "") === text.trim().replace(/=+$/, "");
  if (!exact || bytes.length !== KEY_BYTES) {
    throw new BadConfiguration(
      `${source}: a key must be ${KEY_BYTES} bytes in base64. Make one with: openssl rand -base64 32`,
    );
  }
  if (new Set(bytes).size < 8) {
    throw new BadConfiguration(`${source}: this key is not random. Make one with: openssl rand -base64 32`);
  }
  return bytes;
}
