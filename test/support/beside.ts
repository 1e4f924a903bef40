/*
 * Another process on the SQLite file of a gateway, as commands are: it reads one snapshot for as long as it lives, writes all the
 * time, makes a backup and asks for checkpoints. node beside.ts <database> <backup>; ends when its input does, and
 * says what it saw.
 */
import { DatabaseSync } from "node:sqlite";
import { setTimeout as pause } from "node:timers/promises";
import { openSnapshot, type Snapshot, writeBackup } from "../../src/db/index.ts";

const [path = "", backup = ""] = process.argv.slice(2);
const database = new DatabaseSync(path, { timeout: 5000 });
let going = true;
process.stdin.resume().on("end", () => {
  going = false;
});

async function count(snapshot: Snapshot): Promise<number> {
  let rows = 0;
  for await (const batch of snapshot.rows("settings", [{ name: "name", bytes: false }])) rows += batch.length;
  return rows;
}

async function write(): Promise<number> {
  for (let written = 0; ; written++) {
    if (!going && written > 0) return written;
    database.exec("begin immediate");
    database.prepare("insert into settings values (?, '1', 1)").run(`beside ${written}`);
    database.exec("commit");
    if (written === 0) console.log("writing");
    if (written % 20 === 0) database.prepare("pragma wal_checkpoint(passive)").get();
    await pause(2);
  }
}

async function backUp(): Promise<void> {
  const snapshot = await openSnapshot(`sqlite:${path}`);
  await writeBackup(snapshot, { path: backup, force: false, postern: "0", now: new Date(0) });
  await snapshot.close();
}

const reader = await openSnapshot(`sqlite:${path}`);
const before = await count(reader);
const [written] = await Promise.all([write(), backUp()]);
const after = await count(reader);
await reader.close();
database.close();
console.log(JSON.stringify({ written, before, after }));
