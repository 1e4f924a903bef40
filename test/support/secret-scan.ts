import { afterAll, afterEach } from "vitest";
import { beforeDrop } from "../postgres/database.ts";
import { assertNoSecretLeft, examine } from "./leavings.ts";
import { dumpPostgres } from "./postgres-dump.ts";

// ST-01: for every test of the whole run, of which this is a set-up file (vitest.config.ts). Hooks run last to first, so a
// test has closed what it opened by then.
beforeDrop.push(async (url) => examine("the Postgres database", await dumpPostgres(url)));
afterEach(assertNoSecretLeft);
afterAll(assertNoSecretLeft);
