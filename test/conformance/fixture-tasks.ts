import { fromJsonSchema, type McpServer } from "@modelcontextprotocol/server";
import { TaskIntercept } from "../peers/task-intercept.ts";
import { type Json, taskTools } from "../peers/task-jobs.ts";

/** The tasks of the fixture, in both forms. */
export class FixtureTasks extends TaskIntercept {
  constructor() {
    super({ pollMs: 100 });
  }

  capabilities(era: "modern" | "legacy"): Json {
    return this.wire.capabilities(era === "modern" ? "extension" : "core");
  }

  register(server: McpServer): void {
    // The suite takes the first tool of the list for what needs none in particular; ours need a client that knows tasks.
    server.registerTool("agree", { description: "Says yes" }, () => ({
      content: [{ type: "text", text: "yes" }],
    }));
    for (const { name, description, taskSupport } of taskTools) {
      const inputSchema = fromJsonSchema<Json>({ type: "object" });
      const tool = server.registerTool(name, { description, inputSchema }, () => ({
        content: [{ type: "text", text: "nobody gets here" }],
      }));
      // `registerTool` has no word for it; the list of 2025-11-25 does.
      if (taskSupport) tool.execution = { taskSupport };
    }
  }
}
