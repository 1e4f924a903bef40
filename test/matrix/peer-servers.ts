import { Server as Server1 } from "@modelcontextprotocol/sdk/server/index.js";
import type { RequestHandlerExtra } from "@modelcontextprotocol/sdk/shared/protocol.js";
import { ResultSchema } from "@modelcontextprotocol/sdk/types.js";
import { inputRequired, Server as Server2, type ServerContext } from "@modelcontextprotocol/server";
import type { Peer } from "./peer.ts";
import { questions } from "./peer-content.ts";
import { type Json, modern } from "./revisions.ts";

/** A question that is the answer (2026-07-28), not a request of its own. */
class Asks extends Error {
  readonly what: string;

  constructor(what: string) {
    super(what);
    this.what = what;
  }
}

/**
 * A server of the official SDK v1. Its handlers are the ones for unknown methods: those alone send a result as it is, with
 * members and kinds of content that the SDK does not know.
 */
export function serverOfSdk1(peer: Peer): Server1 {
  const server = new Server1({ name: peer.name, version: "1.0.0" }, { capabilities: peer.capabilities });
  // Who does not listen loses it.
  server.onclose = peer.onChange((change) => void server.notification(change).catch(() => {}));
  // biome-ignore lint/suspicious/noExplicitAny: what the SDK hands over, whatever the request
  server.fallbackRequestHandler = async ({ method, params }, extra: RequestHandlerExtra<any, any>) => {
    const ofTasks = await ofTask(peer, { method, params: params ?? {} }, extra);
    if (ofTasks) return ofTasks;
    const progressToken = extra._meta?.progressToken;
    return peer.answer({
      method,
      params: params ?? {},
      signal: extra.signal,
      progress: async (progress, message) => {
        if (progressToken === undefined) return;
        const told = { progressToken, progress, message };
        await extra.sendNotification({ method: "notifications/progress", params: told });
      },
      log: (data) =>
        extra.sendNotification({
          method: "notifications/message",
          params: { level: "error", logger: "peer", data },
        }),
      ask: (what) => extra.sendRequest(question(what), ResultSchema),
    });
  };
  return server;
}

/** What is about tasks, where the peer has any. Questions of a task go to whoever waits for its result. */
async function ofTask(
  peer: Peer,
  { method, params }: { method: string; params: Json },
  // biome-ignore lint/suspicious/noExplicitAny: as above
  extra: RequestHandlerExtra<any, any>,
): Promise<Json | undefined> {
  const ask = (request: Json) =>
    extra.sendRequest(request, ResultSchema).catch((): Json => ({ action: "cancel" })) as Promise<Json>;
  const answer = await peer.tasks?.wire.core({ method, params, owner: extra.sessionId ?? "", ask });
  if (!answer) return undefined;
  if ("result" in answer) return answer.result;
  throw Object.assign(new Error(answer.error.message), answer.error);
}

/** The same of the official SDK v2, of either era. */
export function serverOfSdk2(peer: Peer): Server2 {
  const options = { capabilities: peer.capabilities, supportedProtocolVersions: [peer.revision] };
  const server = new Server2({ name: peer.name, version: "1.0.0" }, options);
  // Of 2026-07-28 there is one server a request; whoever serves them tells.
  if (peer.revision !== modern)
    server.onclose = peer.onChange((change) => void server.notification(change).catch(() => {}));
  server.fallbackRequestHandler = ({ method, params }, { mcpReq }) => {
    const progressToken = mcpReq._meta?.progressToken;
    const answered = peer.answer({
      method,
      params: (params ?? {}) as Json,
      signal: mcpReq.signal,
      progress: async (progress, message) => {
        if (progressToken === undefined) return;
        await mcpReq.notify({
          method: "notifications/progress",
          params: { progressToken, progress, message },
        });
      },
      log: (data) => mcpReq.log("error", data, "peer"),
      ask: (what) => (peer.revision === modern ? told(what, mcpReq) : mcpReq.send(question(what) as never)),
    });
    return answered.catch((error: unknown) => {
      if (!(error instanceof Asks)) throw error;
      const it = questions[error.what] as never;
      return inputRequired({ inputRequests: { it }, requestState: `state of ${error.what}` });
    });
  };
  return server;
}

function question(what: string): { method: string; params?: Json } {
  const { method, params } = questions[what]!;
  // 2025-11-25 wants an id for a page.
  return { method, params: params?.mode === "url" ? { ...params, elicitationId: "page-1" } : params };
}

/** What the repeated call brought; the state comes back as it was, or the answer belongs to another question. */
async function told(
  what: string,
  { inputResponses, requestState }: ServerContext["mcpReq"],
): Promise<unknown> {
  const answer = inputResponses?.it;
  if (answer === undefined) throw new Asks(what);
  if (requestState() !== `state of ${what}`)
    throw Object.assign(new Error("another state"), { code: -32602 });
  return answer;
}
