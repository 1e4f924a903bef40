/** Writes docs/openapi.json, what `/api/openapi.json` says on the default address: `node scripts/openapi.ts`. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { openGateway } from "../src/app.ts";
import { loadConfig } from "../src/config.ts";

export const FILE = join(import.meta.dirname, "../docs/openapi.json");
const ADDRESS = "http://localhost:8080";

/** The document as the file has it. Nothing listens; the database is in memory. */
export async function openapiText(): Promise<string> {
  const key = Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("base64");
  const config = loadConfig({
    environment: {
      POSTERN_BASE_URL: ADDRESS,
      POSTERN_DATABASE_URL: "sqlite::memory:",
      POSTERN_ENCRYPTION_KEY: key,
      POSTERN_LOG_LEVEL: "silent",
    },
  });
  const gateway = await openGateway(config);
  try {
    const answer = await gateway.fetch(new Request(`${ADDRESS}/api/openapi.json`));
    if (answer.status !== 200)
      throw new Error(`the gateway answered ${answer.status} instead of its document`);
    return `${JSON.stringify(await answer.json(), undefined, 2)}\n`;
  } finally {
    await gateway.close();
  }
}

if (process.argv[1] === import.meta.filename) writeFileSync(FILE, await openapiText());
