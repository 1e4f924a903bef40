import { expect, test } from "vitest";
import type { RelayCall } from "../relay/index.ts";
import { CarriedCalls } from "./carried-calls.ts";
import { openBench } from "./endpoint.suite.ts";
import { Mailbox } from "./mailbox.ts";

test("on SQLite, which serves one process, the task of a program before a restart is unknown at once", async () => {
  const bench = await openBench();
  try {
    const mailbox = new Mailbox(bench);
    const calls = new CarriedCalls(bench, mailbox);
    const call = {
      upstream: { id: "up", name: "jobs", connectionType: "stdio", timeoutMs: 60_000 },
      method: "tasks/get",
      params: { taskId: "1" },
      client: { era: "legacy", capabilities: {} },
      tasks: true,
      session: "@7 the-process-before",
      signal: new AbortController().signal,
    } as unknown as RelayCall;
    const known = { outcome: "error", error: { code: -32602, message: "Task not found" } };
    expect(await calls.call(call)).toEqual(known);
    const left = await bench.database.db.selectFrom("replica_messages").selectAll().execute();
    expect(left).toEqual([]);
  } finally {
    await bench.close();
  }
});
