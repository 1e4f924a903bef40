import type { Log } from "../base/index.ts";
import type { HeaderReader } from "../http/index.ts";
import { type Answer, isObject, type Message, oneMessage, toMessage } from "./body.ts";
import type { Caller } from "./caller.ts";
import { ClientStream } from "./client-stream.ts";
import { isModern, legacyClient } from "./era.ts";
import { errorReply } from "./failures.ts";
import { code, Refusal } from "./refusal.ts";
import { writeReply } from "./reply.ts";
import type { ClientSessions } from "./session.ts";
import type { SseDoor, SseSender } from "./sse-alias.ts";

const VERSION = "2025-03-26";
const MOST_MESSAGES = 50;

/** A message that could be read, or why not. */
type Entry = Message | Answer | Refusal;

interface Context {
  /** What one message comes to. */
  door: Pick<SseDoor, "take">;
  from: Omit<SseSender, "send">;
  /** Whether the client reads event streams. */
  streams: boolean;
  log: Log;
}

interface Answered {
  status: number;
  body?: string | ReadableStream<Uint8Array>;
}

/** Throws `Refusal` for the batch of any client but those of the one revision that has batches. */
export async function checkRevision(
  headers: HeaderReader,
  caller: Caller,
  sessions: ClientSessions,
): Promise<void> {
  if (isModern({ method: "" }, headers)) throw oneMessage();
  const { version } = await legacyClient({}, headers, caller, sessions);
  if (version !== VERSION) throw oneMessage();
}

/**
 * What a batch comes to (2025-03-26 "Sending Messages to the Server", JSON-RPC 2.0 §6): each message on its own, side by
 * side, the answers as one list, or as events when something comes before them. Throws `Refusal` where nothing of it may
 * run.
 */
export async function answerBatch(context: Context, values: readonly unknown[]): Promise<Answered> {
  const entries = readBatch(values, context.from.headers);
  const stream = context.streams ? new ClientStream() : undefined;
  const from: SseSender = { ...context.from, send: stream && ((notification) => stream.send(notification)) };
  const answers = entries.map((entry) => answerOne(context, from, entry));
  const all = Promise.all(answers);
  const first = await (stream ? Promise.race([all, stream.opened]) : all);
  if (first) return inOne(entries, first);
  // The status is sent; every answer follows as it comes.
  for (const answer of answers) void answer.then((text) => text !== undefined && stream!.answer(text));
  void all.then(() => stream!.finish());
  return { status: 200, body: stream!.body };
}

/** Throws `Refusal` for what cannot be a batch; a message that is wrong in itself is answered by itself. */
function readBatch(values: readonly unknown[], headers: HeaderReader): Entry[] {
  if (values.length === 0) throw invalid("The batch is empty. Send at least one message.");
  if (values.length > MOST_MESSAGES) throw invalid(`Send at most ${MOST_MESSAGES} messages in one batch.`);
  const entries = values.map((value) => readOne(value, headers));
  // 2025-03-26 "Initialization": other messages make no sense before it is answered.
  if (entries.some((entry) => isRequest(entry) && entry.method === "initialize"))
    throw invalid('Send "initialize" by itself.');
  // MC-05: two answers of one id could not be told apart.
  const ids = entries.filter((entry) => entry instanceof Refusal || isRequest(entry)).map(({ id }) => id);
  const known = ids.filter((id) => id !== null);
  if (new Set(known).size < known.length)
    throw invalid("Two requests of the batch have the same id. Give each its own.");
  return entries;
}

function readOne(value: unknown, headers: HeaderReader): Entry {
  try {
    if (!isObject(value)) throw invalid("An entry of the batch is no JSON-RPC message.");
    const message = toMessage(value);
    if (message.method === undefined || !isModern(message, headers)) return message;
    const refusal = invalid(`Messages of later revisions than ${VERSION} are sent one by one.`);
    refusal.id = message.id ?? null;
    return refusal;
  } catch (error) {
    if (error instanceof Refusal) return error;
    throw error;
  }
}

/** Undefined: nothing is to be answered. Never rejects. */
async function answerOne({ door, log }: Context, from: SseSender, entry: Entry): Promise<string | undefined> {
  if (entry instanceof Refusal)
    return writeReply(entry.id, errorReply(entry, { requestId: from.requestId, log }));
  try {
    const reply = await door.take(entry, from);
    return reply && isRequest(entry) ? writeReply(entry.id, reply) : undefined;
  } catch (error) {
    const id = isRequest(entry) ? entry.id : null;
    return writeReply(id, errorReply(error, { requestId: from.requestId, log }));
  }
}

function inOne(entries: readonly Entry[], answers: readonly (string | undefined)[]): Answered {
  const texts = answers.filter((text) => text !== undefined);
  if (texts.length === 0) return { status: 202 };
  return { status: entries.some(isRequest) ? 200 : 400, body: `[${texts.join(",")}]` };
}

function isRequest(entry: Entry): entry is Message & { id: string | number } {
  return !(entry instanceof Refusal) && entry.method !== undefined && entry.id !== undefined;
}

function invalid(message: string): Refusal {
  return new Refusal(code.invalidRequest, message);
}
