/** Writes docs/guide/permissions.md from the route table: `node scripts/permissions.ts`. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { openGateway } from "../src/app.ts";
import { loadConfig } from "../src/config.ts";
import { permissionsPage } from "../test/principals/page.ts";

export const FILE = join(import.meta.dirname, "../docs/guide/permissions.md");

/** The page as the file has it. Nothing listens; the database is in memory. */
export async function permissionsText(): Promise<string> {
  const key = Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("base64");
  const config = loadConfig({
    environment: {
      POSTERN_DATABASE_URL: "sqlite::memory:",
      POSTERN_ENCRYPTION_KEY: key,
      POSTERN_LOG_LEVEL: "silent",
    },
  });
  const gateway = await openGateway(config);
  try {
    return permissionsPage(gateway.routes);
  } finally {
    await gateway.close();
  }
}

if (process.argv[1] === import.meta.filename) writeFileSync(FILE, await permissionsText());
