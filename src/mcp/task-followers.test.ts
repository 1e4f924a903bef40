import { afterEach, describe, expect, test } from "vitest";
import { text } from "../../test/peers/task-jobs.ts";
import { Events } from "../../test/support/events.ts";
import { type Json, META } from "./endpoint.suite.ts";
import { openTaskBench, said, type TaskBench, tasksDeclared } from "./tasks.suite.ts";

let at: TaskBench;
afterEach(() => at.close());

const slow = { name: "jobs-slow_compute", arguments: { seconds: 60 } };

function listen(notifications: Json, capabilities: Json = tasksDeclared): Promise<Response> {
  const _meta = { [`${META}protocolVersion`]: "2026-07-28", [`${META}clientCapabilities`]: capabilities };
  const method = "subscriptions/listen";
  return at.bench.fetch(
    { jsonrpc: "2.0", id: "sub", method, params: { notifications, _meta } },
    { authorization: `Bearer ${at.key}`, "mcp-protocol-version": "2026-07-28", "mcp-method": method },
  );
}

describe.each(["core", "extension"] as const)(
  "tasks of the form %s, followed on a standing stream",
  (form) => {
    test("SEP-2663 what is honoured is acknowledged, and each change told as tasks/get would", async () => {
      const end = Promise.withResolvers<Json>();
      const gated = {
        name: "gated",
        description: "",
        taskSupport: "optional",
        run: () => end.promise,
      } as const;
      at = await openTaskBench({ form, tools: [gated] });
      const { taskId } = (await at.modern("tools/call", { name: "jobs-gated" })).result;
      const events = new Events(await listen({ taskIds: [taskId, "made-up"] }));
      expect((await events.next()).params.notifications).toEqual({ taskIds: [taskId] });
      const first = await events.next();
      expect(first).toMatchObject({ method: "notifications/tasks", params: { taskId, status: "working" } });
      expect(first.params._meta).toEqual({ [`${META}subscriptionId`]: "sub" });
      end.resolve(text("computed x"));
      const last = await events.next();
      expect(last.params.status).toBe("completed");
      expect(said(last.params.result)).toBe("computed x");
      await events.cancel();
      // However often it was looked at, once is written down.
      await at.bench.audit.flush();
      const lines = await at.bench.database.db.selectFrom("audit").select("detail_json").execute();
      const looks = lines
        .map((line) => JSON.parse(line.detail_json))
        .filter((line) => line.method === "tasks/get");
      expect(looks).toEqual([{ method: "tasks/get", target: "gated", outcome: "result" }]);
    });

    test("nothing is looked at once nobody listens", async () => {
      at = await openTaskBench({ form });
      const { taskId } = (await at.modern("tools/call", slow)).result;
      const events = new Events(await listen({ taskIds: [taskId] }));
      await events.next();
      await events.next();
      await events.cancel();
      await expect.poll(() => at.bench.streams.size).toBe(0);
      const looks = at.peer.calls("tasks/get").length;
      await at.modern("tasks/get", { taskId });
      expect(at.peer.calls("tasks/get").length).toBe(looks + 1);
    });
  },
);

test("-32021 without the extension, -32602 for what is no list of ids", async () => {
  at = await openTaskBench({ form: "extension" });
  const refused = async (response: Response) => ((await response.json()) as Json).error;
  const missing = await refused(await listen({ taskIds: ["x"] }, {}));
  expect(missing.code).toBe(-32021);
  expect(missing.data.requiredCapabilities).toEqual(tasksDeclared);
  expect((await refused(await listen({ taskIds: "x" }))).code).toBe(-32602);
});
