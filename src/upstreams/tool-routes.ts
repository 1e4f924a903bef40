import { z } from "zod";
import { toolPinPolicies } from "../base/index.ts";
import { commaList, json, pageAnswer, pageQuery, type Route } from "../http/index.ts";
import { route } from "../identity/index.ts";
import type { AdministrationParts } from "./administration-parts.ts";
import { ToolChanges } from "./tool-changes.ts";

const common = {
  tag: "MCP clients",
  rate: "api",
  errors: "envelope",
  access: "admin",
  params: z.object({ id: z.string().max(128) }),
} as const;
const hash = z.string().regex(/^[0-9a-f]{64}$/);
const time = z.iso.datetime();

const choice = z.strictObject({
  hashes: z.array(hash).min(1).max(1000).optional(),
  all: hash.optional(),
});

const change = z
  .object({
    tool: z.string(),
    kind: z.enum(["changed", "new"]),
    status: z.enum(["held", "rejected"]),
    hash,
    approved_hash: hash.optional(),
    offered: z.boolean(),
    first_seen_at: time,
    decided_at: time.optional(),
    decided_by: z.string().optional(),
    fields: z.array(
      z.object({ field: z.string(), before: z.string().optional(), after: z.string().optional() }),
    ),
    diff: z.string(),
    truncated: z.boolean(),
  })
  .meta({ id: "ToolChange" });

const heldTools = z.int().min(0);

const listAnswer = pageAnswer("changes", change).extend({
  policy: z.enum(toolPinPolicies),
  held_tools: heldTools,
  held_hash: hash,
});

const decisionAnswer = z.object({
  status: z.literal("success"),
  message: z.string(),
  mcp_client_id: z.string(),
  decided: z.int().min(0),
  held_tools: heldTools,
});

/** Definitions of tools that differ from what was approved (decision 20). */
export function toolRoutes(parts: AdministrationParts): Route[] {
  const changes = new ToolChanges(parts);
  return [listRoute(changes), decisionRoute(changes, "approve"), decisionRoute(changes, "reject")];
}

function listRoute(changes: ToolChanges): Route {
  return route({
    ...common,
    method: "GET",
    csrf: "none",
    path: "/api/mcp/client/{id}/tools/changes",
    operationId: "listToolChanges",
    summary: "Definitions of tools that wait for approval or were turned down, each with what it changes",
    query: z.object({
      ...pageQuery({ max: 100, default: 25 }),
      status: commaList(["held", "rejected"]),
    }),
    refuses: [],
    answers: { 200: { description: "A page of them, by tool", schema: listAnswer } },
    handle: async ({ params, query }) => json(await changes.list(params.id, query)),
  });
}

function decisionRoute(changes: ToolChanges, verb: "approve" | "reject"): Route {
  const isApproval = verb === "approve";
  return route({
    ...common,
    method: "POST",
    csrf: "session",
    path: `/api/mcp/client/{id}/tools/${verb}`,
    operationId: isApproval ? "approveToolChanges" : "rejectToolChanges",
    summary: isApproval
      ? "Approves definitions by their hashes, or all that are held by held_hash"
      : "Turns definitions down: clients go on without them",
    json: choice,
    refuses: [409],
    answers: { 200: { description: "Decided, all of them or none", schema: decisionAnswer } },
    handle: async ({ params, body, caller, requestId }) =>
      json(await changes[verb](params.id, body, { caller, requestId })),
  });
}
