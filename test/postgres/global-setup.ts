import type { TestProject } from "vitest/node";
import { startPostgres } from "./start-postgres.ts";

declare module "vitest" {
  interface ProvidedContext {
    /** The Postgres of this test run; its user may create databases. */
    postgresUrl: string;
  }
}

/** One Postgres for the whole run; each test file makes its own database with `freshPostgresDatabase`. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const postgres = await startPostgres();
  project.provide("postgresUrl", postgres.url);
  return postgres.stop;
}
