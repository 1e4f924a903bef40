import fc from "fast-check";
import type { Exchange, Handler } from "../peers/scripted-upstream.ts";
import { type Mutation, mutated, mutations } from "./mutations.ts";

type Json = Record<string, unknown>;

/** What a server may say to a call; `$id` stands for the id of its request. */
const said: readonly Json[] = [
  {
    jsonrpc: "2.0",
    id: "$id",
    result: { resultType: "complete", content: [{ type: "text", text: "$account" }] },
  },
  {
    jsonrpc: "2.0",
    id: "$id",
    result: { resultType: "complete", content: [], structuredContent: { a: [1] }, _meta: { b: {} } },
  },
  {
    jsonrpc: "2.0",
    id: "$id",
    result: {
      resultType: "input_required",
      inputRequests: { q: { method: "roots/list" } },
      requestState: "s",
    },
  },
  {
    jsonrpc: "2.0",
    id: "$id",
    result: { resultType: "task", taskId: "t", status: "working", createdAt: "x", ttlMs: 5 },
  },
  { jsonrpc: "2.0", id: "$id", error: { code: -32000, message: "no", data: { a: 1 } } },
  {
    jsonrpc: "2.0",
    id: "$id",
    error: {
      code: -32042,
      message: "open",
      data: { elicitations: [{ mode: "url", url: "https://x.example/", message: "m", elicitationId: "e" }] },
    },
  },
  { jsonrpc: "2.0", method: "notifications/progress", params: { progressToken: "$id", progress: 1 } },
  { jsonrpc: "2.0", method: "notifications/message", params: { level: "info", data: "$account" } },
  { jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId: "$id" } },
  { jsonrpc: "2.0", method: "notifications/tools/list_changed" },
  { jsonrpc: "2.0", id: "q1", method: "roots/list" },
  { jsonrpc: "2.0", id: 1, method: "sampling/createMessage", params: { messages: [] } },
  { jsonrpc: "2.0", id: 1, result: {} },
];

export interface HostileFrame {
  what: number;
  mutation: Mutation;
}
/** Most are as they should be: the mutated ones are to meet others that are under way. */
const untouched: Mutation = { changes: [], cut: { kind: "none" } };
export const frames: fc.Arbitrary<HostileFrame[]> = fc.array(
  fc.record({
    what: fc.nat(said.length - 1),
    mutation: fc.oneof({ weight: 1, arbitrary: fc.constant(untouched) }, { weight: 2, arbitrary: mutations }),
  }),
  { minLength: 1, maxLength: 5 },
);

/** The bytes of a frame for one call. */
export function frameFor({ what, mutation }: HostileFrame, id: unknown, account: string): Buffer {
  const text = JSON.stringify(said[what])
    .replaceAll('"$id"', JSON.stringify(id))
    .replaceAll("$account", account);
  return mutated(JSON.parse(text), mutation);
}

const fields = fc.constantFrom(
  "data: ",
  "data:",
  "event: message\ndata: ",
  "event: odd\ndata: ",
  "id: 7\ndata: ",
  ": ",
  "retry: 1\ndata: ",
  "",
);
const ends = fc.constantFrom("\n\n", "\r\n\r\n", "\r\r", "\n", "\n\n\n\n");

export const answers = fc.record({
  frames,
  stream: fc.boolean(),
  field: fields,
  end: ends,
  // No 401: it would end Alice's account, and with it the rest of the runs.
  status: fc.oneof(
    { weight: 8, arbitrary: fc.constant(200) },
    { weight: 1, arbitrary: fc.constantFrom(201, 202, 204, 206, 302, 400, 404, 405, 410, 429, 500, 503) },
  ),
  type: fc.oneof(
    { weight: 8, arbitrary: fc.constant(undefined) },
    {
      weight: 1,
      arbitrary: fc.constantFrom(
        "text/html",
        "application/json; charset=utf-16",
        "TEXT/EVENT-STREAM; a=b",
        "application/json, text/html",
        "",
      ),
    },
  ),
  headers: fc.oneof(
    { weight: 8, arbitrary: fc.constant({}) },
    {
      weight: 1,
      arbitrary: fc.constantFrom<Record<string, string>>(
        { "content-encoding": "gzip" },
        { "content-encoding": "identity" },
        { "mcp-session-id": "other" },
        { "set-cookie": "a=b" },
        { "retry-after": "1" },
        { location: "http://127.0.0.1:1/" },
        { "content-length": "5" },
        { "content-length": "99999" },
      ),
    },
  ),
  splits: fc.array(fc.nat(3_000), { maxLength: 6 }),
  last: fc.oneof(
    { weight: 5, arbitrary: fc.constant("end" as const) },
    { weight: 1, arbitrary: fc.constant("cut" as const) },
  ),
});
export type HostileAnswer = typeof answers extends fc.Arbitrary<infer T> ? T : never;

const MUCH = 90_000;

/** Answers so: in pieces cut anywhere, ended or broken off. */
export function handlerOf(hostile: HostileAnswer): Handler {
  return async (exchange) => {
    const { res, req } = exchange;
    const type = hostile.type ?? (hostile.stream ? "text/event-stream" : "application/json");
    res.writeHead(hostile.status, { "content-type": type, ...hostile.headers });
    for (const piece of cutUp(bodyOf(hostile, exchange), hostile.splits)) {
      if (res.destroyed) return;
      // A length that was promised too small: Node refuses, and the connection breaks off.
      await new Promise((resolve) => res.write(piece, resolve));
    }
    // What was promised and does not come is waited for, which a test of its own looks at.
    const isShort = Number(res.getHeader("content-length")) > MUCH;
    if (hostile.last === "cut" || isShort) req.socket.destroy();
    else res.end();
  };
}

function bodyOf({ frames, stream, field, end }: HostileAnswer, { id, request }: Exchange): Buffer {
  const account = String(request.headers["x-account"]);
  if (!stream) return frameFor(frames[0]!, id, account);
  return Buffer.concat(
    frames.flatMap((frame) => [Buffer.from(field), frameFor(frame, id, account), Buffer.from(end)]),
  );
}

function cutUp(body: Buffer, splits: readonly number[]): Buffer[] {
  const at = [0, ...splits.map((split) => split % (body.length + 1)).toSorted((a, b) => a - b), body.length];
  return at.slice(1).map((to, index) => body.subarray(at[index], to));
}
