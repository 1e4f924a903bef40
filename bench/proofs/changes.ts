/*
 * How many transactions a second fifty writers get through on one Postgres, each noting two changes, at an earlier commit
 * and now: `node bench/proofs/changes.ts [commit]`.
 */
import { execFileSync } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { freshPostgresDatabase } from "../../test/postgres/database.ts";
import { startPostgres } from "../../test/postgres/start-postgres.ts";
import { BEFORE, versionAt } from "./replica.ts";
import { place, writeSection } from "./results.ts";

const WRITERS = 50;
const EACH = 20;
const ROUNDS = 3;

const [first, root, url] = process.argv.slice(2);
if (first === "--measure") await measure(root!, url!);
else await compare(first ?? BEFORE);

/** In a process of its own, so that the version under test is the only one there. Prints transactions per second. */
async function measure(root: string, url: string): Promise<void> {
  const { openLog } = (await import(
    join(root, "src/base/index.ts")
  )) as typeof import("../../src/base/index.ts");
  const { openDatabase } = (await import(
    join(root, "src/db/index.ts")
  )) as typeof import("../../src/db/index.ts");
  const database = await openDatabase(url, openLog("silent"));
  const write = (id: string) =>
    database.transaction(async (tx) => {
      const row = {
        kind: "x",
        subject: "s",
        sealed: Buffer.from("x"),
        attempts: 0,
        next_at: 0,
        created_at: 0,
      };
      for (const part of ["a", "b"]) {
        await tx
          .insertInto("outbox")
          .values({ id: part + id, ...row })
          .execute();
        await database.changes.note(tx, part, id, 0);
      }
      for (const part of ["a", "b"])
        await tx
          .deleteFrom("outbox")
          .where("id", "=", part + id)
          .execute();
    });
  const rates: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const startedAt = performance.now();
    await Promise.all(
      Array.from({ length: WRITERS }, async (_, writer) => {
        for (let at = 0; at < EACH; at++) await write(`${round}.${writer}.${at}`);
      }),
    );
    rates.push((WRITERS * EACH * 1_000) / (performance.now() - startedAt));
  }
  await database.close();
  console.log(Math.round(rates.toSorted((a, b) => a - b)[Math.floor(ROUNDS / 2)]!));
}

async function compare(commit: string): Promise<void> {
  const before = versionAt(commit);
  const server = await startPostgres();
  const now = join(import.meta.dirname, "../..");
  const figures: Record<string, number[]> = { [before]: [], [now]: [] };
  try {
    // In turn, so that whatever else the machine does falls on both.
    for (const version of [before, now, before, now]) {
      const fresh = await freshPostgresDatabase(server.url);
      const args = [import.meta.filename, "--measure", version, fresh.url];
      figures[version]!.push(Number(execFileSync(process.execPath, args, { encoding: "utf8" })));
      await fresh.drop();
    }
  } finally {
    await server.stop();
    rmSync(before, { recursive: true, force: true });
  }
  const [then, since] = [figures[before]!, figures[now]!].map((rates) => Math.max(...rates)) as [
    number,
    number,
  ];
  const lines = [
    `Written by \`node bench/proofs/changes.ts\`, ${place()}.`,
    "",
    `${WRITERS} writers at once on one Postgres (\`fsync\` off), each transaction with two changes and four other statements, pool of ten.`,
    "",
    "| | transactions/s |",
    "|---|---|",
    `| ${commit}: the counter held from the first change to the commit | ${then} |`,
    `| now: written by the last statement | ${since} (${(since / then).toFixed(1)} times) |`,
  ];
  console.log(lines.join("\n"));
  writeSection(new URL("../proofs.md", import.meta.url), "Changes", lines);
}
