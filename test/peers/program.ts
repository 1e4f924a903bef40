// A program that speaks MCP over stdio as its arguments tell it; started by the gateway, not by the test.
import { createInterface } from "node:readline";

type Message = { id?: number | string; method?: string; params?: Record<string, unknown> };

const [era = "legacy", ...flags] = process.argv.slice(2);
const has = (flag: string) => flags.includes(flag);
const write = (message: unknown) => process.stdout.write(`${JSON.stringify(message)}\n`);
const modernMeta = { resultType: "complete", ttlMs: 0, cacheScope: "private" };
const names = ["echo", "environment", "crash", "hang", "flood", "progress", "ask", "cancelled"];
const tools = [...names, "question", "log", "change", "watched"].map((name) => ({
  name,
  inputSchema: { type: "object" },
  "x-unknown": [1],
}));
const capabilities = has("watch")
  ? { tools: { listChanged: true }, resources: { subscribe: true }, logging: {} }
  : { tools: {} };
/** Who listens (2026-07-28), by the id of the request; what is subscribed to (before); the log level. */
const listening = new Map<Message["id"], { toolsListChanged?: boolean; resourceSubscriptions?: string[] }>();
const subscribed = new Set<unknown>();
let offered: unknown;
let level: unknown;

if (has("ignore-sigterm")) process.on("SIGTERM", () => {});
if (has("ignore-end")) setInterval(() => {}, 1_000);
if (has("greeting")) process.stdout.write("Welcome!\n{not json\n\n[]\n");
if (has("stderr")) process.stderr.write(`token is ${process.env.API_TOKEN}\r\nBearer abcdefghijklmnop\n`);
if (has("exit")) process.exit(3);
const cancelled: unknown[] = [];

function text(value: unknown) {
  const content = [{ type: "text", text: typeof value === "string" ? value : JSON.stringify(value) }];
  return era === "modern" ? { content, resultType: "complete", "x-unknown": 1 } : { content, "x-unknown": 1 };
}

function call(id: Message["id"], params: Record<string, unknown>): void {
  const args = (params.arguments ?? {}) as Record<string, unknown>;
  const answer = (value: unknown) => write({ jsonrpc: "2.0", id, result: text(value) });
  switch (params.name) {
    case "crash":
      process.exit(1);
      break;
    case "hang":
      if (args.busy) for (;;);
      break;
    case "flood":
      flood(`${"x".repeat(60_000)}${args.lines ? "\n" : ""}`);
      break;
    case "environment":
      answer({ env: process.env, cwd: process.cwd(), args: flags });
      break;
    case "progress":
      write({
        jsonrpc: "2.0",
        method: "notifications/progress",
        params: {
          progressToken: (params._meta as { progressToken?: unknown } | undefined)?.progressToken,
          progress: 1,
          message: args.who,
        },
      });
      write({
        jsonrpc: "2.0",
        method: "notifications/message",
        params: { level: "info", data: "for nobody" },
      });
      setTimeout(() => answer(args.who), Number(args.ms ?? 0));
      break;
    case "ask":
      write({ jsonrpc: "2.0", id: "s1", method: "ping" });
      write({ jsonrpc: "2.0", id: "s2", method: "roots/list" });
      write({ jsonrpc: "2.0", id: 4_000_000, result: {} });
      bothAnswered = () => answer(asked);
      break;
    case "cancelled":
      answer(cancelled);
      break;
    case "question":
      questions.set(`q${id}`, answer);
      setTimeout(
        () =>
          write({ jsonrpc: "2.0", id: `q${id}`, method: args.method ?? "elicitation/create", params: args }),
        Number(args.ms ?? 0),
      );
      if (args.early) answer("early");
      break;
    case "log":
      write({ jsonrpc: "2.0", method: "notifications/message", params: { level: "info", data: args.who } });
      answer({ level });
      break;
    case "change":
      change(args.uri);
      answer("changed");
      break;
    case "watched":
      answer({ listening: [...listening.values()], subscribed: [...subscribed], offered });
      break;
    default:
      answer({ name: params.name, args, params });
  }
}

/** Tells of a change of the tools, or of one resource. */
function change(uri: unknown): void {
  const method = uri ? "notifications/resources/updated" : "notifications/tools/list_changed";
  if (era === "legacy") write({ jsonrpc: "2.0", method, params: uri ? { uri } : {} });
  for (const [id, wanted] of listening) {
    if (!(uri ? wanted.resourceSubscriptions?.includes(String(uri)) : wanted.toolsListChanged)) continue;
    const _meta = { "io.modelcontextprotocol/subscriptionId": id };
    write({ jsonrpc: "2.0", method, params: { ...(uri ? { uri } : {}), _meta } });
  }
}

const questions = new Map<unknown, (value: unknown) => void>();

function flood(chunk: string): void {
  process.stdout.write(chunk, () => flood(chunk));
}

const asked: unknown[] = [];
let bothAnswered: (() => void) | undefined;

createInterface({ input: process.stdin }).on("line", (line) => {
  const message = JSON.parse(line) as Message & { result?: unknown; error?: unknown };
  const { id, method, params = {} } = message;
  if (method === undefined && questions.has(id)) {
    questions.get(id)?.(message);
    return;
  }
  if (method === undefined && asked.push(message) === 2) bothAnswered?.();
  if (method === "notifications/cancelled") listening.delete(params.requestId as Message["id"]);
  if (method === "notifications/cancelled") cancelled.push(params.reason);
  if (method === undefined || id === undefined) return;
  const result = (value: object) => write({ jsonrpc: "2.0", id, result: value });
  const unknown = () => write({ jsonrpc: "2.0", id, error: { code: -32601, message: "Method not found" } });
  if (method === "server/discover") {
    if (has("exit-on-probe")) process.exit(0);
    if (has("silent-on-probe")) return;
    if (era === "modern") result({ supportedVersions: ["2026-07-28"], capabilities, ...modernMeta });
    else unknown();
  } else if (method === "initialize") {
    if (era === "modern") return unknown();
    offered = params.capabilities;
    const protocolVersion = has("2024") ? "2024-11-05" : "2025-11-25";
    result({ protocolVersion, capabilities, serverInfo: { name: "program", version: "1" } });
  } else if (method === "subscriptions/listen" && has("watch")) {
    const wanted = params.notifications as { toolsListChanged?: boolean };
    listening.set(id, wanted);
    const _meta = { "io.modelcontextprotocol/subscriptionId": id };
    const acknowledged = { notifications: wanted, _meta };
    write({ jsonrpc: "2.0", method: "notifications/subscriptions/acknowledged", params: acknowledged });
  } else if (method === "resources/subscribe") {
    subscribed.add(params.uri);
    result({});
  } else if (method === "resources/unsubscribe") {
    subscribed.delete(params.uri);
    result({});
  } else if (method === "logging/setLevel") {
    level = params.level;
    result({});
  } else if (method === "ping" && era === "legacy") result({});
  else if (method === "tools/list") result(era === "modern" ? { tools, ...modernMeta } : { tools });
  else if (method === "tools/call") call(id, params);
  else unknown();
});
