import { expect } from "vitest";
import type { Cell, Feature } from "./features.ts";
import { firstWithTasks } from "./peer-tasks.ts";
import { type Json, modern } from "./revisions.ts";

const textOf = (result: Json): string => result.content[0].text;
const toolOf = ({ upstream }: Cell, tool: string) => `${upstream.name}-${tool}`;
const call = (cell: Cell, tool: string, args?: Json) => cell.client.callTool(toolOf(cell, tool), args);

/** A call that became a task; the id is the gateway's. */
async function started(cell: Cell, tool: string, args?: Json): Promise<string> {
  const { taskId, status } = await cell.client.tasks!.start(toolOf(cell, tool), args);
  expect(status).toMatch(/^(?:working|input_required)$/);
  // Longer than any that an upstream gives: it is sealed.
  expect(taskId.length).toBeGreaterThan(64);
  return taskId;
}

/** The SDK v2 dropped those of 2025-11-25, so `sdk`. */
const because = "tasks are of 2025-11-25; a client without them waits, and gets the result";
const client = { since: firstWithTasks, because, sdk: "with tasks" } as const;
const upstream = { since: firstWithTasks, because: "" };

const research = "simulate-research-query";

export const taskFeatures: readonly Feature[] = [
  {
    name: "a call as a task: begun, looked at, its result fetched",
    client,
    upstream,
    run: async (cell) => {
      const { look, result, list } = cell.client.tasks!;
      const id = await started(cell, "job", { word: cell.token });
      expect(await look(id)).toMatchObject({
        taskId: id,
        status: expect.stringMatching(/working|completed/),
      });
      expect(textOf(await result(id))).toBe(`done ${cell.token}`);
      // It is there after its end, the same from every replica.
      expect(await look(id)).toMatchObject({ taskId: id, status: "completed" });
      expect(textOf(await result(id))).toBe(`done ${cell.token}`);
      // Everybody shares the account: nobody is shown the tasks of it.
      await expect(list()).rejects.toMatchObject({ code: -32601 });
    },
    instead: async (cell) =>
      expect(textOf(await call(cell, "job", { word: cell.token }))).toBe(`done ${cell.token}`),
    everything: async (cell) => {
      const id = await started(cell, research, { topic: cell.token });
      expect(textOf(await cell.client.tasks!.result(id))).toContain(`Research Report: ${cell.token}`);
    },
    everythingInstead: async (cell) =>
      expect(textOf(await call(cell, research, { topic: cell.token }))).toContain(
        `Research Report: ${cell.token}`,
      ),
  },
  {
    name: "a task that asks for something",
    client,
    upstream,
    run: async (cell) => {
      const id = await started(cell, "job-asks");
      expect(textOf(await cell.client.tasks!.result(id))).toContain('"colour":"blue"');
      expect(cell.client.asked).toContainEqual(
        expect.objectContaining({ message: `[${cell.upstream.name}] Which colour?` }),
      );
    },
    instead: async (cell) => {
      const said = await call(cell, "job-asks").then(textOf, ({ message }: Error) => message);
      // Elicitation is of 2025-06-18: who cannot be asked is not, and the upstream or the client hears so.
      if (cell.client.revision < "2025-06-18")
        expect(said).toMatch(/"cancel"|asks for more before it can go on/);
      else expect(said).toContain('"colour":"blue"');
    },
    everything: async (cell) => {
      const id = await started(cell, research, { topic: cell.token, ambiguous: true });
      expect(textOf(await cell.client.tasks!.result(id))).toContain("User accepted without selection");
    },
  },
  {
    name: "a task that is cancelled",
    client,
    upstream,
    run: async (cell) => {
      const { look, cancel } = cell.client.tasks!;
      const id = await started(cell, "job-stays", { token: cell.token });
      expect(await look(id)).toMatchObject({ status: "working" });
      await cancel(id);
      expect(textOf(await call(cell, "was-cancelled", { token: cell.token }))).toContain("was cancelled");
      expect(await look(id)).toMatchObject({ status: "cancelled" });
    },
    // Who waits for it and goes takes it along.
    instead: async (cell) => {
      const { token } = cell;
      const leaving = new AbortController();
      const waiting = cell.client.callTool(toolOf(cell, "job-stays"), { token }, { signal: leaving.signal });
      const left = waiting.catch((error: unknown) => error);
      await call(cell, "has-begun", { token });
      leaving.abort();
      expect(await left).toBeInstanceOf(Error);
      expect(textOf(await call(cell, "was-cancelled", { token }))).toBe(`${token} was cancelled`);
    },
    everything: async (cell) => {
      const { look, cancel } = cell.client.tasks!;
      const id = await started(cell, research, { topic: cell.token });
      await cancel(id);
      expect(await look(id)).toMatchObject({ status: "cancelled" });
    },
  },
  {
    name: "a call as a task, of a tool that makes none",
    client: {
      ...client,
      because: "tasks are of 2025-11-25; a client without them does not ask for one",
    },
    run: async (cell) => {
      const { start, result } = cell.client.tasks!;
      const asked = start(toolOf(cell, "count"));
      // 2026-07-28: the server decides. 2025-11-25: the tool has to have said so, which all of a newer upstream are made to.
      if (cell.client.revision === modern) expect(textOf(await asked)).toBe("counted");
      else if (cell.upstream.revision !== modern) await expect(asked).rejects.toMatchObject({ code: -32601 });
      else expect(textOf(await result((await asked).taskId))).toBe("counted");
    },
    instead: async (cell) => expect(textOf(await call(cell, "count"))).toBe("counted"),
    everything: async (cell) => {
      const asked = cell.client.tasks!.start("everything-echo", { message: "hi" });
      if (cell.client.revision === modern) expect(textOf(await asked)).toBe("Echo: hi");
      else await expect(asked).rejects.toMatchObject({ code: -32601 });
    },
  },
];
