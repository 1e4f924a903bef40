import { z } from "zod";
import { Problem } from "../base/index.ts";
import type { Database, Row } from "../db/index.ts";
import { json, type Route } from "../http/index.ts";
import { isAdmin, type Principal, route } from "../identity/index.ts";
import { type AuditFilter, AuditReader } from "./audit-query.ts";

const time = z.iso.datetime({ offset: true }).transform((text) => new Date(text).getTime());

const filters = {
  event: z.string().max(512).optional(),
  actor: z.string().max(256).optional(),
  owner: z.string().max(256).optional(),
  mcp_client_id: z.string().max(128).optional(),
  from: time.optional(),
  to: time.optional(),
  q: z.string().max(256).optional(),
};

const listQuery = z.object({
  ...filters,
  limit: z.coerce.number().int().min(1).max(500).default(50),
  cursor: z
    .string()
    .regex(/^aud_[0-9a-z]{9}_[\w-]{22}$/, "is not the next_cursor of an earlier answer")
    .optional(),
});

const lineView = z.object({
  id: z.string(),
  time: z.iso.datetime(),
  event: z.string(),
  actor: z.string(),
  owner: z.object({ mode: z.string(), id: z.string() }).optional(),
  mcp_client_id: z.string().optional(),
  request_id: z.string().optional(),
  detail: z.record(z.string(), z.unknown()),
});

const listAnswer = z.object({
  events: z.array(lineView),
  count: z.int(),
  limit: z.int(),
  next_cursor: z.string().optional(),
});

const path = "/api/audit";
const common = {
  method: "GET",
  tag: "Audit",
  access: "management",
  csrf: "none",
  rate: "api",
  errors: "envelope",
  refuses: [],
} as const;

/** Windows of one answer: a search that finds little looks at a hundred thousand lines, and says where to go on. */
const LIST_WINDOWS = 20;
const EXPORT_BATCH = 1000;

/** Who did what (contract section 7): an administrator sees everything, a person what is theirs. */
export function auditRoutes({ database }: { database: Database }): Route[] {
  const reader = new AuditReader(database);
  return [listRoute(reader), exportRoute(reader)];
}

function listRoute(reader: AuditReader): Route {
  return route({
    ...common,
    path,
    operationId: "listAudit",
    summary: "Who did what, newest first",
    query: listQuery,
    answers: { 200: { description: "Lines, and where to go on while there is more", schema: listAnswer } },
    handle: async ({ query: { limit, cursor, ...query }, caller }) => {
      const filter = filterOf(query, caller);
      const options = { cursor, limit, direction: "newest_first", windows: LIST_WINDOWS } as const;
      const { rows, next } = await reader.page(filter, options);
      return json({ events: rows.map(view), count: rows.length, limit, next_cursor: next });
    },
  });
}

function exportRoute(reader: AuditReader): Route {
  return route({
    ...common,
    path: `${path}/export`,
    operationId: "exportAudit",
    summary: "The same as a file: one JSON object per line, oldest first",
    query: z.object(filters),
    answers: { 200: { description: "NDJSON, streamed", media: ["application/x-ndjson"] } },
    handle: ({ query, caller }) =>
      new Response(lines(reader, filterOf(query, caller)), {
        headers: {
          "content-type": "application/x-ndjson",
          "content-disposition": 'attachment; filename="audit.ndjson"',
        },
      }),
  });
}

/** Reads on only as the client takes what it has: memory holds one batch, however long the trail. */
function lines(reader: AuditReader, filter: AuditFilter): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  let cursor: string | undefined;
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        for (;;) {
          const options = { cursor, limit: EXPORT_BATCH, direction: "oldest_first", windows: 1 } as const;
          const { rows, next } = await reader.page(filter, options);
          cursor = next;
          if (rows.length > 0) {
            controller.enqueue(encoder.encode(rows.map((row) => `${JSON.stringify(view(row))}\n`).join("")));
          }
          if (next === undefined) return controller.close();
          if (rows.length > 0) return;
        }
      },
    },
    // Nothing is read before it is asked for; HEAD never asks.
    { highWaterMark: 0 },
  );
}

type Query = z.output<z.ZodObject<typeof filters>>;

function filterOf({ event, mcp_client_id, ...rest }: Query, caller: Principal): AuditFilter {
  return {
    ...rest,
    events: event?.split(",").filter((word) => word !== ""),
    upstreamId: mcp_client_id,
    ofUser: isAdmin(caller) ? undefined : personOf(caller),
  };
}

function personOf(caller: Principal): string {
  const userId = caller.kind === "virtual_key" || caller.kind === "admin_token" ? undefined : caller.userId;
  if (userId !== undefined) return userId;
  throw new Problem(
    "forbidden",
    "sign_in_required",
    "Sign in with your own account to read the audit trail.",
  );
}

function view(row: Row<"audit">): z.output<typeof lineView> {
  return {
    id: row.id,
    time: new Date(row.at).toISOString(),
    event: row.event,
    actor: row.actor,
    owner:
      row.owner_mode !== null && row.owner_id !== null
        ? { mode: row.owner_mode, id: row.owner_id }
        : undefined,
    mcp_client_id: row.upstream_id ?? undefined,
    request_id: row.request_id ?? undefined,
    detail: JSON.parse(row.detail_json) as Record<string, unknown>,
  };
}
