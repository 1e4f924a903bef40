import { testSettings } from "../../test/support/settings.ts";
import { testWorld } from "../../test/support/world.ts";
import { Seal } from "../base/index.ts";
import type { Database } from "../db/index.ts";
import {
  checkDefinition,
  type DefinitionBody,
  type ToolDefinition,
  type ToolNews,
  Upstreams,
} from "./index.ts";
import { heldHash } from "./tool-pins.ts";
import { readVersions } from "./tool-version-rows.ts";

export const sendMail: ToolDefinition = {
  name: "send_mail",
  title: "Send mail",
  description: "Sends a mail to one address.",
  inputSchema: {
    type: "object",
    properties: {
      to: { type: "string", format: "email" },
      text: { type: "string", default: "" },
      priority: { enum: ["low", "high"] },
    },
    required: ["to"],
    additionalProperties: false,
  },
  outputSchema: { type: "object", properties: { id: { type: "string" } } },
  annotations: { readOnlyHint: false, destructiveHint: false },
  icons: [{ src: "https://mail.example/icon.png", mimeType: "image/png" }],
  execution: { taskSupport: "optional" },
  _meta: { "ui/resourceUri": "ui://mail/form" },
};

export const search: ToolDefinition = {
  name: "search",
  description: "Finds café mails.",
  inputSchema: { type: "object", properties: { q: { type: "string" } } },
};

const body: DefinitionBody = {
  name: "mail",
  connection_string: "https://mail.example/mcp",
  tools_to_execute: ["*"],
};

/** One upstream whose list was read once, with both tools. */
export async function openMail(database: Database, more: Partial<DefinitionBody> = {}) {
  const world = testWorld();
  const settings = testSettings();
  const parts = { world, database, seal: new Seal([world.random(32)], world.random), settings };
  const upstreams = new Upstreams(parts);
  await upstreams.load();
  const heard: ToolNews[] = [];
  upstreams.listeners.push({ toolsChanged: async (_tx, _upstream, news) => void heard.push(news) });
  const { id } = await upstreams.create(checkDefinition({ ...body, ...more }), "api");
  const read = async (...tools: ToolDefinition[]) => {
    world.advance(60_000);
    await upstreams.recordTools(id, tools);
  };
  const tools = () => upstreams.get(id).tools;
  const versions = async (status: string) =>
    (await readVersions(database.db, id)).filter((version) => version.status === status);
  const decide = async (
    status: "approved" | "rejected",
    of: { hashes: readonly string[] } | { all: string },
  ) => {
    world.advance(1000);
    return upstreams.pins.decide(id, { status, of, by: "admin_token", also: async () => {} });
  };
  const all = async () => heldHash(await readVersions(database.db, id), upstreams.get(id).perUser);
  await read(sendMail, search);
  return { ...parts, upstreams, id, read, tools, versions, decide, all, heard };
}

export type Mail = Awaited<ReturnType<typeof openMail>>;
