/**
 * The baseline, in a process of its own: the least that a proxy of `node:http` and undici can do. It reads a request,
 * sends it on, reads the answer, sends it back, and looks at nothing. Buffered, because piping such small bodies costs
 * more.
 *
 *   node bench/baseline.ts <origin of the upstream>
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { Agent, type Dispatcher } from "undici";
import { startLoopbackServer } from "../test/peers/loopback-server.ts";
import { serveParent } from "./child.ts";

export interface BaselineReady {
  origin: string;
}

/** These belong to one connection (RFC 9110 §7.6.1). */
const hopByHop = ["connection", "keep-alive", "transfer-encoding", "host"];

async function serveBaseline(target: string): Promise<void> {
  const agent = new Agent({ connections: 256, pipelining: 1 });
  const { origin } = await startLoopbackServer((req, res) => {
    const chunks: Buffer[] = [];
    req.on("data", (chunk: Buffer) => chunks.push(chunk));
    req.on("end", () => forward(agent, target, req, res, Buffer.concat(chunks)).catch(() => res.destroy()));
  });
  serveParent({ origin } satisfies BaselineReady, () => ({}));
}

async function forward(
  agent: Agent,
  origin: string,
  req: IncomingMessage,
  res: ServerResponse,
  body: Buffer,
): Promise<void> {
  const answer = await agent.request({
    origin,
    path: req.url!,
    method: req.method as Dispatcher.HttpMethod,
    headers: endToEnd(req.headers),
    body,
  });
  res.writeHead(answer.statusCode, endToEnd(answer.headers));
  res.end(await answer.body.bytes());
}

function endToEnd(headers: Readonly<Record<string, string | string[] | undefined>>): typeof headers {
  const kept = { ...headers };
  for (const name of hopByHop) delete kept[name];
  return kept;
}

if (import.meta.main) await serveBaseline(process.argv[2]!);
